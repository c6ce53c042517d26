"""Real-time CPU: what hosts have to promise, the classes of a service, and what a member is promised."""

from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import replace
from fractions import Fraction

from entourage.model.realtime import (
    PERIOD_MAX_US,
    PERIOD_MIN_US,
    Policy,
    Promise,
    RealtimeCpus,
    Reservation,
)
from entourage.model.units import DURATION, SHARE
from entourage.model.world import Host
from entourage.spec.fields import Fields, as_mapping, as_scalar, named
from entourage.spec.nodes import Mapping, Node, Scalar
from entourage.spec.problems import Position, Problems, quote
from entourage.spec.values import Found, read_choice

PROMISE_EXAMPLE = "{budget: 1 ms, period: 5 ms}"
CPUS_EXAMPLE = "{cpus: [0, 1]}"
_PROMISE = {"budget": "1 ms", "period": "5 ms"}
_PROMISE_OPTIONAL = {"io-budget": "1 ms", "pin": "1", "io-pin": "0", "io": "apart", "memory": "locked"}
_CPUS = {"cpus": "[0, 1]"}
_CPUS_OPTIONAL = {"policy": "fifo", "limit": "95 %", "fallback": "fifo"}
_US = 1000  # in a millisecond, the base unit of durations
_PERIODS = "a period is 100 us to 4 s"

Classes = MappingOf[str, Promise | None]  # None: it was reported


def read_classes(top: Fields, problems: Problems) -> Classes | None:
    """The classes of a service; None if they were reported as a whole, so that no name can be called unknown."""
    if not top.has("realtime-classes"):
        return {}
    node = top.mapping("realtime-classes")
    if node is None:
        return None
    return {
        name.text: _read_promise(value, f"class {quote(name.text)}", problems, name=name.text)
        for name, value in named(node, "class", problems)
    }


def read_promise(member: Fields, classes: Classes | None, problems: Problems) -> tuple[Promise, Position] | None:
    """What a member is promised, by a class's name or in place; None without, or if it was reported."""
    node = member.node("realtime")
    if node is None:
        return None
    if isinstance(node, Mapping):
        promise = _read_promise(node, "realtime", problems, name=None)
    else:
        scalar = as_scalar(node, "realtime", problems, example=PROMISE_EXAMPLE)
        if scalar is None or classes is None:
            return None
        if not classes:
            hint = f"write {PROMISE_EXAMPLE}, or define realtime-classes: {{{scalar.text}: {PROMISE_EXAMPLE}}}"
            problems.add(scalar.at, f"unknown class {quote(scalar.text)}: the file defines none", hint=hint)
            return None
        known = read_choice(scalar, "class", classes, problems)
        promise = None if known is None else classes[known.value]
    return None if promise is None else (promise, node.at)


def read_realtime_cpus(host: Fields, problems: Problems) -> RealtimeCpus | None:
    """What a host has to promise; None without, or if it was reported."""
    body = host.mapping("realtime")
    if body is None:
        return None
    fields = Fields(body, problems, what="realtime", required=_CPUS, optional=_CPUS_OPTIONAL)
    cpus = _read_cpus(fields, problems)
    policy = fields.choice("policy", "policy", [policy.value for policy in Policy])
    fallback = fields.choice("fallback", "policy", [policy.value for policy in Policy])
    limit = fields.quantity("limit", SHARE)
    if limit is not None and limit.value > 1:
        problems.add(limit.at, f"limit {quote(limit.written.text)} is over 100 %", hint="write 1 % to 100 %")
        return None
    if cpus is None:
        return None
    made = RealtimeCpus(
        cpus=cpus,
        policy=Policy.FIFO if policy is None else Policy(policy.value),
        fallback=None if fallback is None else Policy(fallback.value),
    )
    return made if limit is None else replace(made, limit=Fraction(str(limit.value)).limit_denominator(10_000))


