"""HTML and SVG elements as strings that are always escaped: only `tag` and `join` make markup."""

import re
from html import escape

# what XML forbids even when escaped, and what could reorder the text around a hostile name
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


class Markup(str):
    """Text that is markup already. Plain strings are escaped wherever they meet it."""

    __slots__ = ()


def join(*parts: object) -> Markup:
    """`parts` one after another; None is left out, sequences are flattened, plain text is escaped."""
    return Markup("".join(_escaped(part) for part in parts))


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """`<name attributes>children</name>`. Attributes that are None are left out; `class_` and `font_size` become

    `class` and `font-size`; floats are written with one decimal.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _escaped(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    if isinstance(value, list | tuple):
        return join(*value)
    return escape(_FORBIDDEN.sub("\ufffd", str(value)))


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return escape(_FORBIDDEN.sub("\ufffd", str(value)))
