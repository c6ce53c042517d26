"""How a member's memory gets over the link: passes, what is dirtied meanwhile, the rest, and breaking off."""

import math

from entourage.model.ids import MemberId
from entourage.ports.errors import PermanentError
from entourage.ports.hypervisor import CopyProgress, RunState
from entourage.twin.parts import Copy, Stream
from entourage.twin.world import Client, World

_PAGE = 4096
_SLOW = 0.02  # what a slow link carries of its rate
_STUCK_S = 20.0  # a link that is cut for so long breaks the streams that need it


class Streams:
    """All streams of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: list[Stream] = []

    def begin(self, client: Client, source: Copy, target: Copy) -> Stream:
        """A stream whose first pass is under way. PermanentError where that cannot be."""
        if not client.is_alive:
            raise PermanentError("nobody is there any more who would carry the stream")
        if source.stream is not None:
            raise PermanentError(f"{source.member} on {source.host}: a copy is under way already")
        if source.state is not RunState.RUNNING:
            raise PermanentError(f"{source.member} on {source.host}: it is {source.state.value}, it must run")
        if target.state is not RunState.INCOMING or target.stream is not None or not target.is_listening:
            raise PermanentError(f"{target.member} on {target.host}: it does not wait for state")
        now = self._world.loop.time()
        stream = Stream(client=client, source=source, target=target, left=source.memory, pass_began=now, since=now)
        source.stream = target.stream = stream
        self.all.append(stream)
        self._move(stream, math.inf)
        return stream

    def next_pass(self, stream: Stream, *, pace: float) -> None:
        """Send what was dirtied since the last pass began."""
        if not stream.is_moving:
            stream.left += self._dirtied(stream, since=stream.pass_began)
            stream.pass_began = self._world.loop.time()
        self._move(stream, pace)

    def repace(self, stream: Stream, pace: float) -> None:
        """Another pace for a pass under way."""
        if stream.is_moving and not stream.is_draining:
            self._move(stream, pace)

    def drain(self, stream: Stream) -> None:
        """All that is left; the source stands still."""
        if stream.is_whole or stream.is_draining:
            return
        self._count(stream)
        stream.left += self._dirtied(stream, since=stream.pass_began, until=stream.source.paused_at)
        stream.is_draining = True
        self._move(stream, math.inf)

    def retime(self) -> None:
        """The link carries more, less or nothing from now on."""
        for stream in self.all:
            if stream.is_moving:
                self._move(stream, stream.pace)

    def break_off(self, stream: Stream, *, by: str) -> None:
        """It ends here. A target that is not whole is of no use; a source that had stopped by itself runs again."""
        if stream.is_broken:
            return
        self._count(stream)
        stream.is_broken, stream.is_moving = True, False
        self.all.remove(stream)
        self._world.note(by, f"  the stream of {stream.source.member} ends")
        stream.source.stream = stream.target.stream = None
        if stream.target.state is RunState.INCOMING:
            stream.target.state = RunState.FAILED
        if stream.stopped_by_itself and not stream.is_whole and stream.source.state is RunState.PAUSED:
            self._world.run(stream.source, by=by)
        self._tell(stream)
        self._tell_stopped(stream)

    def stopped(self, copy: Copy) -> None:
        """Tell whoever waits for it that the source stands still."""
        if copy.stream is not None and copy.stream.source is copy:
            self._tell_stopped(copy.stream)

    def cut(self, until: float) -> None:
        """The link carries nothing; if that lasts long, what moves on it breaks."""
        self.retime()
        self._world.loop.call_at(until, self.retime)
        if until - self._world.loop.time() > _STUCK_S:
            self._world.loop.call_later(_STUCK_S, self._give_up)

    def _give_up(self) -> None:
        for stream in [each for each in self.all if each.is_moving]:
            self.break_off(stream, by="link")

    def _move(self, stream: Stream, pace: float) -> None:
        """From now on at this pace, or what the link carries."""
        self._count(stream)
        stream.pace, stream.is_moving = pace, True
        stream.generation += 1
        stream.rate = min(pace, self._rate())
        if stream.rate > 0:
            after_s = stream.left / stream.rate
            self._world.loop.call_later(after_s, self._pass_over, stream, stream.generation)

    def _rate(self) -> float:
        now, world = self._world.loop.time(), self._world
        if world.link_cut_until > now:
            return 0.0
        return world.scenario.link_rate * (_SLOW if world.link_slow_until > now else 1.0)

    def _count(self, stream: Stream) -> None:
        now = self._world.loop.time()
        if stream.is_moving:
            sent = min(stream.left, stream.rate * (now - stream.since))
            stream.left, stream.copied = stream.left - sent, stream.copied + sent
        stream.since = now

    def _pass_over(self, stream: Stream, generation: int) -> None:
        if stream.is_broken or stream.generation != generation or self._world.is_over:
            return
        stream.copied, stream.left, stream.is_moving = stream.copied + stream.left, 0.0, False
        stream.passes += 1
        self._world.note("stream", f"  a pass of {stream.source.member} is over")
        if stream.is_draining:
            self._complete(stream)
        else:
            stream.left = self._dirtied(stream, since=stream.pass_began)
            stream.pass_began = self._world.loop.time()
            if not stream.left and stream.source.state is RunState.RUNNING:
                # As a hypervisor does whose pass finds nothing left: the end of the migration has come.
                stream.stopped_by_itself = True
                self._world.pause(stream.source, by="stream")
        self._show(stream)
        self._tell(stream)

    def _complete(self, stream: Stream) -> None:
        stream.is_whole = True
        if stream.source.state is RunState.RUNNING:
            # Somebody let it run while its rest was sent: the end of the migration stops it again.
            self._world.pause(stream.source, by="stream")
        stream.target.version = stream.source.version
        self._world.pause(stream.target, by="stream")

    def _dirtied(self, stream: Stream, *, since: float, until: float | None = None) -> float:
        rate = self._dirty_rate(stream.source.member, stream.source)
        until = self._world.loop.time() if until is None else until
        if not rate or until <= since:
            return 0.0
        if stream.source.state is not RunState.RUNNING and stream.source.paused_at is not None:
            until = min(until, stream.source.paused_at)
        return float(min(stream.source.memory, _PAGE + rate * max(0.0, until - since)))

    def _dirty_rate(self, member: MemberId, copy: Copy) -> float:
        return self._world.scenario.dirty_rates.get(member, copy.dirty_rate)

    def _show(self, stream: Stream) -> None:
        if stream.progress is not None and stream.client.is_alive:
            stream.progress(
                CopyProgress(
                    member=stream.source.member,
                    copied=int(stream.copied),
                    left=int(stream.left),
                    rate=0.0,
                    passes=stream.passes,
                    held=True,
                )
            )

    def _tell(self, stream: Stream) -> None:
        waiters, stream.waiters = stream.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _tell_stopped(self, stream: Stream) -> None:
        waiters, stream.stop_waiters = stream.stop_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
