"""A catalogue: appliances, and templates of services that are made of them. Read, and written out as a service's spec.

A template's segments, members and chain are written as a service's are, and checked by the same reader: an appliance's
entry is put in its place as it stands, with its place in the file, and the whole is read as if it were a service.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from entourage.model.ids import ServiceId, SiteId
from entourage.model.world import Infrastructure, Role
from entourage.spec.fields import Fields, as_mapping, as_scalar, named
from entourage.spec.nodes import Mapping, Node, Refused, Scalar, Sequence
from entourage.spec.pools import POOL_EXAMPLE, Pool, read_pool
from entourage.spec.problems import START, Position, Problems, quote
from entourage.spec.service import CLASSES, CLASSES_EXAMPLE, MEMBER_KEYS, read_service
from entourage.spec.values import NAME_HINT, NAME_MAX, is_name, read_choice
from entourage.spec.writing import write

_APPLIANCE_EXAMPLE = "{role: router, memory: 128 MiB, cpu: 0.25}"
_OF_APPLIANCE = ("role", "memory", "cpu")  # keys of members that every appliance has
_NOT_OF_APPLIANCE = ("interfaces", "dirty-rate", "disk")  # keys of members that none has; it may have all others
_OF_INSTANCE = ("service", "prefix", "address", "home")  # keys of services that templates have not
_KEY, _MEMBERS, _POOL = "appliance", "members", "prefixes"
_TOP = {
    "appliances": f"{{edge-router: {_APPLIANCE_EXAMPLE}}}",
    "templates": f"{{web: {{prefixes: {POOL_EXAMPLE}, segments: ..., members: ..., chain: ...}}}}",
}
_ANY_POOL = Pool(network=IPv4Network("192.0.2.0/28"), length=28, position=10)

_Appliances = dict[str, Mapping | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What instances are made of: a pool of prefixes, the names of the members, and the rest as it was written."""

    pool: Pool
    members: tuple[str, ...]
    body: tuple[tuple[Scalar, Node], ...]


class CatalogueError(Exception):
    """There is no such instance; the message says why, and what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The templates of a file, and the file's name and text."""

    file: str
    text: str
    templates: dict[str, Template]

    def instance(
        self, template: str, *, service: ServiceId, site: SiteId, prefixes_taken: Collection[IPv4Network]
    ) -> str:
        """The spec of a new service, with the first prefix of the template's pool that overlaps none of those taken.

        Members are named SERVICE-MEMBER. CatalogueError if the pool has none left, or a name cannot be used.
        """
        if not is_name(service):
            raise CatalogueError(f"{quote(service)} is not a name for a service: {NAME_HINT}")
        made = self.templates[template]
        room = NAME_MAX - 1 - max(map(len, made.members))
        if len(service) > room:
            raise CatalogueError(
                f"{quote(service)} is too long for a service from {template}: at most {max(room, 0)} characters, for "
                f"its members are named SERVICE-MEMBER, and a name has at most {NAME_MAX}"
            )
        instance = _instance(site, service, made.pool, prefixes_taken)
        if instance is None:
            raise CatalogueError(
                f"{template} has no prefix left: all of {made.pool.network} is taken by other services of the lab"
            )
        own = {name: f"{service}-{name}" for name in made.members}
        entries = (*_head(instance, at=START), *(_renamed(*entry, own) for entry in made.body))
        return f"# An instance of {template}.\n{write(Mapping(at=START, entries=entries))}"


def read_catalogue(
    root: Node, infrastructure: Infrastructure, problems: Problems, *, file: str, text: str
) -> Catalogue | None:
    """The catalogue, checked against `infrastructure`; or None with at least one problem noted."""
    top = as_mapping(root, "the file", problems, example=f"templates: {_TOP['templates']}")
    if top is None:
        return None
    fields = Fields(top, problems, what="the file", required=_TOP, optional={CLASSES: CLASSES_EXAMPLE})
    appliances = _read_appliances(fields, problems)
    node = fields.mapping("templates")
    if node is not None and not node.entries:
        problems.add(node.at, "there is no template", hint=f"define at least one, such as {_TOP['templates']}")
    shared = [entry for entry in top.entries if entry[0].text == CLASSES][:1]
    templates = {}
    for name, value in () if node is None else named(node, "template", problems):
        body = as_mapping(value, f"template {quote(name.text)}", problems, example=_TOP["templates"])
        if body is not None and appliances is not None:
            found = problems.beside()
            entries = [*shared, *(_with_appliances(*entry, appliances, found) for entry in body.entries)]
            templates[name.text] = _read_template(name, entries, infrastructure, found)
            problems.join(found)  # what is wrong with an appliance or a class is said once, however many use it
    if problems.count:
        return None
    return Catalogue(file=file, text=text, templates={name: made for name, made in templates.items() if made})


