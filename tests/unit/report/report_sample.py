"""Documents as the demo of examples/sites.yaml and examples/shop.yaml makes them, with plausible figures."""

import random
from typing import Any

T0 = 1_790_000_000.0
ROLES = {"rt": "router", "fw": "firewall", "lb": "load-balancer", "web1": "server", "web2": "server"}
HOSTS = {"rt": "h1", "fw": "h2", "lb": "h1", "web1": "h2", "web2": "h1"}
CHAIN = [["rt"], ["fw"], ["lb"], ["web1", "web2"]]
INFRASTRUCTURE: dict[str, Any] = {
    "sites": [{"id": "east", "hosts": ["h1", "h2"]}, {"id": "west", "hosts": ["h1", "h2"]}],
    "regions": [
        {"id": "users-east", "near": "east", "rtt_ms": 5.0},
        {"id": "users-west", "near": "west", "rtt_ms": 5.0},
    ],
    "links": [{"sites": ["east", "west"], "rtt_ms": 50.0, "rate_bps": 200e6, "loss": 0.0}],
}


def placement(**sites: str) -> dict[str, str]:
    """Everything at east, but the members that `sites` names."""
    return {member: f"{sites.get(member, 'east')}/{host}" for member, host in HOSTS.items()}


def hop(name: str, kind: str, *, site: str, link: str | None, takes: float, host: str | None = None) -> dict[str, Any]:
    return {"name": name, "kind": kind, "site": site, "host": host, "link": link, "one_way_ms": takes}


def path(region: str, *, ingress: str, where: dict[str, str], server: str = "web1") -> dict[str, Any]:
    """A region's path: to its provider, over the backbone if it must, and along the chain; and the same way back."""
    near = region.removeprefix("users-")
    hops = [
        hop(region, "users", site=near, link=None, takes=0.0),
        hop(f"provider-{near}", "provider", site=near, link="access", takes=2.5),
    ]
    if near != ingress:
        hops.append(hop(f"provider-{ingress}", "provider", site=ingress, link="backbone", takes=25.0))
    hops.append(hop(f"edge-{ingress}", "edge", site=ingress, link="provider", takes=0.0))
    here = ingress
    for member in ["rt", "fw", "lb", server]:
        site = where[member].partition("/")[0]
        link, takes = ("local", 0.0) if site == here else ("inter-site", 25.0)
        hops.append(hop(member, ROLES[member], site=site, host=where[member], link=link, takes=takes))
        here = site
    links = [(one["link"], one["one_way_ms"]) for one in hops[1:]]
    back = [dict(one) for one in reversed(hops[:-1])]
    for one, (link, takes) in zip(back, reversed(links), strict=True):
        one["link"], one["one_way_ms"] = link, takes
    crossings = sum(one["link"] == "inter-site" for one in [*hops, *back])
    rtt = sum(one["one_way_ms"] for one in [*hops, *back])
    return {
        "region": region, "ending": "delivered", "hops": hops, "return_hops": back,
        "inter_site_crossings": crossings, "rtt_ms": rtt, "added_ms": 25.0 * crossings,
    }  # fmt: skip


def requests(p50: float, *, failed: int = 0) -> dict[str, Any]:
    return {"p50_ms": p50, "p99_ms": p50 * 1.6, "count": 412, "failed": failed}


def move(strategy: str = "group", *, source: str = "east", target: str = "west", **changes: Any) -> dict[str, Any]:
    """A move's report: of the whole group in one switch, or one member after another, or all at once."""
    starts = {
        "group": [0.0, 0.0004, 0.0011, 0.0016, 0.0021],
        "serial": [0.0, 4.9, 9.7, 14.8, 21.3],
        "parallel": [0.0, 1.3, 2.2, 3.9, 6.4],
    }[strategy]
    pauses = [0.241, 0.246, 0.249, 0.244, 0.2489] if strategy == "group" else [0.31, 0.28, 0.35, 0.41, 0.33]
    began = T0 + 118.0
    members = [
        {
            "name": name, "role": ROLES[name], "paused_at": began + start, "resumed_at": began + start + pause,
            "pause_ms": pause * 1000, "bytes": 91_300_000 + 1_700_000 * index,
            "source": f"{source}/{HOSTS[name]}",
            "target": f"{target}/{HOSTS[name]}",
        }
        for index, (name, start, pause) in enumerate(zip(ROLES, starts, pauses, strict=True))
    ]  # fmt: skip
    resumed = [start + pause for start, pause in zip(starts, pauses, strict=True)]
    blackout = 1000 * max(resumed)
    before, after = placement(), {member: f"{target}/{host}" for member, host in HOSTS.items()}
    document: dict[str, Any] = {
        "schema": "entourage.move-report/1", "move": f"shop-{strategy}-{target}", "service": "shop",
        "source": source, "target": target, "strategy": strategy, "outcome": "committed", "members": members,
        "pause_skew_ms": 1000 * max(starts), "resume_skew_ms": 1000 * (max(resumed) - min(resumed)),
        "blackout_ms": blackout, "split_ms": max(0.0, 1000 * (max(starts) - min(resumed))), "total_s": 21.4,
        "bytes": 473_500_000, "ingress": {"first_packet_target_ms": 242.0, "last_packet_source_ms": 1890.0},
        "sessions": sessions(stalled=0 if strategy == "group" else 611),
        "requests": {"before": {"users-east": requests(6.1), "users-west": requests(56.3)},
                     "after": {"users-east": requests(56.2), "users-west": requests(6.2)}},
        "path": {"before": of_move("east", before), "after": of_move(target, after)},
        "predicted": {"blackout_ms": 262.0, "bytes": 468_000_000, "total_s": 22.0, "split_ms": 0.0},
        "left_over": [],
        "link": {"rtt_ms": 50.0, "rate_bps": 200e6, "loss": 0.0},
        "marks": [
            {"ms": 0.0, "what": "stop"}, {"ms": 182.0, "what": "commit"}, {"ms": 190.0, "what": "flip"},
        ] if strategy == "group" else [],
    }  # fmt: skip
    return document | changes


