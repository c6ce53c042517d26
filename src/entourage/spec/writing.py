"""A tree of nodes as YAML text that reads back to the same tree, but for the places in it."""

import json
import re
from collections.abc import Iterator

from entourage.spec.nodes import NULLS, Mapping, Node, Refused, Scalar, Sequence

_WIDTH = 110  # characters; what fits into a line stands in one
_STEP = "  "
# Plain where no reader could take it for something else; a colon within a word is none to YAML.
_PLAIN = re.compile(r"[\w./][\w./:%-]*(?<!:)( [\w./][\w./:%-]*(?<!:))*", re.ASCII)


def write(root: Mapping) -> str:
    """The text of a whole file."""
    return "".join(f"{line}\n" for line in _block(root, indent=""))


def _block(node: Mapping, *, indent: str) -> Iterator[str]:
    for key, value in node.entries:
        head = f"{indent}{_scalar(key)}:"
        line = f"{head} {_flow(value)}"
        if len(line) <= _WIDTH or not isinstance(value, Mapping | Sequence):
            yield line
        elif isinstance(value, Mapping):
            yield head
            yield from _block(value, indent=indent + _STEP)
        else:
            yield head
            yield from (f"{indent}{_STEP}- {_flow(item)}" for item in value.items)


def _flow(node: Node) -> str:
    match node:
        case Scalar():
            return _scalar(node)
        case Sequence(items=items):
            return f"[{', '.join(map(_flow, items))}]"
        case Mapping(entries=entries):
            return f"{{{', '.join(f'{_scalar(key)}: {_flow(value)}' for key, value in entries)}}}"
        case Refused():
            raise ValueError("what was reported cannot be written")


def _scalar(scalar: Scalar) -> str:
    if _PLAIN.fullmatch(scalar.text) and scalar.text not in NULLS:
        return scalar.text
    return json.dumps(scalar.text)