def _read_appliances(top: Fields, problems: Problems) -> _Appliances | None:
    """The entries of every appliance, None for one that was reported; None if they cannot be read at all."""
    node = top.mapping("appliances")
    if node is None:
        return None
    found: dict[str, Mapping | None] = {}
    required = {key: MEMBER_KEYS[key] for key in _OF_APPLIANCE}
    optional = {key: each for key, each in MEMBER_KEYS.items() if key not in (*_OF_APPLIANCE, *_NOT_OF_APPLIANCE)}
    for name, value in named(node, "appliance", problems):
        what = f"appliance {quote(name.text)}"
        body = as_mapping(value, what, problems, example=_APPLIANCE_EXAMPLE)
        found[name.text] = None
        if body is None:
            continue
        fields = Fields(body, problems, what=what, required=required, optional=optional, at=name.at)
        role = fields.node("role")
        if isinstance(role, Scalar) and role.text == Role.SERVER.value:
            problems.add(
                role.at, f"{what} is a server", hint="write the servers of a template where it has its members"
            )
        elif fields.complete:
            found[name.text] = body
    return found


def _with_appliances(key: Scalar, value: Node, appliances: _Appliances, problems: Problems) -> tuple[Scalar, Node]:
    """An entry of a template; where it has the members, with the entries of their appliances in them."""
    if key.text != _MEMBERS or not isinstance(value, Mapping):
        return key, value
    return key, replace(value, entries=tuple((n, _member(v, appliances, problems)) for n, v in value.entries))


def _member(value: Node, appliances: _Appliances, problems: Problems) -> Node:
    """A member with what its appliance has; what the member says itself comes before that."""
    if not isinstance(value, Mapping):
        return value
    own = [entry for entry in value.entries if entry[0].text != _KEY]
    said = {key.text for key, _ in own}
    used: list[tuple[Scalar, Node]] = []
    for _, written in (entry for entry in value.entries if entry[0].text == _KEY):
        name = as_scalar(written, _KEY, problems, example="edge-router")
        if name is None or read_choice(name, _KEY, appliances, problems) is None:
            return Refused(at=value.at)
        appliance = appliances[name.text]
        if appliance is None:
            return Refused(at=value.at)
        used += [entry for entry in appliance.entries if entry[0].text not in said]
    return replace(value, entries=(*used, *own))


def _read_template(
    name: Scalar, entries: list[tuple[Scalar, Node]], infrastructure: Infrastructure, problems: Problems
) -> Template | None:
    """Read it as if it were a service, of a name and a site that do not matter."""
    what = f"template {quote(name.text)}"
    pools = Mapping(at=name.at, entries=tuple(entry for entry in entries if entry[0].text == _POOL))
    fields = Fields(pools, problems, what=what, required={_POOL: POOL_EXAMPLE}, at=name.at)
    pool = read_pool(fields, problems)
    body = []
    for key, value in entries:
        if key.text in _OF_INSTANCE:
            problems.add(key.at, f"key {key.text!r} in {what}", hint="remove it: every instance gets its own")
        elif key.text != _POOL:
            body.append((key, value))
    instance = _instance(infrastructure.sites[0].id, "x", pool or _ANY_POOL, ())
    tried = Mapping(at=name.at, entries=(*_head(instance or {}, at=name.at), *body))
    read_service(tried, infrastructure, problems, what=what)
    if problems.count or pool is None:
        return None
    (members,) = (value for key, value in body if key.text == _MEMBERS)
    assert isinstance(members, Mapping)
    return Template(pool=pool, members=tuple(key.text for key, _ in members.entries), body=tuple(body))


def _instance(site: str, service: str, pool: Pool, taken: Collection[IPv4Network]) -> dict[str, str] | None:
    """What a service says of itself, by key; None if the pool has no prefix left."""
    prefix = pool.free(taken)
    if prefix is None:
        return None
    return {"service": service, "prefix": str(prefix), "address": str(pool.address(prefix)), "home": site}


def _head(instance: dict[str, str], *, at: Position) -> list[tuple[Scalar, Node]]:
    return [(Scalar(at=at, text=key), Scalar(at=at, text=value)) for key, value in instance.items()]


def _renamed(key: Scalar, value: Node, own: dict[str, str]) -> tuple[Scalar, Node]:
    """The entry with the members' own names, where it has members' names."""
    if key.text == "members" and isinstance(value, Mapping):
        return key, replace(value, entries=tuple((replace(n, text=own[n.text]), v) for n, v in value.entries))
    if key.text == "chain" and isinstance(value, Sequence):
        return key, replace(value, items=tuple(_stages(value, own)))
    return key, value


def _stages(chain: Sequence, own: dict[str, str]) -> Iterator[Node]:
    for stage in chain.items:
        match stage:
            case Scalar(text=name):
                yield replace(stage, text=own[name])
            case Sequence():
                yield replace(stage, items=tuple(_stages(stage, own)))
            case _:
                yield stage
