"""What a rule's expression may name: each observation with its type, its unit and what it says.

This is the single list: expressions are checked against it, their values are made by `facts`, and the reference page is
written from it (`tests/unit/rules` compares).
"""

from dataclasses import dataclass
from enum import Enum

from entourage.model.world import Role


class Kind(Enum):
    """The type of an observation in CEL."""

    TEXT = "string"
    WHOLE = "int"
    NUMBER = "double"
    TRUTH = "bool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`root.name` in expressions. `only` lists all values that a text can have, if they are known before.

    Numbers are never less than 0; `most` is the largest value that one can have, if it is known before.
    """

    root: str
    name: str
    kind: Kind
    says: str
    only: tuple[str, ...] = ()
    most: int | None = None
    is_site: bool = False

    @property
    def path(self) -> str:
        """As it is written."""
        return f"{self.root}.{self.name}"


def _text(path: str, says: str, *, only: tuple[str, ...] = (), is_site: bool = False) -> Observation:
    root, _, name = path.partition(".")
    return Observation(root=root, name=name, kind=Kind.TEXT, says=says, only=only, is_site=is_site)


def _of(path: str, kind: Kind, says: str, *, most: int | None = None) -> Observation:
    root, _, name = path.partition(".")
    return Observation(root=root, name=name, kind=kind, says=says, most=most)


_ROLES = tuple(role.value for role in Role)

OBSERVATIONS = (
    _text("service.id", "the service's name"),
    _text("service.home", "the site that its file calls home", is_site=True),
    _text(
        "service.site", "the site where it was whole last; before that, the one with most of its members", is_site=True
    ),
    _text("service.ingress", "the site where its users' packets enter; empty if not at one only", is_site=True),
    _of("service.whole", Kind.TRUTH, "all members run at one site"),
    _of("service.members", Kind.WHOLE, "how many members it has"),
    _of("service.away", Kind.WHOLE, "how many members run at another site than `service.site`"),
    _of("service.running", Kind.WHOLE, "how many members run"),
    _of("service.settled_s", Kind.NUMBER, "seconds since any member was last seen at another place than before"),
    _text("member.id", "the member that the event is about; empty for events that are about none"),
    _text("member.role", "its role", only=(*_ROLES, "")),
    _text("member.site", "the site where it runs", is_site=True),
    _text("member.host", 'the host where it runs, as "site/host"'),
    _text("member.previous_host", "the host where it was before"),
    _text("host.id", 'the host that the event is about, as "site/host"; empty for events that are about none'),
    _text("host.state", "what is known of it", only=("up", "lost", "maintenance", "")),
    _text("site.id", "the site that the event is about; empty for events that are about none", is_site=True),
    _text("site.state", "what the vantage points say of it", only=("up", "unreachable", "lost", "")),
    _of("path.rtt_ms", Kind.NUMBER, "round trip of a request in ms, from the region for which it is longest"),
    _of("path.crossings", Kind.WHOLE, "how often a request and its answer cross the inter-site link, at most"),
    _of("path.delivered", Kind.TRUTH, "requests of every region arrive"),
    _of("path.bytes_per_hour", Kind.NUMBER, "the service's bytes between sites in an hour, as measured lately"),
    _of("licence.violations", Kind.WHOLE, "how many of the service's licences are violated"),
    _of("licence.free", Kind.WHOLE, "free seats in the fullest pool that the service needs; 1000000 if it needs none"),
    _of("promise.broken", Kind.WHOLE, "how many members have not the real-time CPU that they were promised"),
    _of("now.hour", Kind.WHOLE, "hour of the day, 0 to 23, in the rules' time zone", most=23),
    _of("now.minute", Kind.WHOLE, "minute of the hour, 0 to 59", most=59),
    _of("now.weekday", Kind.WHOLE, "day of the week, 0 is Monday", most=6),
)

BY_PATH = {each.path: each for each in OBSERVATIONS}
ROOTS = tuple(dict.fromkeys(each.root for each in OBSERVATIONS))
NO_POOL = 1_000_000  # `licence.free` of a service that needs no licence