def of_move(ingress: str, where: dict[str, str]) -> dict[str, Any]:
    paths = both_paths(ingress, where)
    return {
        "hops": paths[0]["hops"], "inter_site_crossings": paths[0]["inter_site_crossings"],
        "regions": {one["region"]: one for one in paths},
    }  # fmt: skip


def both_paths(ingress: str, where: dict[str, str]) -> list[dict[str, Any]]:
    return [
        path("users-east", ingress=ingress, where=where, server="web1"),
        path("users-west", ingress=ingress, where=where, server="web2"),
    ]


def sessions(*, stalled: int = 0, reset: int = 0) -> dict[str, Any]:
    return {
        "opened": 1000, "survived": 1000 - reset, "reset": reset, "stalled_over_1s": stalled, "lost": 0, "reordered": 0,
    }  # fmt: skip


def act(kind: str, title: str, *, where: dict[str, str], ingress: str, p50: tuple[float, float]) -> dict[str, Any]:
    return {
        "title": title, "kind": kind, "placement": where,
        "ingress": {"users-east": ingress, "users-west": ingress},
        "paths": both_paths(ingress, where),
        "requests": {"users-east": requests(p50[0]), "users-west": requests(p50[1])},
        "stream": {"sent": 3000, "lost": 0, "reordered": 0, "longest_gap_ms": 12.0,
                   "gap_start": T0 + 20.5, "p50_ms": 5.9},
        "inter_site": {"user_bytes": 0, "user_rate_bps": 0.0, "migration_bytes": 0},
        "move": None, "moves_back": [],
    }  # fmt: skip


def demo_document() -> dict[str, Any]:
    """The story in three acts."""
    first = act("baseline", "Everything at east", where=placement(), ingress="east", p50=(6.1, 56.3))
    second = act("servers-only", "Only the servers move to west", where=placement(web1="west", web2="west"),
                 ingress="east", p50=(57.4, 107.9))  # fmt: skip
    second["inter_site"] = {"user_bytes": 18_400_000, "user_rate_bps": 3.7e6, "migration_bytes": 183_000_000}
    second["move"] = move("serial", move="shop-servers-west")
    second["move"]["members"] = second["move"]["members"][3:]
    second["move"].update(blackout_ms=6830.0, split_ms=6090.0, pause_skew_ms=6500.0, marks=[])
    everything = {member: f"west/{host}" for member, host in HOSTS.items()}
    third = act("group", "The whole group moves to west", where=everything, ingress="west", p50=(56.2, 6.2))
    third["inter_site"] = {"user_bytes": 0, "user_rate_bps": 0.0, "migration_bytes": 473_500_000}
    third["move"] = move("group")
    third["moves_back"] = [move("parallel", source="west", target="east", move="shop-servers-back")]
    return {
        "schema": "entourage.demo-report/1", "created": T0,
        "machine": {"cpu": "2 cores", "kernel": "6.1.0", "qemu": "7.2.22", "accelerator": "tcg"},
        "lab": {"rtt_ms": 50.0, "rate_bps": 200e6, "loss": 0.0},
        "infrastructure": INFRASTRUCTURE,
        "service": {"id": "shop", "prefix": "203.0.113.0/28", "address": "203.0.113.10",
                    "members": [{"name": name, "role": role} for name, role in ROLES.items()], "chain": CHAIN},
        "acts": [first, second, third],
        "sessions": sessions(),
        "timeline": timeline([first, second, third]),
    }  # fmt: skip


def timeline(acts: list[dict[str, Any]]) -> dict[str, Any]:
    chance = random.Random(7)
    samples: list[list[Any]] = []
    for index, one in enumerate(acts):
        for tick in range(400):
            for region, measured in one["requests"].items():
                spread = chance.lognormvariate(0, 0.12)
                samples.append([index * 60 + tick * 0.1, region, round(measured["p50_ms"] * spread, 2)])
    samples += [[118.0 + n * 0.02, "users-east", 251.0 - n * 20] for n in range(8)]
    samples.append([58.2, "users-west", None])
    return {
        "t0": T0, "requests": sorted(samples, key=lambda sample: sample[0]),
        "stream_gaps": [[58.1, 412.0], [64.9, 358.0], [110.0, 330.0], [118.0, 272.0]],
        "marks": [[0.0, acts[0]["title"]], [60.0, acts[1]["title"]], [118.0, "commit"], [120.0, acts[2]["title"]]],
    }  # fmt: skip
