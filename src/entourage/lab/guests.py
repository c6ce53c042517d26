"""What a guest of the lab does: its files, worked out from the service and the member. Pure.

A guest's routes, rules and proxies follow from the chain: outwards by the previous stage, inwards by the next one.
The first stage translates the service's address to that of the stage which ends the users' sessions: the load
balancer, or the servers where there is none. Nothing here depends on the site: a guest knows nothing of a move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise
from shlex import quote

from entourage.model.ids import MemberId, SegmentId
from entourage.model.world import Interface, Member, Role, Service

HTTP_PORT = 80  # short requests
SESSION_PORT = 8080  # long-lived sessions
ECHO_PORT = 7  # UDP, RFC 862

READY = "entourage-ready"  # on the console, once the guest's role serves
ALIVE = "entourage-alive"  # on the console each second, with the guest's uptime
FAILED = "entourage-failed"  # on the console when a step of the start failed; what failed stands before it

# mitigations=off and init_on_alloc=0: under software emulation they cost time and protect nobody.
# nowatchdog, transparent_hugepage=never: an idle guest should wake and write as little as it can.
# A panic stays on the console (panic=0): a guest that restarts by itself would look alive.
KERNEL_COMMAND_LINE = (
    "console=ttyS0 quiet panic=0 nohz=on mitigations=off audit=0 nowatchdog"
    " transparent_hugepage=never init_on_alloc=0 ipv6.disable=1"
)

_DIRECTORY = "/etc/entourage"
_MODULES = "/modules"
_DIRTY_FILE = 8 * 2**20  # bytes that a member with a dirty rate writes over
_PAGE = 4096
_SWEPT_KIB = 128 * 1024
_POOL_PAGES = 128  # half of the random pages that it takes the data from; divides the file


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """One file of a guest: its content, and its permissions."""

    text: str
    mode: int = 0o644


def guest_files(service: Service, member: Member) -> dict[str, GuestFile]:
    """What `member` has besides the programs of its role, by path in the guest.

    Raises ValueError if the chain does not join: a stage without a segment in common with the next one.
    """
    files = {
        "/init": GuestFile(text=_INIT, mode=0o755),
        f"{_DIRECTORY}/hostname": GuestFile(text=f"{member.id}\n"),
        f"{_DIRECTORY}/network.sh": GuestFile(text=_network(service, member)),
        "/etc/passwd": GuestFile(text="root:x:0:0:root:/:/bin/sh\n"),
        "/etc/group": GuestFile(text="root:x:0:\n"),
    }
    match member.role:
        case Role.ROUTER | Role.FIREWALL:
            files |= _forwarder(service, member)
        case Role.LOAD_BALANCER:
            files |= _load_balancer(service, member)
        case Role.SERVER:
            files |= _server(service, member)
    return files


def greeting(service: Service, server: Member) -> str:
    """What a server of the service answers to a request for `/`."""
    return _GREETING.format(service=service.id, server=server.id)


_GREETING = "{service} at {server}\n"


# The order of packets.


def _stage(service: Service, member: Member) -> int:
    return next(index for index, stage in enumerate(service.chain) if member.id in stage)


def _common(one: Member, other: Member) -> SegmentId:
    theirs = {interface.segment for interface in other.interfaces}
    for interface in one.interfaces:
        if interface.segment in theirs:
            return interface.segment
    raise ValueError(f"{one.id} and {other.id} follow each other in the chain and have no segment in common")


def _address_from(member: Member, other: Member) -> IPv4Address:
    """The address of `other` on the segment that it shares with `member`."""
    return other.on(_common(member, other)).address


def _next_addresses(service: Service, member: Member) -> tuple[IPv4Address, ...]:
    """The addresses of the stage after `member`'s, as it reaches them."""
    stage = service.chain[_stage(service, member) + 1]
    return tuple(_address_from(member, service.member(name)) for name in stage)


def _gateway(service: Service, member: Member) -> IPv4Address | None:
    """Where `member` sends what is for the users: the previous stage, or the site's edge."""
    stage = _stage(service, member)
    if stage > 0:
        return _address_from(member, service.member(service.chain[stage - 1][0]))
    return service.ingress_segment().gateway


