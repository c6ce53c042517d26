"""The spec files that come with Entourage."""

from pathlib import Path

from entourage.lab.place import SpecTexts
from entourage.operations.labs import read_texts

_CHECKOUT = Path(__file__).parents[3] / "examples"
_PACKAGED = Path(__file__).parents[1] / "examples"


def example(name: str) -> Path:
    """The example file of that name ("shop.yaml"): the checkout's, or in an installed package its copy."""
    checkout = _CHECKOUT / name
    return checkout if checkout.is_file() else _PACKAGED / name


def example_texts() -> SpecTexts:
    """The example's sites and its service."""
    return read_texts(example("sites.yaml"), example("shop.yaml"))
