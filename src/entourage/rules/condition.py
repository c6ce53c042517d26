"""The `if` of a rule: an expression in CEL over what is observed, checked when it is read and bounded when it is run.

CEL (Common Expression Language, https://cel.dev) has no loops but those over lists, and expressions may have no list
variables, so an evaluation takes a time that the expression's length bounds. Types never coerce.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cel

from entourage.rules.observations import BY_PATH, ROOTS
from entourage.spec.problems import suggest

MOST_CHARACTERS = 500
Context = Mapping[str, Mapping[str, str | int | float | bool]]

_OPERATORS = frozenset(
    ("!_", "-_", "_&&_", "_||_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_?_:_", "@in", "@not_strictly_false")
)
ARITHMETIC = frozenset(("_+_", "_-_", "_*_", "_/_", "_%_", "int", "double", "string", "size", "matches"))
TEXTS = frozenset(("startsWith", "endsWith", "contains"))
_ALLOWED = _OPERATORS | ARITHMETIC | TEXTS
_TEXT = re.compile(  # and comments, in which anything may stand
    r"""//[^\n]*|[rRbB]?("{3}(?s:\\.|[^\\])*?"{3}|'{3}(?s:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
)
_NUMBER = re.compile(r"(?<![\w.])(?:0x[0-9a-fA-F]+|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)")
_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\s*\.\s*[A-Za-z_]\w*)*)(\s*\()?")
_WORDS = frozenset(("true", "false", "null", "in"))


class ConditionError(Exception):
    """The expression cannot be used, or could not be evaluated. `hint` says what to write."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__("".join(each if each.isprintable() else ascii(each)[1:-1] for each in message))
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """A checked expression. `names`: the observations that it depends on; `functions`: what it does with them."""

    text: str
    names: tuple[str, ...]
    functions: frozenset[str]
    texts: tuple[str, ...]
    numbers: tuple[float, ...]
    run: Callable[[Any], Any] = field(repr=False)

    def holds(self, context: Context) -> bool:
        """Whether it is true of these observations. ConditionError if that cannot be said, such as a division by zero.

        `context` has them by root and name.
        """
        try:
            result = self.run(context)
        except ZeroDivisionError:
            raise ConditionError(f"{self.text}: divides by zero") from None
        except (ArithmeticError, TypeError, ValueError, LookupError, RuntimeError) as error:
            raise ConditionError(f"{self.text}: {first_sentence(error)}") from None
        if result is not True and result is not False:
            raise ConditionError(f"{self.text}: is {result!r}, neither true nor false")
        return result is True


def first_sentence(error: Exception) -> str:
    """What an error of the CEL library says, without its advice."""
    return str(error.args[0] if error.args else error).partition("\n")[0].partition(". ")[0]


def read_condition(text: str) -> Condition:
    """The expression, its names and functions checked. ConditionError with the first thing that is wrong."""
    if len(text) > MOST_CHARACTERS:
        raise ConditionError(
            f"the expression has {len(text)} characters, at most {MOST_CHARACTERS} are evaluated",
            hint="split it into several rules",
        )
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise ConditionError(f"not an expression: {_syntax(str(error))}", hint="see https://cel.dev for CEL") from None
    functions = frozenset(program.functions())
    without = _without_literals(text)
    if loop := _LOOP.search(without):
        raise ConditionError(f"loops over lists are not evaluated: {loop[1]}()", hint="compare with `in`")
    _check_functions(functions)
    names = tuple(dict.fromkeys(_names(without)))
    for name in names:
        if name not in BY_PATH:
            raise _unknown(name)
    if strange := sorted(set(program.variables()) - set(ROOTS)):
        raise ConditionError(f"{strange[0]!r} is not an observation", hint=suggest(strange[0], ROOTS))
    return Condition(
        text=text,
        names=names,
        functions=functions,
        texts=tuple(dict.fromkeys(value for value in _values(_TEXT, text) if isinstance(value, str))),
        numbers=tuple(dict.fromkeys(map(float, _values(_NUMBER, without)))),
        run=program.execute,
    )


def _without_literals(text: str) -> str:
    """The expression with blanks for its texts and comments."""
    return _TEXT.sub(lambda found: " " * len(found[0]), text)


def _values(literal: re.Pattern[str], text: str) -> Iterator[Any]:
    """What the literals in an expression stand for."""
    return (cel.evaluate(found[0]) for found in literal.finditer(text) if not found[0].startswith("//"))


def _names(without: str) -> Iterator[str]:
    """The dotted names outside of texts; of `member.site.startsWith(` it is `member.site`, of `size(` none."""
    for found in _NAME.finditer(without):
        parts = [part.strip() for part in found[1].split(".")]
        if found[2]:
            parts = parts[:-1]
        if parts and parts != ["has"] and not (len(parts) == 1 and parts[0] in _WORDS):
            yield ".".join(parts)


def _unknown(name: str) -> ConditionError:
    root = name.partition(".")[0]
    known: Iterable[str] = [path for path in BY_PATH if path.startswith(f"{root}.")] if root in ROOTS else BY_PATH
    return ConditionError(f"unknown observation {name!r}", hint=suggest(name, list(known)))


def _check_functions(functions: frozenset[str]) -> None:
    if "_[_]" in functions:
        raise ConditionError("square brackets are not evaluated", hint="write a name with a dot, such as member.site")
    for function in sorted(functions - _ALLOWED):
        hint = f"there are {', '.join(sorted(TEXTS | {'size', 'matches', 'int', 'double', 'string'}))}, and `in`"
        raise ConditionError(f"{function}() is not evaluated in rules", hint=hint)


def _syntax(said: str) -> str:
    """Of the parser's report the place and the reason."""
    found = re.search(r"<input>:(\d+):(\d+): (.*)", said)
    if found is None:
        return said.partition("\n")[0]
    reason = found[3].partition(" expecting ")[0].removeprefix("Syntax error: ")
    return f"at its character {found[2]}: {reason}"