def _targets(service: Service, *, after: int) -> dict[MemberId, IPv4Address]:
    """Who ends the users' connections next after that stage: load balancers or servers, with their outer addresses."""
    for before, stage in pairwise(service.chain[after:]):
        if service.member(stage[0]).role in (Role.LOAD_BALANCER, Role.SERVER):
            sender = service.member(before[0])
            return {name: _address_from(sender, service.member(name)) for name in stage}
    raise ValueError(f"the chain of {service.id} does not end with servers")


def _inner_routes(service: Service, member: Member) -> list[str]:
    """Routes to the segments of later stages that `member` is not attached to, by the next stage."""
    stage = _stage(service, member)
    later = [service.member(name) for names in service.chain[stage + 1 :] for name in names]
    own = {interface.segment for interface in member.interfaces}
    inner = dict.fromkeys(i.segment for other in later for i in other.interfaces if i.segment not in own)
    return [
        f"ip route add {service.segment(segment).subnet} via {_next_addresses(service, member)[0]}" for segment in inner
    ]


# The start of every guest.

_INIT = f"""\
#!/bin/sh
# The first process. It starts the role, and then says each second that the guest lives.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
mount -t tmpfs -o size=100% tmpfs /run
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

# Without forking: a process each second would dirty more memory than all the rest of an idle guest.
mkfifo /run/never
exec 3<>/run/never
pause() {{ read -r -t "$1" _ <&3 || :; }}

trap 'echo {FAILED}; while :; do pause 3600; done' EXIT
set -e
# Without an interrupt for each packet sent (napi_tx).
for module in {_MODULES}/*.ko; do
    case "$module" in
    *virtio_net.ko) insmod "$module" napi_tx=0 ;;
    *) insmod "$module" ;;
    esac
done
rm -r {_MODULES}
read -r name <{_DIRECTORY}/hostname
echo "$name" >/proc/sys/kernel/hostname

# Nothing periodic that an appliance can do without.
echo 3600 >/proc/sys/vm/stat_interval
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
echo 0 >/proc/sys/vm/compaction_proactiveness
echo 0 >/proc/sys/kernel/hung_task_timeout_secs

. {_DIRECTORY}/network.sh
. {_DIRECTORY}/start.sh

# Leave the free memory as zeros, which cost a migration nothing: the boot has left its traces in it. Not all of a
# large memory: that would only make the host hold it.
while read -r key value _; do [ "$key" != MemFree: ] || free=$value; done </proc/meminfo
[ $free -le {_SWEPT_KIB} ] || free={_SWEPT_KIB}
dd if=/dev/zero of=/run/zeros bs=64k count=$(((free - 8192) / 64)) 2>/dev/null
rm /run/zeros

set +e
trap - EXIT
echo {READY}
while :; do
    pause 1
    read -r uptime _ </proc/uptime
    echo "{ALIVE} $uptime"
done
"""


def _network(service: Service, member: Member) -> str:
    lines = [
        "# configure MAC ADDRESS/LENGTH: a guest knows its ports by their MAC.",
        "configure() {",
        "    for port in /sys/class/net/*; do",
        '        read -r mac <"$port/address"',
        '        [ "$mac" = "$1" ] || continue',
        '        ip addr add "$2" dev "${port##*/}"',
        '        ip link set "${port##*/}" up',
        "        return 0",
        "    done",
        '    echo "there is no interface with the MAC $1"',
        "    return 1",
        "}",
        "ip link set lo up",
        *(f"configure {quote(i.mac)} {_with_length(service, i)}" for i in member.interfaces),
    ]
    gateway = _gateway(service, member)
    if gateway is not None:
        lines.append(f"ip route add default via {gateway}")
    lines += _inner_routes(service, member)
    if _stage(service, member) == 0:
        # The service's own address answers here; what nobody uses of the prefix must not go back to the edge.
        lines += [f"ip addr add {service.address}/32 dev lo", f"ip route add blackhole {service.prefix}"]
    return "\n".join(lines) + "\n"


def _with_length(service: Service, interface: Interface) -> IPv4Interface:
    return IPv4Interface((interface.address, service.segment(interface.segment).subnet.prefixlen))


# Router and firewall.

# loose=0: a session that the connection table does not know is not taken up in its middle.
# The table's size follows the memory, and would be 1,024 connections here.
# ip_early_demux: no look-up of a socket for each packet; a forwarder has none.
# The flow table `known` takes the packets of sessions that are let through past routing and rules.
_FORWARD = """\
nft -f /etc/entourage/rules.nft
echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose
echo 8192 >/sys/module/nf_conntrack/parameters/hashsize
echo 32768 >/proc/sys/net/netfilter/nf_conntrack_max
echo 0 >/proc/sys/net/ipv4/ip_early_demux
echo 1 >/proc/sys/net/ipv4/ip_forward
"""

