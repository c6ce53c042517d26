"""The spec files that come with Entourage."""

from pathlib import Path

_CHECKOUT = Path(__file__).parents[3] / "examples"
_PACKAGED = Path(__file__).parents[1] / "examples"


def example(name: str) -> Path:
    """The example file of that name ("shop.yaml"): the checkout's, or in an installed package its copy."""
    checkout = _CHECKOUT / name
    return checkout if checkout.is_file() else _PACKAGED / name
