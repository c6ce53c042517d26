"""Faults for the lease protocol's world: from hypothesis, which shrinks what it finds, and from a seed, for mutants."""

from random import Random

from hypothesis import strategies as st

from entourage.quorum import WITNESS, AgentId
from quorum_world import Cut, End, Fault, Noise, Stall

SITES = (AgentId("east"), AgentId("west"), AgentId("north"), AgentId("south"))
_FAULTS_UNTIL = 25.0
_LONGEST = 12.0
_LATE = 9.0  # a message may come so much later than it was sent


def voters(sites: int) -> tuple[AgentId, ...]:
    """The agents of a world with so many sites."""
    return (*SITES[:sites], WITNESS)


def fault_lists(sites: int) -> st.SearchStrategy[list[Fault]]:
    """A few faults of every kind. A partition of a group from the rest is several cuts at the same time."""
    at, lasts = st.floats(0, _FAULTS_UNTIL), st.floats(0.1, _LONGEST)
    agent = st.sampled_from(voters(sites))
    cut = st.builds(Cut, at, lasts, agent, agent)
    noise = st.builds(Noise, at, lasts, st.floats(0.05, 0.8), st.floats(0.1, _LATE))
    stall = st.builds(Stall, at, lasts, agent)
    end = st.builds(End, at, lasts, agent, st.integers(0, 3), st.booleans())
    groups = st.builds(_partition, at, lasts, st.sets(agent, min_size=1), st.just(voters(sites)))
    single = st.one_of(cut, noise, stall, end).map(lambda fault: [fault])
    return st.lists(st.one_of(groups, single), max_size=6).map(lambda found: [f for each in found for f in each])


def random_faults(seed: int, sites: int) -> list[Fault]:
    """As `fault_lists`, by a seed."""
    random = Random(seed)
    agents = voters(sites)
    faults: list[Fault] = []
    for _ in range(random.randint(1, 6)):
        at, lasts, agent = random.uniform(0, _FAULTS_UNTIL), random.uniform(0.1, _LONGEST), random.choice(agents)
        match random.choice(("cut", "group", "group", "noise", "stall", "end", "end")):
            case "cut":
                faults.append(Cut(at, lasts, agent, random.choice(agents)))
            case "group":
                group = set(random.sample(agents, random.randint(1, len(agents) - 1)))
                faults += _partition(at, lasts, group, agents)
            case "noise":
                faults.append(Noise(at, lasts, random.uniform(0.05, 0.8), random.uniform(0.1, _LATE)))
            case "stall":
                faults.append(Stall(at, lasts, agent))
            case _:
                faults.append(End(at, lasts, agent, random.randint(0, 3), random.random() < 0.5))
    return faults


def _partition(at: float, lasts: float, group: set[AgentId], agents: tuple[AgentId, ...]) -> list[Fault]:
    rest = [agent for agent in agents if agent not in group]
    pairs = [(a, b) for a in sorted(group) for b in rest]
    return [Cut(at, lasts, *pair) for a, b in pairs for pair in ((a, b), (b, a))]
