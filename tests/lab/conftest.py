"""What tests in a real lab need."""

from pathlib import Path

import pytest
from fabric_parts import require_lab

# With `--dist loadfile --no-loadscope-reorder` a worker takes a whole file at a time, in this order: the longest first,
# and those that take seconds, which are the tests without a lab, last. So the workers end at nearly the same time.
_LONGEST_FIRST = (
    "test_qemu_conformance.py",
    "test_rules.py",
    "test_killed_moves.py",
    "test_qemu_replication.py",
    "test_cli.py",
    "test_shared_database.py",
    "test_failed_target.py",
    "test_instances.py",
    "test_licensed_moves.py",
    "test_qemu_disk.py",
    "test_qemu_guard.py",
    "test_lab_agents.py",
    "test_fabric_lifecycle.py",
    "test_replicated_service.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in the order in which they are to be handed out."""
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(_LONGEST_FIRST)}
    if missing := [path.name for path in rank if not path.exists()]:
        raise pytest.UsageError(f"{__file__} hands out {', '.join(missing)}, which is not there; take it off the list")
    items.sort(key=lambda item: rank.get(item.path, len(rank) + (item.path.parent != here)))


@pytest.fixture(scope="session")
def lab_requirements() -> Path:
    """The lab root. Where a lab cannot run: a skip that names what is missing, under CI a failure."""
    return require_lab()
