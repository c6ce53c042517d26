"""`entourage licences`: it looks and changes nothing."""

from decimal import Decimal

from rich.console import RenderableType
from rich.text import Text

from entourage.cli.commands import Licences
from entourage.cli.exits import Exit, need_root
from entourage.cli.output import show, show_json, table
from entourage.cli.running import run
from entourage.lab.place import open_lab
from entourage.licences import Costs
from entourage.licences.cost import ASSUMED
from entourage.operations.labs import look
from entourage.operations.licences import LicencesView, view
from entourage.report.values import plural

_NONE_COUNTED = "nothing is counted: this lab has no file of licences; with one: entourage lab up --licences FILE"


def licences(wanted: Licences) -> Exit:
    """Show pools, violations and costs; FAILED if something is violated."""
    need_root("licences")
    lab = open_lab(wanted.lab)
    # Any of its services will do: a look at one finds the copies of the others' members, too.
    place = lab.place(next((kept.id for kept in lab.services), None))
    found = view(place, run(lambda _: look(wanted.lab, service=place.service.id)))
    if wanted.as_json:
        show_json({"lab": wanted.lab, "counted": found is not None, **(found.to_json() if found else {})})
    else:
        show(*(_lines(found) if found else [_NONE_COUNTED]))
    return Exit.FAILED if found and found.account.violations else Exit.DONE


def _lines(found: LicencesView) -> list[RenderableType]:
    currency = found.account.licences.currency
    rows = [
        (
            use.pool.product,
            found.account.licences.product(use.pool.product).vendor,
            use.pool.site or "floating",
            use.pool.seats,
            use.used,
            use.reserved,
            use.free,
            f"{use.pool.price:,.2f} {currency}",
        )
        for use in found.account.pools
    ]
    head = ("product", "vendor", "site", "seats", "used", "reserved", "free", "a seat and month")
    violations: list[RenderableType] = [
        Text(f"{each.code.value}: {each.reason}", style="bold red") for each in found.account.violations
    ]
    return [
        table(head, rows),
        *(violations or [Text("nothing is violated", style="green")]),
        *_cost_lines(found.costs, currency),
    ]


def _cost_lines(costs: Costs, currency: str) -> list[RenderableType]:
    if not costs.products:
        return ["no appliance needs a licence, so there is no cost to compare"]
    rows: list[tuple[object, ...]] = [
        (
            each.product,
            f"{each.dedicated_seats} ({each.spare_seats} for moves)",
            _price(each.dedicated, currency),
            each.shared_seats,
            _price(each.shared, currency),
        )
        for each in costs.products
    ]
    rows.append(("all", "", _price(costs.dedicated, currency), "", _price(costs.shared, currency)))
    head = ("a month", "dedicated seats", "dedicated", "shared seats", "shared")
    return [
        table(head, rows),
        Text(_compared(costs, currency), style="bold"),
        *(f"  assumed: {each}" for each in ASSUMED),
    ]


def _price(price: Decimal | None, currency: str) -> str:
    return "not known" if price is None else f"{price:,.2f} {currency}"


def _compared(costs: Costs, currency: str) -> str:
    """Which of the two costs more, and with how many services that turns."""
    if costs.dedicated is None or costs.shared is None:
        unknown = [f"{each.product} costs at {' and '.join(each.unpriced)}" for each in costs.products if each.unpriced]
        return f"they cannot be compared: no pool says what {', '.join(unknown)}"
    more = costs.dedicated - costs.shared
    if more == 0:
        said = "dedicated and shared appliances cost the same"
    else:
        dearer, cheaper = ("dedicated", "shared") if more > 0 else ("shared", "dedicated")
        said = f"{dearer} appliances cost {abs(more):,.2f} {currency} a month more than {cheaper} ones"
    said += f", with {plural(costs.services, 'service')}"
    if costs.equal_from is None:
        return said
    return f"{said}; from {plural(costs.equal_from, 'service')} like that on, dedicated ones cost at least as much"