def check_promise(promise: Promise, at: Position, hosts: Iterable[Host], problems: Problems) -> None:
    """Report what no host could keep, with nothing else on it."""
    able = [(host.id, host.realtime) for host in hosts if host.realtime is not None]
    if not able:
        hint = f"give a host of the sites' file realtime: {CPUS_EXAMPLE}"
        problems.add(at, "no host has real-time CPU to promise", hint=hint)
        return
    pins = [pin for pin in promise.pins if pin is not None]
    if not any(set(pins) <= set(cpus.cpus) for _, cpus in able):
        known = "; ".join(f"{host} has {', '.join(map(str, cpus.cpus))}" for host, cpus in able)
        problems.add(at, f"no host has CPU {' and '.join(map(str, pins))} for real time", hint=known)
        return
    if not promise.is_free and all(cpus.policy is Policy.DEADLINE for _, cpus in able):
        hint = "leave pin, io-pin and io out, or give a host policy: fifo"
        problems.add(at, "threads that share CPUs by SCHED_DEADLINE cannot have certain ones", hint=hint)
        return
    largest = max(thread.share for thread in promise.threads)
    if any(largest <= cpus.limit and promise.share <= len(cpus.cpus) * cpus.limit for _, cpus in able):
        return
    host, cpus = max(able, key=lambda each: (len(each[1].cpus) * each[1].limit, each[0]))
    problems.add(
        at,
        f"{float(promise.share):.3g} CPUs of real time ({float(largest):.3g} on one) are more than any host has",
        hint=f"{host} has {float(cpus.limit):.3g} of each of {len(cpus.cpus)}",
    )


def _read_promise(node: Node, what: str, problems: Problems, *, name: str | None) -> Promise | None:
    body = as_mapping(node, what, problems, example=PROMISE_EXAMPLE)
    if body is None:
        return None
    before = problems.count
    fields = Fields(body, problems, what=what, required=_PROMISE, optional=_PROMISE_OPTIONAL)
    period = _us(fields.quantity("period", DURATION), problems)
    budget = _us(fields.quantity("budget", DURATION), problems)
    io_budget = _us(fields.quantity("io-budget", DURATION), problems) if fields.has("io-budget") else budget
    if period is None or budget is None or io_budget is None:
        return None
    if not PERIOD_MIN_US <= period.value <= PERIOD_MAX_US:
        problems.add(period.at, f"{quote(period.written.text)} is no period for a kernel", hint=_PERIODS)
        return None
    for each in (budget, io_budget) if io_budget is not budget else (budget,):
        if each.value > period.value:
            words = f"budget {quote(each.written.text)} is longer than the period {quote(period.written.text)}"
            problems.add(each.at, words, hint="write how much CPU time of each period is promised")
            return None
    pins = tuple(_read_pin(fields, key, problems) for key in ("pin", "io-pin"))
    io = fields.choice("io", "way", ["shared", "apart"])
    memory = fields.choice("memory", "way", ["locked", "pageable"])
    if problems.count > before:
        return None
    apart = io is not None and io.value == "apart"
    if apart and pins[0] is not None and pins[0] == pins[1]:
        problems.add(body.at, "io: apart, and both threads are pinned to one CPU", hint="leave one of the three out")
        return None
    return Promise(
        cpu=Reservation(budget_us=budget.value, period_us=period.value),
        io=Reservation(budget_us=io_budget.value, period_us=period.value),
        name=name,
        pins=(pins[0], pins[1]),
        apart=apart,
        locks_memory=memory is not None and memory.value == "locked",
    )


def _read_pin(fields: Fields, key: str, problems: Problems) -> int | None:
    node = fields.node(key)
    found = None if node is None else _read_cpu(node, problems)
    return None if found is None else found.value


def _us(found: Found[float] | None, problems: Problems) -> Found[int] | None:
    """Milliseconds as whole µs."""
    if found is None:
        return None
    whole = round(found.value * _US)
    if whole < 1 or abs(found.value * _US - whole) > 1e-6:
        problems.add(found.at, f"{quote(found.written.text)} is not whole µs", hint="write it like 1500 us")
        return None
    return Found(whole, found.written)


def _read_cpus(fields: Fields, problems: Problems) -> tuple[int, ...] | None:
    node = fields.sequence("cpus")
    if node is None:
        return None
    if not node.items:
        problems.add(node.at, "realtime has no CPU", hint=f"write it like realtime: {CPUS_EXAMPLE}")
        return None
    found = [_read_cpu(item, problems) for item in node.items]
    numbers = [cpu.value for cpu in found if cpu is not None]
    for cpu, before in ((cpu, numbers[:index]) for index, cpu in enumerate(f for f in found if f is not None)):
        if cpu.value in before:
            problems.add(cpu.at, f"CPU {cpu.value} is there twice", hint="name every CPU once")
            return None
    return tuple(sorted(numbers)) if len(numbers) == len(found) else None


def _read_cpu(item: Node, problems: Problems) -> Found[int] | None:
    scalar: Scalar | None = as_scalar(item, "a CPU", problems, example="0")
    if scalar is None:
        return None
    if not scalar.text.isascii() or not scalar.text.isdigit() or len(scalar.text) > 4:
        hint = "write the kernel's number of it, as in /proc/cpuinfo, such as 0"
        problems.add(scalar.at, f"{quote(scalar.text)} is not a CPU", hint=hint)
        return None
    return Found(int(scalar.text), scalar)
