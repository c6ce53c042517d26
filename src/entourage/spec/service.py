"""A service, its segments, members and chain: from the node tree to the model."""

from dataclasses import dataclass

from entourage.model.ids import MemberId, SegmentId, ServiceId, SiteId
from entourage.model.licences import Licences
from entourage.model.units import BYTE_RATE, DURATION, MEMORY
from entourage.model.world import FailedTarget, Host, Infrastructure, Interface, Member, Role, Segment, Service
from entourage.spec.chain import read_chain
from entourage.spec.drafts import MemberDraft, PortDraft, SegmentDraft
from entourage.spec.fields import Fields, as_mapping, named
from entourage.spec.licences import read_licence
from entourage.spec.nodes import Node, Scalar
from entourage.spec.problems import Problems, quote
from entourage.spec.realtime import PROMISE_EXAMPLE, Classes, check_promise, read_classes, read_promise
from entourage.spec.replication import REPLICATION_OPTIONAL, read_replication
from entourage.spec.segments import check_addresses, check_segments, read_segments
from entourage.spec.values import Found, read_name

_SMALLEST_GUEST = 128 * 2**20  # bytes; the guest's kernel and its tools need that much
_PORT = {"segment": "inside", "address": "10.20.3.11", "mac": "52:54:00:20:03:11"}
_PORT_EXAMPLE = "{segment: inside, address: 10.20.3.11, mac: 52:54:00:20:03:11}"
_MEMBER = {"role": "server", "memory": "128 MiB", "cpu": "0.25", "interfaces": f"[{_PORT_EXAMPLE}]"}
_MEMBER_OPTIONAL = {"dirty-rate": "1 MB/s", "disk": "64 MiB", "realtime": PROMISE_EXAMPLE, "licence": "vfw"}
MEMBER_KEYS = {**_MEMBER, **_MEMBER_OPTIONAL}  # with an example of each one's value
_DISK_STEP = 1 << 20  # a disk is of whole MiB; what is written is rounded up
_MEMBER_EXAMPLE = f"{{role: server, memory: 128 MiB, cpu: 0.25, interfaces: [{_PORT_EXAMPLE}]}}"
_TOP = {
    "service": "shop",
    "prefix": "203.0.113.0/28",
    "address": "203.0.113.10",
    "home": "east",
    "segments": "{transit: {subnet: 10.20.0.0/24, gateway: 10.20.0.1}}",
    "members": f"{{web1: {_MEMBER_EXAMPLE}}}",
    "chain": "[rt, fw, lb, [web1, web2]]",
}
CLASSES, CLASSES_EXAMPLE = "realtime-classes", f"{{gold: {PROMISE_EXAMPLE}}}"
_TOP_OPTIONAL = {
    "if-unverified": "move-back",
    CLASSES: CLASSES_EXAMPLE,
    "latency-p999": "60 ms",
    **REPLICATION_OPTIONAL,
}