_INPUT = """\
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        icmp type echo-request accept
        counter drop
    }"""


def _forwarder(service: Service, member: Member) -> dict[str, GuestFile]:
    stage = _stage(service, member)
    first = stage == 0
    targets = tuple(_targets(service, after=stage).values())
    devices = _set([f"eth{number}" for number in range(len(member.interfaces))])
    rules = [
        "table ip entourage {",
        "    flowtable known {",
        f"        hook ingress priority filter; devices = {devices};",
        "    }",
        *(_translation(service, targets) if first else []),
        "    chain forward {",
        "        type filter hook forward priority filter; policy drop;",
        "        ct state established flow add @known",
        "        ct state established,related accept",
        "        ct state invalid counter drop",
        *(["        ct status dnat accept"] if first else _allowed(targets)),
        "        counter drop",
        "    }",
        _INPUT,
        "}",
    ]
    return {
        f"{_DIRECTORY}/rules.nft": GuestFile(text="\n".join(rules) + "\n"),
        f"{_DIRECTORY}/start.sh": GuestFile(text=_FORWARD),
    }


def _allowed(targets: Sequence[IPv4Address]) -> list[str]:
    to = _set(targets)
    return [
        f"        ip daddr {to} tcp dport {_set((HTTP_PORT, SESSION_PORT))} ct state new accept",
        f"        ip daddr {to} udp dport {ECHO_PORT} ct state new accept",
    ]


def _translation(service: Service, targets: Sequence[IPv4Address]) -> list[str]:
    """The chain that sends what is for the service's address to the stage that ends the sessions."""
    tcp = f"tcp dport {_set((HTTP_PORT, SESSION_PORT))}"
    udp = f"udp dport {ECHO_PORT}"
    return [
        "    chain translate {",
        "        type nat hook prerouting priority dstnat; policy accept;",
        f"        ip daddr {service.address} {tcp} dnat to {_shared(targets, port='tcp sport')}",
        f"        ip daddr {service.address} {udp} dnat to {_shared(targets, port='udp sport')}",
        "    }",
    ]


def _set(items: Sequence[object]) -> str:
    return f"{{ {', '.join(map(str, items))} }}"


def _shared(targets: Sequence[IPv4Address], *, port: str) -> str:
    """The target of a translation: one address, or one of several chosen by the sender's address and port."""
    if len(targets) == 1:
        return str(targets[0])
    choices = _set([f"{number} : {target}" for number, target in enumerate(targets)])
    return f"jhash ip saddr . {port} mod {len(targets)} map {choices}"


# Load balancer. TCP ends in the proxy; UDP is translated to one of the servers, and as they answer by way of the load
# balancer, they see who asked.

_BALANCE = """\
nft -f /etc/entourage/rules.nft
echo 1 >/proc/sys/net/ipv4/ip_forward
haproxy -D -f /etc/entourage/haproxy.cfg
"""


def _load_balancer(service: Service, member: Member) -> dict[str, GuestFile]:
    servers = _targets(service, after=_stage(service, member))
    own = _own_address(service, member)
    rules = f"""\
table ip entourage {{
    chain untracked {{
        type filter hook prerouting priority raw; policy accept;
        ip protocol tcp notrack
    }}
    chain untracked-output {{
        type filter hook output priority raw; policy accept;
        ip protocol tcp notrack
    }}
    chain translate {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr {own} udp dport {ECHO_PORT} dnat to {_shared(tuple(servers.values()), port="udp sport")}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct status dnat accept
        counter drop
    }}
}}
"""
    return {
        f"{_DIRECTORY}/rules.nft": GuestFile(text=rules),
        f"{_DIRECTORY}/haproxy.cfg": GuestFile(text=_haproxy(servers)),
        f"{_DIRECTORY}/start.sh": GuestFile(text=_BALANCE),
    }


def _own_address(service: Service, member: Member) -> IPv4Address:
    """The address at which `member` gets what is for the service."""
    stage = _stage(service, member)
    if stage == 0:
        return service.address
    return _address_from(service.member(service.chain[stage - 1][0]), member)


