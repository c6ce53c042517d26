"""How faults come over the simulated world."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from entourage.twin.faults import CALL_FAULTS, LASTING, Fault, FaultKind
from entourage.twin.parts import HostGuard
from entourage.twin.records import Guards
from entourage.twin.streams import Streams
from entourage.twin.world import Client, World

_FAST, _SLOW = 8.0, 0.25  # how many seconds such a guard's clock counts in one


class Misfortune:
    """Begins each fault at its call. `people` says what happens to orchestrators."""

    def __init__(
        self,
        world: World,
        streams: Streams,
        guards: Guards,
        faults: Iterable[Fault],
        *,
        people: dict[FaultKind, Callable[[], None]],
    ) -> None:
        self._world = world
        self._streams = streams
        self._restart = guards.restart
        self._people = people
        self._at_call: dict[int, list[Fault]] = {}
        self._in_recovery: list[Fault] = []
        self.until = 0.0  # when all that has begun will be over
        self.begun = 0
        for fault in faults:
            if fault.kind is FaultKind.KILLED_IN_RECOVERY:
                self._in_recovery.append(fault)
            else:
                self._at_call.setdefault(fault.call, []).append(fault)
        world.begin = self._on_call

    def recovery_begins(self) -> None:
        """Faults that are counted in calls of a recovery are counted from now on."""
        for fault in self._in_recovery:
            call = self._world.calls + fault.call
            kind = FaultKind.ORCHESTRATOR_KILLED
            self._at_call.setdefault(call, []).append(replace(fault, call=call, kind=kind))
        self._in_recovery.clear()

    def _on_call(self, number: int, _: Client) -> None:
        for fault in self._at_call.pop(number, ()):
            if fault.kind in CALL_FAULTS or fault.after_s == 0:
                self._begin(fault)
            else:
                self.until = max(self.until, self._world.loop.time() + fault.after_s)
                self._world.loop.call_later(fault.after_s, self._begin, fault)

    def _begin(self, fault: Fault) -> None:
        world = self._world
        if world.is_over:
            return
        world.note("fault", str(fault))
        self.begun += 1
        now = world.loop.time()
        until = now + fault.for_s
        self.until = max(self.until, until)
        if fault.kind in CALL_FAULTS:
            world.striking.append((fault, fault.calls))
        elif fault.kind in self._people:
            self._people[fault.kind]()
        elif fault.kind in LASTING:
            self._for_a_while(fault.kind, fault, until)
        else:
            self._once(fault.kind, fault)

    def _for_a_while(self, kind: FaultKind, fault: Fault, until: float) -> None:
        world = self._world
        match kind:
            case FaultKind.LINK_CUT:
                world.link_cut_until = max(world.link_cut_until, until)
                self._streams.cut(world.link_cut_until)
            case FaultKind.LINK_SLOW:
                world.link_slow_until = max(world.link_slow_until, until)
                self._streams.retime()
                world.loop.call_at(world.link_slow_until, self._streams.retime)
            case FaultKind.JOURNAL_DOWN:
                world.journal_down_until = max(world.journal_down_until, until)
            case FaultKind.BGP_DOWN:
                site = world.sites[fault.which % len(world.sites)]
                world.bgp_down_until[site] = max(world.bgp_down_until.get(site, 0.0), until)
                world.served()
                world.loop.call_at(until, world.served)
            case FaultKind.GUARD_KILLED:
                guard = self._guard(fault)
                guard.is_alive, guard.was_killed, guard.armed = False, True, {}
                world.loop.call_at(until, self._restart, guard)
            case _:
                raise AssertionError(f"does not last: {kind}")

    def _once(self, kind: FaultKind, fault: Fault) -> None:
        match kind:
            case FaultKind.SOURCE_VM_KILLED | FaultKind.TARGET_VM_KILLED:
                self._kill_vm(fault)
            case FaultKind.JOURNAL_UNKNOWN:
                self._world.journal_unknown.append(bool(fault.which % 2))
            case FaultKind.GUARD_FAST:
                self._guard(fault).rate = _FAST
            case FaultKind.GUARD_SLOW:
                self._guard(fault).rate = _SLOW
            case _:
                raise AssertionError(f"nothing is known of {kind}")

    def _guard(self, fault: Fault) -> HostGuard:
        hosts = sorted(set(self._world.scenario.group.sources.values()))
        return self._world.guards[hosts[fault.which % len(hosts)]]

    def _kill_vm(self, fault: Fault) -> None:
        group = self._world.scenario.group
        member = group.order[fault.which % len(group.order)]
        hosts = group.sources if fault.kind is FaultKind.SOURCE_VM_KILLED else group.targets
        copy = self._world.copies.get((member, hosts[member]))
        if copy is None:
            return
        self._world.lose(copy)
        if copy.stream is not None:
            self._streams.break_off(copy.stream, by="fault")
