"""What tests in a real lab need."""

from pathlib import Path

import pytest
from fabric_parts import require_lab


@pytest.fixture(scope="session")
def lab_requirements() -> Path:
    """The lab root. Where a lab cannot run: a skip that names what is missing, under CI a failure."""
    return require_lab()
