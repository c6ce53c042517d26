"""Real-time CPU in the spec files: what is read, and exactly what is said about what cannot be kept."""

from fractions import Fraction

import pytest
from spec_edits import SHOP, SITES, Said, infrastructure_problems, replaced, service_problems

from entourage.model.ids import HostId, MemberId
from entourage.model.realtime import Policy, Promise, RealtimeCpus, Reservation
from entourage.spec import parse_infrastructure, parse_service

H1 = "h1: {memory: 2 GiB, cpu: 2}"
RT_SITES = replaced(SITES, H1, "h1: {memory: 2 GiB, cpu: 2, realtime: {cpus: [0, 1]}}")
RT_INFRASTRUCTURE = parse_infrastructure(RT_SITES, file="sites.yaml")
ROUTER = "    role: router\n"  # lines 15 and 16


def with_host(realtime: str) -> str:
    return replaced(SITES, H1, f"h1: {{memory: 2 GiB, cpu: 2, realtime: {realtime}}}")


def with_router(realtime: str, *, top: str = "") -> str:
    return replaced(SHOP, ROUTER, f"{ROUTER}    realtime: {realtime}\n") + top


def test_a_host_says_what_it_can_promise() -> None:
    assert RT_INFRASTRUCTURE.host(HostId("east/h1")).realtime == RealtimeCpus(cpus=(0, 1))
    assert RT_INFRASTRUCTURE.host(HostId("east/h2")).realtime is None
    full = parse_infrastructure(with_host("{cpus: [3, 1], policy: deadline, limit: 80 %}"), file="sites.yaml")
    wanted = RealtimeCpus(cpus=(1, 3), policy=Policy.DEADLINE, limit=Fraction(4, 5))
    assert full.host(HostId("east/h1")).realtime == wanted


@pytest.mark.parametrize(
    ("realtime", "top", "expected"),
    [
        ("{budget: 1 ms, period: 5 ms}", "", Promise(cpu=Reservation(budget_us=1000, period_us=5000),
                                                     io=Reservation(budget_us=1000, period_us=5000))),
        ("gold", "realtime-classes: {gold: {budget: 1500 us, period: 5 ms, io-budget: 0.5 ms}}\n",
         Promise(cpu=Reservation(budget_us=1500, period_us=5000), io=Reservation(budget_us=500, period_us=5000),
                 name="gold")),
    ],
)  # fmt: skip
def test_a_member_is_promised_in_place_or_by_a_class(realtime: str, top: str, expected: Promise) -> None:
    service = parse_service(with_router(realtime, top=top), file="shop.yaml", infrastructure=RT_INFRASTRUCTURE)
    assert service.member(MemberId("rt")).realtime == expected
    assert service.member(MemberId("fw")).realtime is None


def test_a_promise_may_name_cpus_keep_threads_apart_and_lock_memory() -> None:
    text = with_router("{budget: 1 ms, period: 5 ms, pin: 1, io-pin: 0, io: apart, memory: locked}")
    promise = parse_service(text, file="shop.yaml", infrastructure=RT_INFRASTRUCTURE).member(MemberId("rt")).realtime
    assert promise is not None
    assert (promise.pins, promise.apart, promise.locks_memory, promise.is_free) == ((1, 0), True, True, False)


