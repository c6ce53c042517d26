"""Whether an expression can be true at all, found by trying it on samples of what it may see.

An expression that only compares, joins with `&&`, `||`, `!` and looks into texts depends on nothing but how its
observations lie to each other and to the literals in it. So trying all combinations of the literals, their neighbours
and some values apart from all of them decides it. With arithmetic that is no longer so, and then only what goes wrong
is said.
"""

from collections.abc import Iterator, Sequence
from itertools import islice, product

from entourage.rules.condition import ARITHMETIC, Condition, ConditionError
from entourage.rules.observations import BY_PATH, Kind, Observation
from entourage.rules.values import context

_MOST_TRIED = 20_000  # combinations, some 10 µs each
_APART = ("~1", "~2", "~3")  # no name that anything can have


def check(condition: Condition, *, sites: Sequence[str] = ()) -> None:
    """ConditionError if the expression fails for values that its observations can have, or can never be true.

    `sites`: the names that a site can have, if they are known.
    """
    samples = [_samples(BY_PATH[name], condition, sites) for name in condition.names]
    combinations = 1
    for values in samples:
        combinations *= len(values)
    tried = product(*samples)
    was_true = False
    for combination in islice(tried, _MOST_TRIED):
        was_true = condition.holds(context(condition.names, combination)) or was_true
    decides = combinations <= _MOST_TRIED and not condition.functions & ARITHMETIC
    if not was_true and decides:
        raise ConditionError("the expression can never be true", hint=_never(condition, sites))


def _samples(observation: Observation, condition: Condition, sites: Sequence[str]) -> list[str | float | bool]:
    match observation.kind:
        case Kind.TRUTH:
            return [False, True]
        case Kind.TEXT:
            return list(_texts(observation, condition, sites))
        case Kind.WHOLE:
            near = {int(number) + step for number in condition.numbers for step in (-1, 0, 1)} | {0, 1, 2}
            return [n for n in sorted(near) if 0 <= n <= (10**9 if observation.most is None else observation.most)]
        case Kind.NUMBER:
            between = {number + step for number in condition.numbers for step in (-0.5, 0.0, 0.5)} | {0.0, 1.5, 2.5}
            return [number for number in sorted(between) if number >= 0]


def _texts(observation: Observation, condition: Condition, sites: Sequence[str]) -> Iterator[str]:
    if observation.only:
        yield from observation.only
    elif observation.is_site and sites:
        yield from ("", *sites)
    else:
        yield from dict.fromkeys(("", *condition.texts, *_APART))


def _never(condition: Condition, sites: Sequence[str]) -> str:
    """What is likely to be the reason: a text that none of its observations can be."""
    possible: set[str] = set()
    for name in condition.names:
        observation = BY_PATH[name]
        if observation.kind is Kind.TEXT:
            if not observation.only and not (observation.is_site and sites):
                return "no values of what it names make it true"
            possible |= {"", *observation.only, *(sites if observation.is_site else ())}
    for text in condition.texts:
        if text not in possible:
            return f"{text!r} is none of {', '.join(sorted(possible - {''}))}"
    return "no values of what it names make it true"
