"""`licences`: what it prints of pools, of what is violated, and of what sets of appliances cost."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cli_world import EXAMPLES, FakePlace, entourage, error_of, example_world, not_root, seen

from entourage.engine.known import KnownMove
from entourage.licences import compare
from entourage.model.ids import HostId, MemberId
from entourage.model.world import Infrastructure
from entourage.operations.labs import read_texts
from entourage.operations.observe import Observation
from entourage.ports.hypervisor import RunState

world = pytest.fixture(autouse=True)(example_world)
ordinary_user = pytest.fixture(not_root)

TEXTS = read_texts(EXAMPLES / "sites.yaml", EXAMPLES / "shop-licensed.yaml", licences=EXAMPLES / "licences.yaml")
SITES, SHOP = TEXTS.parse()


class Lab:
    """What is in the lab: its services, the moves that it knows, copies beside those that run, and what was bought."""

    def __init__(self) -> None:
        self.infrastructure: Infrastructure = SITES
        self.moves: list[KnownMove] = []
        self.services = [SHOP]
        self.more: dict[tuple[MemberId, HostId], RunState] = {}

    def open(self, name: str) -> FakePlace:
        first, *more = self.services
        return FakePlace(name=name, infrastructure=self.infrastructure, service=first, more=tuple(more))

    async def look(self, _: str, *, service: str) -> Observation:
        assert service == SHOP.id
        found = seen()
        snapshot = replace(found.snapshot, infrastructure=self.infrastructure, service=SHOP)
        return replace(found, snapshot=snapshot, copies={**found.copies, **self.more})


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr("entourage.cli.licences.open_lab", made.open)
    monkeypatch.setattr("entourage.cli.licences.look", made.look)
    monkeypatch.setattr("entourage.operations.licences.all_moves", lambda _: made.moves)
    return made


@pytest.mark.usefixtures("lab")
def test_pools_are_shown_with_what_is_used_and_free_and_what_a_seat_costs() -> None:
    result = entourage("licences")
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["product", "vendor", "site", "seats", "used", "reserved", "free", "a", "seat", "and", "month"] in rows
    assert ["vrouter", "acme", "floating", "1", "1", "0", "0", "40.00", "EUR"] in rows
    assert ["vfw", "acme", "west", "1", "0", "0", "1", "150.00", "EUR"] in rows
    assert "nothing is violated" in result.stdout


@pytest.mark.usefixtures("lab")
def test_both_ways_are_priced_with_what_was_assumed() -> None:
    output = entourage("licences").stdout
    rows = [line.split() for line in output.splitlines()]
    assert ["vfw", "2", "(1", "for", "moves)", "270.00", "EUR", "2", "270.00", "EUR"] in rows
    assert ["all", "509.00", "EUR", "549.00", "EUR"] in rows
    assert (
        "shared appliances cost 40.00 EUR a month more than dedicated ones, with 1 service; "
        "from 2 services like that on, dedicated ones cost at least as much"
    ) in output
    assert output.count("assumed: ") == 3


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("services", "said"),
    [
        (
            3,
            "dedicated appliances cost 479.00 EUR a month more than shared ones, with 3 services; from 2 services like",
        ),
        (0, "no appliance needs a licence, so there is no cost to compare"),
    ],
)
def test_dedicated_appliances_may_be_the_dearer_ones(services: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [replace(SHOP, id=type(SHOP.id)(f"shop{number}")) for number in range(services)]
    monkeypatch.setattr("entourage.operations.licences.compare", lambda bought, _, sites: compare(bought, many, sites))
    assert said in entourage("licences").stdout


def test_what_has_no_price_is_not_compared(lab: Lab) -> None:
    bought = SITES.licences
    assert bought is not None
    without = replace(bought, pools=tuple(pool for pool in bought.pools if pool.site != "west"))
    lab.infrastructure = replace(SITES, licences=without)
    output = entourage("licences").stdout
    assert ["all", "not", "known", "not", "known"] in [line.split() for line in output.splitlines()]
    assert "they cannot be compared: no pool says what vfw costs at west" in output
    cost = json.loads(entourage("licences", "--json").stdout)["cost"]
    assert (cost["dedicated"], cost["products"][0]["unpriced_at"]) == (None, ["west"])


def test_a_violation_is_said_and_is_a_failure(lab: Lab) -> None:
    lab.more = {
        (MemberId("lb"), HostId("west/h1")): RunState.INCOMING,
        (MemberId("lb"), HostId("west/h2")): RunState.FAILED,
    }
    result = entourage("licences")
    assert result.exit_code == 1
    reason = (
        "vlb floating: 3 seats are used, and there are 2; by lb of shop on east/h2, lb of shop on west/h1, "
        "lb of shop on west/h2"
    )
    assert f"too-many-seats: {reason}" in result.stdout
    assert "nothing is violated" not in result.stdout
    as_json = entourage("licences", "--json")
    assert as_json.exit_code == 1
    (found,) = json.loads(as_json.stdout)["violations"]
    assert found == {"code": "too-many-seats", "product": "vlb", "site": None, "reason": reason}


@pytest.mark.usefixtures("lab")
def test_as_json_there_is_all_of_it() -> None:
    answer: dict[str, Any] = json.loads(entourage("licences", "--json").stdout)
    assert (answer["lab"], answer["counted"], answer["currency"]) == ("lab1", True, "EUR")
    assert answer["pools"][3] == {
        "product": "vlb", "vendor": "balance", "site": None,
        "seats": 2, "used": 1, "reserved": 0, "free": 1, "price": 99.5,
    }  # fmt: skip
    assert {"name": "licence.free", "product": "vlb", "site": None, "value": 1} in answer["observations"]
    cost = answer["cost"]
    assert (cost["dedicated"], cost["shared"], cost["equal_from_services"], cost["services"]) == (509.0, 549.0, 2, 1)
    assert len(cost["assumed"]) == 3


def test_of_many_services_all_are_counted(lab: Lab) -> None:
    lab.services += [replace(SHOP, id=type(SHOP.id)(name)) for name in ("blue", "red")]
    answer = json.loads(entourage("licences", "--json").stdout)
    assert (answer["counted"], answer["cost"]["services"]) == (True, 3)


def test_a_lab_without_the_file_counts_nothing(lab: Lab) -> None:
    lab.infrastructure = replace(SITES, licences=None)
    result = entourage("licences")
    assert result.exit_code == 0
    assert "nothing is counted: this lab has no file of licences" in result.stdout
    assert json.loads(entourage("licences", "--json").stdout) == {"lab": "lab1", "counted": False}


@pytest.mark.usefixtures("ordinary_user", "lab")
def test_licences_need_root() -> None:
    result = entourage("licences", "--json")
    assert result.exit_code == 77
    assert error_of(result)["kind"] == "needs-root"
