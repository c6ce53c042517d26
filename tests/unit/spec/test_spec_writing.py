"""What is written reads back as it was."""

from hypothesis import given
from hypothesis import strategies as st

from entourage.spec.nodes import Mapping, Node, Scalar, Sequence, read_document
from entourage.spec.problems import START, Problems
from entourage.spec.writing import write

Plain = str | list["Plain"] | dict[str, "Plain"]
WORDS = st.text(st.sampled_from("ab :-#,[]{}'\"\\&*!|>%@~?./1\n\té€"), max_size=8)
LIKELY = st.sampled_from(
    ["128 MiB", "52:54:00:20:03:11", "a: b", "a:", "- x", "~", "null", "#", "a #b", "1", "'", "{", ""]
)
TEXTS = LIKELY | WORDS


def node(value: Plain) -> Node:
    match value:
        case str():
            return Scalar(at=START, text=value)
        case list():
            return Sequence(at=START, items=tuple(map(node, value)))
        case dict():
            return Mapping(at=START, entries=tuple((Scalar(at=START, text=k), node(v)) for k, v in value.items()))


def plain(read: Node | None) -> Plain:
    match read:
        case Scalar(text=text, empty=False):
            return text
        case Sequence(items=items):
            return list(map(plain, items))
        case Mapping(entries=entries):
            return {key.text: plain(value) for key, value in entries}
    raise AssertionError(read)


TREES: st.SearchStrategy[Plain] = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


@given(st.dictionaries(TEXTS, TREES, min_size=1, max_size=4))
def test_what_is_written_reads_back_as_it_was(value: dict[str, Plain]) -> None:
    root = node(value)
    assert isinstance(root, Mapping)
    problems = Problems("written")
    text = write(root)
    read = read_document(text, problems)
    assert problems.count == 0, (text, problems.error())
    assert plain(read) == value, text
