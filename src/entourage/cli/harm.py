"""`entourage lab cut`, `heal`, `kill` and `revive`: what is done to a lab on purpose."""

from entourage.chaos.sites import cut_link, heal_link, kill_site, revive_site
from entourage.cli.commands import LabCut, LabHeal, LabKill, LabRevive
from entourage.cli.exits import need_root
from entourage.cli.output import show, show_json
from entourage.cli.running import run
from entourage.lab.place import open_lab
from entourage.model.ids import SiteId


def cut(wanted: LabCut) -> None:
    """Cut a link."""
    need_root("lab cut")
    lab = open_lab(wanted.lab)
    run(lambda _: cut_link(lab, wanted.link))
    _say({"cut": wanted.link}, f"{wanted.link} loses every packet", as_json=wanted.as_json)


def heal(wanted: LabHeal) -> None:
    """Heal a link."""
    need_root("lab heal")
    lab = open_lab(wanted.lab)
    run(lambda _: heal_link(lab, wanted.link))
    _say({"healed": wanted.link}, f"{wanted.link} carries packets again", as_json=wanted.as_json)


def kill(wanted: LabKill) -> None:
    """Kill a site."""
    need_root("lab kill")
    lab = open_lab(wanted.lab)
    count = run(lambda _: kill_site(lab, SiteId(wanted.site)))
    said = f"{wanted.site} is dead: {count} processes killed, its links cut"
    _say({"killed": wanted.site, "processes": count}, said, as_json=wanted.as_json)


def revive(wanted: LabRevive) -> None:
    """Give a killed site its power back."""
    need_root("lab revive")
    lab = open_lab(wanted.lab)
    run(lambda _: revive_site(lab, SiteId(wanted.site)))
    said = f"{wanted.site} has its links, edge, guards and agent again; its members are not started"
    _say({"revived": wanted.site}, said, as_json=wanted.as_json)


def _say(document: dict[str, object], words: str, *, as_json: bool) -> None:
    if as_json:
        show_json(document)
    else:
        show(words)
