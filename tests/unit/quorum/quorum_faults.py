"""Faults for the lease protocol's world: from hypothesis, which shrinks what it finds, and from a seed, for mutants."""

from random import Random

from hypothesis import strategies as st
from quorum_world import Cut, End, Fault, Noise, Stall

from entourage.quorum import WITNESS, AgentId

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


def on_the_brink(seed: int, sites: int) -> list[Fault]:
    """The first site is cut off for about as long as it takes to be lost, while messages come late and twice."""
    random = Random(seed)
    agents = voters(sites)
    faults: list[Fault] = []
    for at in (4.0, 14.0):
        faults += _partition(at, random.uniform(3.4, 4.6), {agents[0]}, agents)
        faults.append(Noise(at + 3.0, 3.0, random.uniform(0.2, 0.7), random.uniform(0.5, 6.0)))
        if random.random() < 0.5:
            faults.append(
                End(at + random.uniform(3.0, 4.6), 2.0, random.choice(agents[1:]), random.randint(1, 2), False)
            )
    return faults


def back_for_a_moment(seed: int, sites: int) -> list[Fault]:
    """The first site comes back just as it is about to be lost, and is gone again, while messages come very late."""
    random = Random(seed)
    agents = voters(sites)
    back = random.uniform(7.6, 8.2)
    return [
        *_partition(4.0, back - 4.0, {agents[0]}, agents),
        Noise(7.4, 1.2, 0.5, _LATE),
        *_partition(back + 0.3, 8.0, {agents[0]}, agents),
    ]


def _partition(at: float, lasts: float, group: set[AgentId], agents: tuple[AgentId, ...]) -> list[Fault]:
    rest = [agent for agent in agents if agent not in group]
    pairs = [(a, b) for a in sorted(group) for b in rest]
    return [Cut(at, lasts, *pair) for a, b in pairs for pair in ((a, b), (b, a))]
