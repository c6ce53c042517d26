"""What is done in the benchmark's lab: kills of the orchestrator in every state and at any time, and other faults."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from entourage.chaos import deeds
from entourage.chaos.deeds import Deed

STATES = (
    "preparing", "copying", "converging", "stopping", "draining", "disarming", "committing", "resuming", "verifying",
    "cleaning",
)  # fmt: skip
_RANDOM_KILLS_WITHIN_S = 20.0  # of the move's beginning: most moves of this lab take somewhat longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One move and what happens to it: when it comes to `state`, or `after_s` seconds after it began.

    `deed` None: the orchestrator is killed; with `step_s` its clock is stepped. `kills` names the member that is
    killed with it, whose sessions are lost.
    """

    name: str
    state: str = ""
    after_s: float | None = None
    deed: Deed | None = None
    step_s: float | None = None
    kills: str | None = None
    breaks_lab: bool = False  # what is dead afterwards is not started again by the product

    @property
    def is_kill(self) -> bool:
        """Whether the orchestrator is killed."""
        return self.deed is None and self.step_s is None


def kills(number: int, *, seed: int) -> Iterator[Case]:
    """So many kills of the orchestrator: three in four as it enters a state, in turn, the others at random times."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    for index in range(number):
        if index % 4 == 3:
            after_s = round(chance.uniform(0, _RANDOM_KILLS_WITHIN_S), 2)
            yield Case(name=f"orchestrator killed after {after_s:g} s", after_s=after_s)
        else:
            state = STATES[(index - index // 4) % len(STATES)]
            yield Case(name=f"orchestrator killed in {state}", state=state)


def faults() -> tuple[Case, ...]:
    """Everything else that breaks."""
    return (*_qemu_killed(), *_link(), *_routing(), *_storage(), *_hosts(), *_clock(), *_guard(), *_still())


def _link() -> Iterator[Case]:
    for state, seconds in (("copying", 3), ("converging", 3), ("draining", 3), ("draining", 20), ("verifying", 3)):
        cut = deeds.shape_link(loss=1.0, for_s=seconds)
        yield Case(name=f"link cut for {seconds} s in {state}", state=state, deed=cut)
    for state in ("copying", "converging"):
        yield Case(name=f"5 % loss from {state} on", state=state, deed=deeds.shape_link(loss=0.05))
    # web1 dirties 1 MB/s, and this link carries 0.6 MB/s.
    slow = deeds.shape_link(rate=0.01)
    yield Case(name="link at 1 % from converging on, web1 dirties faster", state="converging", deed=slow)
    yield Case(name="link at 1 % for 3 s in draining", state="draining", deed=deeds.shape_link(rate=0.01, for_s=3))


def _routing() -> Iterator[Case]:
    for state, at_target in (("copying", True), ("committing", True), ("resuming", False)):
        side = "target" if at_target else "source"
        down = deeds.bgp_down(at_target=at_target, for_s=5)
        yield Case(name=f"{side}'s BGP down for 5 s in {state}", state=state, deed=down)
    killed = deeds.kill_frr(at_target=True)
    yield Case(name="target's FRR killed in copying", state="copying", deed=killed, breaks_lab=True)


def _storage() -> Iterator[Case]:
    for state in ("copying", "disarming"):
        yield Case(name=f"disk full from {state} on", state=state, deed=deeds.full_disk())
        yield Case(name=f"database gone for 10 s in {state}", state=state, deed=deeds.lock_database(for_s=10))


def _hosts() -> Iterator[Case]:
    yield Case(name="target's hosts full from preparing on", state="preparing", deed=deeds.fill_host())


def _clock() -> Iterator[Case]:
    for state, step_s, way in (("copying", 3600, "ahead"), ("draining", 3600, "ahead"), ("stopping", -3600, "behind")):
        yield Case(name=f"clock an hour {way} from {state} on", state=state, step_s=step_s)


def _guard() -> Iterator[Case]:
    yield Case(name="guard killed in copying", state="copying", deed=deeds.kill_guard(), breaks_lab=True)


def _still() -> Iterator[Case]:
    # The guards wait for ten seconds before they run the sources of one that is there and says nothing.
    for state, seconds in (("copying", 15), ("draining", 5), ("draining", 15), ("committing", 5)):
        still = deeds.stand_still(for_s=seconds)
        yield Case(name=f"orchestrator stands still for {seconds} s in {state}", state=state, deed=still)
    for state in ("draining", "verifying"):
        dies = deeds.stand_still(for_s=15, then_dies=True)
        yield Case(name=f"orchestrator stands still for 15 s in {state}, dies", state=state, deed=dies)


def _qemu_killed() -> Iterator[Case]:
    for member, state, at_target in (
        ("web1", "copying", False),
        ("lb", "draining", False),
        ("web2", "cleaning", False),
        ("web1", "copying", True),
        ("fw", "draining", True),
        ("web2", "verifying", True),
    ):
        side = "target" if at_target else "source"
        # The copy that counts at that time; the other one is killed with no harm to any session.
        counts = at_target == (STATES.index(state) > STATES.index("committing"))
        yield Case(
            name=f"{side}'s {member} killed in {state}",
            state=state,
            deed=deeds.kill_qemu(member, at_target=at_target),
            kills=member if counts else None,
            breaks_lab=counts,
        )