def read_service(
    root: Node, infrastructure: Infrastructure, problems: Problems, *, what: str = "the file"
) -> Service | None:
    """The service, or None with at least one problem noted. `what`: what it stands in, in messages."""
    top = as_mapping(root, what, problems, example="service: shop")
    if top is None:
        return None
    fields = Fields(top, problems, what=what, required=_TOP, optional=_TOP_OPTIONAL)
    name = fields.scalar("service")
    if name is not None:
        read_name(name, "service", problems)
    prefix, address = fields.network("prefix"), fields.address("address")
    if prefix is not None and address is not None and address.value not in prefix.value:
        problems.add(
            address.at,
            f"address {address.value} is outside the prefix {prefix.value}",
            hint="users can reach only addresses inside the announced prefix",
        )
    home = fields.choice("home", "site", [s.id for s in infrastructure.sites])
    if_unverified = fields.choice("if-unverified", "policy", [policy.value for policy in FailedTarget])
    segments = read_segments(fields, problems)
    named_things = _Named(
        segments=None if segments is None else [s.name.text for s in segments],
        classes=read_classes(fields, problems),
        licences=infrastructure.licences,
    )
    members = _read_members(fields, named_things, problems)
    latency = fields.quantity("latency-p999", DURATION)
    if segments is not None:
        check_segments(segments, fields.at("segments"), problems)
    if members is not None:
        check_addresses(members, segments, problems)
        _check_capacity(members, infrastructure, problems)
        if latency is not None and not problems.count:
            _check_latency(members, problems)
    rpo_s, replica_at = read_replication(fields, home, members, infrastructure, problems)
    chain = read_chain(fields, members, segments, problems)
    if problems.count or name is None or prefix is None or address is None or home is None:
        return None
    return Service(
        id=ServiceId(name.text),
        prefix=prefix.value,
        address=address.value,
        segments=tuple(done for s in segments or () if (done := _segment(s)) is not None),
        members=tuple(m for d in members or () if (m := _member(d)) is not None),
        chain=tuple(tuple(map(MemberId, stage)) for stage in chain or ()),
        home=SiteId(home.value),
        if_unverified=FailedTarget.STAY if if_unverified is None else FailedTarget(if_unverified.value),
        latency_p999_s=None if latency is None else latency.value / 1000,
        rpo_s=rpo_s,
        replica_at=replica_at,
    )


def _check_latency(members: list[MemberDraft], problems: Problems) -> None:
    """A latency can be promised only if every appliance is promised CPU time."""
    for draft in members:
        if draft.role not in (None, Role.SERVER) and draft.realtime is None:
            words = f"{quote(draft.name.text)} is promised no real-time CPU, and latency-p999 counts on it"
            problems.add(draft.name.at, words, hint=f"add realtime: {PROMISE_EXAMPLE}")


def _segment(draft: SegmentDraft) -> Segment | None:
    if draft.subnet is None:
        return None
    gateway = None if draft.gateway is None else draft.gateway.value
    return Segment(id=SegmentId(draft.name.text), subnet=draft.subnet.value, gateway=gateway)


def _member(draft: MemberDraft) -> Member | None:
    if draft.role is None or draft.memory is None or draft.cpu is None:
        return None
    return Member(
        id=MemberId(draft.name.text),
        role=draft.role,
        memory=round(draft.memory.value),
        cpu=draft.cpu.value,
        interfaces=tuple(i for p in draft.ports or () if (i := _interface(p)) is not None),
        dirty_rate=draft.dirty_rate,
        disk=draft.disk,
        realtime=None if draft.realtime is None else draft.realtime[0],
        licence=draft.licence,
    )


