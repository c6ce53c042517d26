"""The names that a user writes, found in what there is; one that is not there comes back with the likely one."""

from collections.abc import Iterable

from entourage.lab.place import Lab, Place
from entourage.model.ids import HostId, MemberId, RegionId, SiteId
from entourage.spec.problems import quote, suggest


class UnknownNameError(Exception):
    """There is nothing of that name; the message says what was likely meant, or what there is."""

    def __init__(self, kind: str, word: str, known: Iterable[str], *, where: str) -> None:
        super().__init__(f"unknown {kind} {quote(word)} in {where}: {suggest(word, known)}")


def site_named(place: Lab, word: str) -> SiteId:
    """The site of that name."""
    sites = [site.id for site in place.infrastructure.sites]
    if word not in sites:
        raise UnknownNameError("site", word, sites, where=f"lab {place.name}")
    return SiteId(word)


def host_named(place: Lab, word: str) -> HostId:
    """The host of that name ("east/h1")."""
    hosts = place.hosts()
    if word not in hosts:
        raise UnknownNameError("host", word, hosts, where=f"lab {place.name}")
    return HostId(word)


def region_named(place: Lab, word: str) -> RegionId:
    """The users' region of that name."""
    regions = [region.id for region in place.infrastructure.regions]
    if word not in regions:
        raise UnknownNameError("region", word, regions, where=f"lab {place.name}")
    return RegionId(word)


def members_named(place: Place, words: Iterable[str]) -> frozenset[MemberId] | None:
    """The members of these names, several in a word with commas between; None without any."""
    members = [member.id for member in place.service.members]
    asked = [part.strip() for word in words for part in word.split(",") if part.strip()]
    for word in asked:
        if word not in members:
            raise UnknownNameError("member", word, members, where=f"service {place.service.id}")
    return frozenset(map(MemberId, asked)) or None