def _haproxy(servers: Mapping[MemberId, IPv4Address]) -> str:
    """HAProxy's configuration. Small buffers: two for each session that is busy, and 128 MiB in all."""
    checked = [f"    server {name} {address}:{HTTP_PORT} check" for name, address in servers.items()]
    tracked = [f"    server {name} {address}:{SESSION_PORT} track requests/{name}" for name, address in servers.items()]
    head = f"""\
global
    nbthread 1
    maxconn 3000
    tune.bufsize 4096
    tune.maxrewrite 512

defaults
    timeout connect 5s

frontend http
    bind :{HTTP_PORT}
    mode http
    timeout client 30s
    default_backend requests

frontend sessions
    bind :{SESSION_PORT}
    mode tcp
    timeout client 1h
    default_backend sessions

backend requests
    mode http
    balance roundrobin
    timeout server 30s
    default-server inter 2s fall 3 rise 1
"""
    sessions = ["", "backend sessions", "    mode tcp", "    balance leastconn", "    timeout server 1h"]
    return head + "\n".join([*checked, *sessions, *tracked]) + "\n"


# Servers.


def _server(service: Service, member: Member) -> dict[str, GuestFile]:
    start = "nginx -c /etc/entourage/nginx.conf\ninetutils-inetd /etc/entourage/inetd.conf\n"
    if member.dirty_rate > 0:
        start += _dirtier(member.dirty_rate)
    if member.disk > 0:
        start += _recorder(member.disk)
    return {
        "/etc/services": GuestFile(text=f"echo {ECHO_PORT}/udp\n"),
        "/etc/protocols": GuestFile(text="udp 17 UDP\n"),
        f"{_DIRECTORY}/inetd.conf": GuestFile(text="echo dgram udp wait root internal\n"),
        f"{_DIRECTORY}/nginx.conf": GuestFile(text=_nginx(service)),
        f"{_DIRECTORY}/start.sh": GuestFile(text=start),
    }


def _nginx(service: Service) -> str:
    hello = _GREETING.format(service=service.id, server="$hostname").replace("\n", "\\n")
    return f"""\
user root;
worker_processes 1;
worker_rlimit_nofile 8192;
pid /run/nginx.pid;
error_log stderr crit;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    default_type text/plain;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    server {{
        listen {HTTP_PORT} backlog=4096;
        listen {SESSION_PORT} backlog=4096;
        location = / {{
            return 200 "{hello}";
        }}
        location = /echo {{
            return 200 "$hostname $arg_s $arg_n\\n";
        }}
        location / {{
            return 404;
        }}
    }}
}}
"""


def _recorder(size: int) -> str:
    """A process that writes a numbered record each second, durably, one block after another over the whole disk."""
    return f"""\
record() {{
    number=0
    while :; do
        pause 1
        printf '%-511s\\n' "record $number" |
            dd of=/dev/vda bs=512 seek=$((number % {size // 512})) conv=notrunc,fsync 2>/dev/null ||
            echo "record $number could not be written"
        number=$((number + 1))
    done
}}
record &
"""


def _dirtier(rate: float) -> str:
    """A process that writes `rate` bytes/s of changing data that does not compress over a file in memory.

    It goes by the guest's clock, four times a second, and writes what is due by then. The data comes from a pool of
    random pages, from another place in each round: random bytes made afresh would cost a fifth of a core under
    software emulation.
    """
    return f"""\
centis() {{
    read -r now _ </proc/uptime
    now=$((${{now%.*}} * 100 + 1${{now#*.}} - 100)) # the 1: digits that start with 0 would be octal
}}
dirty() {{
    pages={_DIRTY_FILE // _PAGE} pool={_POOL_PAGES} written=0
    centis; begin=$now
    while :; do
        pause 0.25
        centis
        due=$(((now - begin) * {round(rate)} / {100 * _PAGE} - written))
        while [ $due -gt 0 ]; do
            at=$((written % pages))
            offset=$((at % pool))
            count=$((pool - offset))
            [ $count -le $due ] || count=$due
            from=$((written / pages * 37 % pool + offset))
            dd if=/run/pool of=/run/dirty bs={_PAGE} skip=$from seek=$at count=$count conv=notrunc 2>/dev/null
            written=$((written + count))
            due=$((due - count))
        done
    done
}}
dd if=/dev/urandom of=/run/pool bs={_PAGE} count={2 * _POOL_PAGES} 2>/dev/null
dirty &
"""
