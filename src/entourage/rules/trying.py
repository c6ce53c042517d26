"""Whether an expression can be true at all, found by trying it on samples of what it may see.

An expression that only compares, joins with `&&`, `||`, `!` and looks into texts depends on nothing but how its
observations lie to each other and to the literals in it. So trying all combinations of the literals, as many values
between and beyond them as there are observations, and texts made of the literals decides it. With arithmetic, or if
one observation is looked for in another, that is no longer so, and then only what goes wrong is said.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, islice, pairwise, product
from math import prod

from entourage.rules.condition import ARITHMETIC, TEXTS, Condition, ConditionError
from entourage.rules.observations import BY_PATH, Kind, Observation
from entourage.rules.values import Value, context

_MOST_TRIED = 20_000  # combinations, some 10 µs each
_MOST = 10**9  # of whole numbers for which no largest is known
_MOST_JOINED = 3  # literals; with more in an expression that looks into texts it is not decided
_NEXT = "\x00"  # a text with this after it is the next in order
_BETWEEN = "\x01"  # in no literal that anybody writes, so that nothing that is joined with it becomes another literal
_OF_A_NAME = re.compile(rf"\.\s*({'|'.join(sorted(TEXTS))})\s*\(\s*(?![rR]?[\"'])")


def check(condition: Condition, *, sites: Sequence[str] = ()) -> None:
    """ConditionError if the expression fails for values that its observations can have, or can never be true.

    `sites`: the names that a site can have, if they are known.
    """
    samples = _samples(condition, sites)
    was_true = False
    for combination in islice(product(*samples), _MOST_TRIED):
        was_true = condition.holds(context(condition.names, combination)) or was_true
    if not was_true and prod(map(len, samples)) <= _MOST_TRIED and _decides(condition, sites):
        raise ConditionError("the expression can never be true", hint=_never(condition, sites))


def _decides(condition: Condition, sites: Sequence[str]) -> bool:
    """Whether the samples are enough to say that it is never true."""
    if condition.functions & ARITHMETIC:
        return False
    is_closed = all(_only(BY_PATH[name], sites) for name in condition.names if BY_PATH[name].kind is Kind.TEXT)
    joinable = len(condition.texts) <= _MOST_JOINED and not _OF_A_NAME.search(condition.text)
    return is_closed or joinable or not condition.functions & TEXTS


def _samples(condition: Condition, sites: Sequence[str]) -> list[list[Value]]:
    """For each of the expression's names the values that it is tried with."""
    observations = [BY_PATH[name] for name in condition.names]
    whole = _whole_numbers(condition, sum(each.kind in (Kind.WHOLE, Kind.NUMBER) for each in observations))
    has_whole = any(each.kind is Kind.WHOLE for each in observations)
    between = _numbers(condition, whole if has_whole else [], sum(each.kind is Kind.NUMBER for each in observations))
    texts = _texts(condition, sites, sum(each.kind is Kind.TEXT for each in observations))
    samples: list[list[Value]] = []
    for each in observations:
        match each.kind:
            case Kind.TRUTH:
                samples.append([False, True])
            case Kind.TEXT:
                samples.append(list(_only(each, sites) or texts))
            case Kind.WHOLE:
                samples.append([number for number in whole if number <= (_MOST if each.most is None else each.most)])
            case Kind.NUMBER:
                samples.append([*between])
    return samples


def _whole_numbers(condition: Condition, several: int) -> list[int]:
    """The literals, and after each as many whole numbers as there are observations that may lie there."""
    near = {
        int(number) + step for number in (0.0, *condition.numbers) if number <= _MOST for step in range(several + 1)
    }
    near |= {int(number) - 1 for number in condition.numbers if number <= _MOST}
    return sorted(number for number in near if number >= 0)


def _numbers(condition: Condition, whole: Sequence[int], several: int) -> list[float]:
    """The literals and whole numbers, and between each two, and above all, as many as there are observations."""
    known = sorted({0.0, *condition.numbers, *map(float, whole)})
    steps = range(1, several + 1)
    between = [one + (other - one) * step / (several + 1) for one, other in pairwise(known) for step in steps]
    return sorted({*known, *between, *((known[-1] + 1) * (1 + step) for step in steps)})


def _only(observation: Observation, sites: Sequence[str]) -> tuple[str, ...]:
    """All values that a text can have; none if that is not known."""
    if observation.only:
        return observation.only
    return ("", *sites) if observation.is_site and sites else ()


def _texts(condition: Condition, sites: Sequence[str], several: int) -> list[str]:
    """The literals, what is made of them, and after each as many texts as there are observations."""
    known = dict.fromkeys(
        ("", *condition.texts, *sites, *(only for name in condition.names for only in BY_PATH[name].only))
    )
    if condition.functions & TEXTS:
        known |= dict.fromkeys(_joined(condition.texts))
    return list(dict.fromkeys(text + _NEXT * step for text in known for step in range(several + 1)))


def _joined(texts: Sequence[str]) -> Iterator[str]:
    """Texts that begin with one literal, contain some, and end with one, in every way."""
    some = texts[:_MOST_JOINED]
    for several in range(len(some) + 1):
        for first, last, middle in product(("", *some), ("", *some), combinations(some, several)):
            yield _BETWEEN.join((first, *middle, last))


def _never(condition: Condition, sites: Sequence[str]) -> str:
    """What is likely to be the reason: a text that none of its observations can be."""
    possible: set[str] = set()
    for name in condition.names:
        observation = BY_PATH[name]
        if observation.kind is Kind.TEXT:
            only = _only(observation, sites)
            if not only:
                return "no values of what it names make it true"
            possible |= {"", *only}
    for text in condition.texts:
        if text not in possible:
            return f"{text!r} is none of {', '.join(sorted(possible - {''}))}"
    return "no values of what it names make it true"