def _interface(port: PortDraft) -> Interface | None:
    if port.segment is None or port.address is None or port.mac is None:
        return None
    return Interface(segment=SegmentId(port.segment.value), address=port.address.value, mac=port.mac.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """What members may name. None: it was reported as a whole, so that no name can be called unknown."""

    segments: list[str] | None
    classes: Classes | None
    licences: Licences | None  # None: there is no such file


def _read_members(top: Fields, known: _Named, problems: Problems) -> list[MemberDraft] | None:
    node = top.mapping("members")
    if node is None:
        return None
    if not node.entries:
        problems.add(node.at, "there is no member", hint=f"define at least one server: {_TOP['members']}")
    return [_read_member(*entry, known, problems) for entry in named(node, "member", problems)]


def _read_member(name: Scalar, value: Node, known: _Named, problems: Problems) -> MemberDraft:
    what = f"member {quote(name.text)}"
    body = as_mapping(value, what, problems, example=_MEMBER_EXAMPLE)
    if body is None:
        return MemberDraft(name=name)
    fields = Fields(body, problems, what=what, required=_MEMBER, optional=_MEMBER_OPTIONAL, at=name.at)
    role = fields.choice("role", "role", [r.value for r in Role])
    dirty_rate = fields.quantity("dirty-rate", BYTE_RATE, zero=True)
    disk = fields.quantity("disk", MEMORY)
    return MemberDraft(
        name=name,
        role=None if role is None else Role(role.value),
        memory=_read_memory(fields, problems),
        cpu=fields.cores("cpu"),
        dirty_rate=0.0 if dirty_rate is None else dirty_rate.value,
        disk=0 if disk is None else -(-round(disk.value) // _DISK_STEP) * _DISK_STEP,
        ports=_read_ports(fields, what, known.segments, problems),
        realtime=read_promise(fields, known.classes, problems),
        licence=read_licence(fields, known.licences, problems),
    )


def _read_memory(fields: Fields, problems: Problems) -> Found[float] | None:
    memory = fields.quantity("memory", MEMORY)
    if memory is not None and memory.value < _SMALLEST_GUEST:
        problems.add(
            memory.at, f"{quote(memory.written.text)} is too little memory", hint="a member needs at least 128 MiB"
        )
        return None
    return memory


def _read_ports(member: Fields, what: str, known: list[str] | None, problems: Problems) -> tuple[PortDraft, ...] | None:
    node = member.sequence("interfaces")
    if node is None:
        return None
    if not node.items:
        problems.add(node.at, f"{what} has no interface", hint=f"add at least one: [{_PORT_EXAMPLE}]")
    ports = [_read_port(item, known, problems) for item in node.items]
    first: dict[str, int] = {}
    for segment in (port.segment for port in ports if port.segment is not None):
        if segment.value in first:
            problems.add(
                segment.at,
                f"{what} is on segment {quote(segment.value)} twice, first on line {first[segment.value]}",
                hint="a member has one interface on a segment",
            )
        first.setdefault(segment.value, segment.at.line)
    return tuple(ports)


def _read_port(item: Node, known: list[str] | None, problems: Problems) -> PortDraft:
    body = as_mapping(item, "an interface", problems, example=_PORT_EXAMPLE)
    if body is None:
        return PortDraft()
    fields = Fields(body, problems, what="an interface", required=_PORT)
    segment = None if known is None else fields.choice("segment", "segment", known)
    return PortDraft(segment=segment, address=fields.address("address"), mac=fields.mac("mac"))


def _check_capacity(members: list[MemberDraft], infrastructure: Infrastructure, problems: Problems) -> None:
    hosts = [host for site in infrastructure.sites for host in site.hosts]
    roomy = max(hosts, key=lambda host: (host.memory, host.cpu), default=None)
    fast = max(hosts, key=lambda host: (host.cpu, host.memory), default=None)
    if roomy is None or fast is None:
        return
    for promise, at in (m.realtime for m in members if m.realtime is not None):
        check_promise(promise, at, hosts, problems)
    for memory, cpu in ((m.memory, m.cpu) for m in members):
        too_large = memory is not None and memory.value > roomy.memory
        too_fast = cpu is not None and cpu.value > fast.cpu
        if memory is not None and too_large:
            _report_room(memory, "memory", roomy, problems)
        if cpu is not None and too_fast:
            _report_room(cpu, "CPU", fast, problems)
        if memory is None or cpu is None or too_large or too_fast:
            continue
        if not any(memory.value <= host.memory and cpu.value <= host.cpu for host in hosts):
            problems.add(
                memory.at,
                f"no host has {quote(memory.written.text)} memory and {cpu.value:g} cores together",
                hint=f"the host with the most memory, {roomy.id}, has {_size(roomy)}",
            )


def _report_room(found: Found[float], what: str, largest: Host, problems: Problems) -> None:
    problems.add(
        found.at,
        f"{quote(found.written.text)} is more {what} than any host has",
        hint=f"the largest host, {largest.id}, has {_size(largest)}",
    )


def _size(host: Host) -> str:
    return f"{host.memory / 2**20:g} MiB and {host.cpu:g} cores"