_US = "write it like 1500 us"
_MEMBERS: list[tuple[str, str, list[Said]]] = [
    ("{budget: 6 ms, period: 5 ms}", "",
     [("16:24", "budget '6 ms' is longer than the period '5 ms'",
       "write how much CPU time of each period is promised")]),
    ("{budget: 0 ms, period: 5 ms}", "",
     [("16:24", "'0 ms' is zero", "write a positive quantity, such as 1 ms")]),
    ("{budget: 1.0005 ms, period: 5 ms}", "", [("16:24", "'1.0005 ms' is not whole µs", _US)]),
    ("{budget: 1 us, period: 50 us}", "",
     [("16:38", "'50 us' is no period for a kernel", "a period is 100 us to 4 s")]),
    ("{budget: 1 ms, period: 5 ms, io-budget: 9 ms}", "",
     [("16:55", "budget '9 ms' is longer than the period '5 ms'",
       "write how much CPU time of each period is promised")]),
    ("{budget: 98 ms, period: 100 ms, io-budget: 1 ms}", "",
     [("16:15", "0.99 CPUs of real time (0.98 on one) are more than any host has", "east/h1 has 0.95 of each of 2")]),
    ("gold", "",
     [("16:15", "unknown class 'gold': the file defines none",
       "write {budget: 1 ms, period: 5 ms}, or define realtime-classes: {gold: {budget: 1 ms, period: 5 ms}}")]),
    ("golf", "realtime-classes: {gold: {budget: 1 ms, period: 5 ms}}\n",
     [("16:15", "unknown class 'golf'", "did you mean 'gold'?")]),
    ("{budget: 1 ms, period: 5 ms, pin: 7}", "",
     [("16:15", "no host has CPU 7 for real time", "east/h1 has 0, 1")]),
    ("{budget: 1 ms, period: 5 ms, pin: 1, io-pin: 1, io: apart}", "",
     [("16:15", "io: apart, and both threads are pinned to one CPU", "leave one of the three out")]),
    ("{budget: 1 ms, period: 5 ms, pin: all}", "",
     [("16:49", "'all' is not a CPU", "write the kernel's number of it, as in /proc/cpuinfo, such as 0")]),
    ("{budget: 1 ms}", "", [("16:15", "missing key 'period' in realtime", "add period: 5 ms")]),
]  # fmt: skip


@pytest.mark.parametrize(("realtime", "top", "expected"), _MEMBERS)
def test_a_promise_that_nobody_could_keep_is_refused(realtime: str, top: str, expected: list[Said]) -> None:
    assert service_problems(with_router(realtime, top=top), RT_INFRASTRUCTURE) == expected


def test_a_promise_where_no_host_has_any_is_refused() -> None:
    assert service_problems(with_router("{budget: 1 ms, period: 5 ms}")) == [
        (
            "16:15",
            "no host has real-time CPU to promise",
            "give a host of the sites' file realtime: {cpus: [0, 1]}",
        )
    ]


def test_a_latency_is_promised_by_appliances_that_are_promised_cpu_time() -> None:
    promised = SHOP
    for role in ("router", "firewall", "load-balancer"):
        line = f"    role: {role}\n"
        promised = replaced(promised, line, f"{line}    realtime: {{budget: 1 ms, period: 50 ms}}\n")
    text = f"{promised}latency-p999: 60 ms\n"
    service = parse_service(text, file="shop.yaml", infrastructure=RT_INFRASTRUCTURE)
    assert service.latency_p999_s == 0.06
    without = with_router("{budget: 1 ms, period: 5 ms}", top="latency-p999: 60 ms\n")
    hint = "add realtime: {budget: 1 ms, period: 5 ms}"
    assert [(what, hint) for _, what, hint in service_problems(without, RT_INFRASTRUCTURE)] == [
        (f"'{name}' is promised no real-time CPU, and latency-p999 counts on it", hint) for name in ("fw", "lb")
    ]


_HOSTS: list[tuple[str, list[Said]]] = [
    ("{cpus: []}", [("5:52", "realtime has no CPU", "write it like realtime: {cpus: [0, 1]}")]),
    ("{cpus: [0, 0]}", [("5:56", "CPU 0 is there twice", "name every CPU once")]),
    ("{cpus: [-1]}",
     [("5:53", "'-1' is not a CPU", "write the kernel's number of it, as in /proc/cpuinfo, such as 0")]),
    ("{cpus: [0], limit: 120 %}", [("5:64", "limit '120 %' is over 100 %", "write 1 % to 100 %")]),
    ("{cpus: [0], policy: rr}", [("5:65", "unknown policy 'rr'", "use one of fifo, deadline")]),
    ("{}", [("5:45", "missing key 'cpus' in realtime", "add cpus: [0, 1]")]),
]  # fmt: skip


@pytest.mark.parametrize(("realtime", "expected"), _HOSTS)
def test_a_host_that_cannot_promise_so_is_refused(realtime: str, expected: list[Said]) -> None:
    assert infrastructure_problems(with_host(realtime)) == expected
