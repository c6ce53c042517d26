"""Real-time CPU: what a member is promised, and what a host has to promise.

All times in whole µs. A share is of one CPU.
"""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

PERIOD_MIN_US, PERIOD_MAX_US = 100, 4_000_000  # what SCHED_DEADLINE takes by default, rounded down


class ReservationError(ValueError):
    """Not a reservation that anybody could keep; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """`budget_us` of CPU time in every `period_us`, for one thread that is always on one CPU at a time.

    Both in whole µs, 1 ≤ budget ≤ period; else ReservationError.
    """

    budget_us: int
    period_us: int

    def __post_init__(self) -> None:
        """Refuse what cannot be kept."""
        if self.budget_us <= 0 or self.period_us <= 0:
            raise ReservationError(f"{self.budget_us} µs in {self.period_us} µs: both must be more than 0")
        if self.budget_us > self.period_us:
            raise ReservationError(f"{self.budget_us} µs in {self.period_us} µs: the budget is longer than the period")

    @property
    def share(self) -> Fraction:
        """Of one CPU."""
        return Fraction(self.budget_us, self.period_us)

    @property
    def rounded(self) -> float:
        """The share as floating point, which is much faster to compare."""
        return self.budget_us / self.period_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a member is promised: `cpu` for its virtual CPU, `io` for the thread that carries its packets and disk.

    `name` is that of the class it was taken from, if it was. `pins`: the host's CPU that each thread is to have, None
    for any. `apart`: they never share one. `locks_memory`: none of the member's memory is ever paged out.
    """

    cpu: Reservation
    io: Reservation
    name: str | None = None
    pins: tuple[int | None, int | None] = (None, None)
    apart: bool = False
    locks_memory: bool = False

    @property
    def threads(self) -> tuple[Reservation, Reservation]:
        """Of every thread that gets one."""
        return (self.cpu, self.io)

    @property
    def share(self) -> Fraction:
        """Of all its threads together, in CPUs."""
        return self.cpu.share + self.io.share

    @property
    def rounded(self) -> float:
        """The share as floating point."""
        return self.cpu.rounded + self.io.rounded

    @property
    def is_free(self) -> bool:
        """Whether any thread may have any CPU."""
        return self.pins == (None, None) and not self.apart


class Policy(Enum):
    """How a host's kernel keeps promises."""

    FIFO = "fifo"  # SCHED_FIFO: the shorter the period the higher the priority; each thread pinned to one CPU
    DEADLINE = "deadline"  # SCHED_DEADLINE: budgets enforced by the kernel; threads on any CPU, which it asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeCpus:
    """What of a host real time may have: `limit` of each of `cpus`, which are numbered as the kernel does.

    `fallback`: the policy to take if the host's kernel refuses `policy`; None to refuse the member then.
    """

    cpus: tuple[int, ...]
    policy: Policy = Policy.FIFO
    limit: Fraction = Fraction(95, 100)  # the kernel's default: sched_rt_runtime_us over sched_rt_period_us
    fallback: Policy | None = None
