"""The example specs with one edit each, and what is said about them."""

from pathlib import Path

from entourage.model.world import Infrastructure
from entourage.spec import SpecError, parse_infrastructure, parse_service

EXAMPLES = Path(__file__).parents[3] / "examples"
SITES = (EXAMPLES / "sites.yaml").read_text()
SHOP = (EXAMPLES / "shop.yaml").read_text()
LICENCES = (EXAMPLES / "licences.yaml").read_text()
CHAIN = "chain: [rt, fw, lb, [web1, web2]]"
INFRASTRUCTURE = parse_infrastructure(SITES, file="sites.yaml")

Said = tuple[str, str, str]  # "line:column", message, hint


def replaced(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def infrastructure_problems(text: str) -> list[Said]:
    try:
        parse_infrastructure(text, file="sites.yaml")
    except SpecError as error:
        return said(error)
    return []


def service_problems(text: str, infrastructure: Infrastructure = INFRASTRUCTURE) -> list[Said]:
    try:
        parse_service(text, file="shop.yaml", infrastructure=infrastructure)
    except SpecError as error:
        return said(error)
    return []


def said(error: SpecError) -> list[Said]:
    return [(f"{p.line}:{p.column}", p.message, p.hint) for p in error.problems]
