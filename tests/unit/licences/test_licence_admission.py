"""A move has its seats before anything is made, keeps them whatever happens, and has none when it has ended."""

from dataclasses import dataclass, field
from decimal import Decimal

import licences_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licences_world import NOW, copy, licences, member, move, product, taken

from entourage.licences import Reservation, Shortage, account, admit
from entourage.model.ids import HostId, MoveId, SiteId, site_of
from entourage.model.licences import Holdings, Licences, Licensed, LicensedCopy, LicensedMove, LicensedWay, Pool

FW_AT_EAST = Holdings(copies=(copy("east/h1"),))
TO_WEST = move("east/h1", "west/h1")


def admitted(bought: Licences, holdings: Holdings = FW_AT_EAST, *, together_s: float | None = None) -> object:
    """The seats that were reserved by pool, or why not."""
    found = admit(bought, holdings, TO_WEST, at=NOW, together_s=together_s)
    if isinstance(found, Reservation):
        return {pool.words: more for pool, more in found.seats}
    return list(found.reasons)


def test_a_move_reserves_what_it_needs_beside_what_it_has() -> None:
    assert admitted(licences(east=1, west=1)) == {"vfw at west": 1}
    assert admitted(licences(floating=2)) == {"vfw floating": 1}
    assert admitted(licences(product(second=False), floating=1)) == {}
    assert admitted(licences(product(second=False), east=1, west=1)) == {"vfw at west": 1}


def test_too_few_seats_are_a_refusal_with_the_numbers() -> None:
    there = Holdings(copies=(copy("east/h1"), copy("west/h2", member("fw2"))))
    assert admitted(licences(east=1, west=1), there) == [
        "vfw at west: 1 more for fw while both copies exist, and 0 of 1 free (1 used, 0 reserved)"
    ]
    other = Holdings(copies=FW_AT_EAST.copies, moves=(move("east/h2", "west/h2", member("fw2"), name="shop-2"),))
    assert admitted(licences(east=2, west=1), other) == [
        "vfw at west: 1 more for fw while both copies exist, and 0 of 1 free (0 used, 1 reserved)"
    ]


def test_a_site_for_which_nothing_was_bought_is_a_refusal() -> None:
    assert admitted(licences(east=2)) == [
        "fw of shop on west/h1 needs a seat of vfw, and there is no pool of it at west, nor one that floats"
    ]


def test_a_move_that_takes_longer_than_the_grace_time_is_a_refusal() -> None:
    bought = licences(product(grace_s=30), floating=2)
    assert admitted(bought, together_s=30) == {"vfw floating": 1}
    assert admitted(bought, together_s=45) == ["fw will have two copies for about 45 s, and vfw allows 30 s"]


def test_seats_that_others_lack_already_are_not_held_against_a_move_that_takes_none() -> None:
    crowded = Holdings(copies=(copy("east/h1"), copy("west/h2", member("fw2"))))
    assert admitted(licences(product(second=False), floating=1), crowded) == {}


@pytest.mark.parametrize("outcome", ["east/h1", "west/h1"])
def test_nothing_is_reserved_once_a_move_has_ended_either_way(outcome: str) -> None:
    ended = move("east/h1", "west/h1", is_open=False)
    assert all(not reserved for _, reserved in taken(licences(east=1, west=1), Holdings(
        copies=(copy(outcome),), moves=(ended,)
    )).values())  # fmt: skip


# What follows tries whole lives of moves: several members and moves, copies that come and go in any order.

SITES = ("east", "west", "south")
PRODUCTS = ("one", "two")


@dataclass
class Life:
    """Members, each with its copies, and moves that are under way. `runs`: of each copy, whether it does."""

    bought: Licences
    copies: dict[tuple[Licensed, HostId], bool]
    moves: list[LicensedMove] = field(default_factory=list)
    begun: int = 0

    @property
    def holdings(self) -> Holdings:
        return Holdings(
            copies=tuple(LicensedCopy(licensed=m, host=h, runs=r) for (m, h), r in self.copies.items()),
            moves=tuple(self.moves),
        )

    def taken(self) -> dict[str, int]:
        return {use.pool.words: use.taken for use in account(self.bought, self.holdings, at=NOW).pools}

    def reserved(self) -> int:
        return sum(use.reserved for use in account(self.bought, self.holdings, at=NOW).pools)

    def begin(self, data: st.DataObject) -> LicensedMove | None:
        """A move of some members that are not moving, to a site where they are not; None if it was refused."""
        busy = {way.licensed for each in self.moves for way in each.ways}
        idle = sorted((m for m, _ in self.copies if m not in busy), key=lambda m: m.identity)
        site = data.draw(st.sampled_from(SITES))
        chosen = data.draw(st.lists(st.sampled_from(idle), unique=True)) if idle else []
        ways = tuple(
            LicensedWay(licensed=m, source=host, target=HostId(f"{site}/t"))
            for m, host in self.copies
            if m in chosen and site_of(host) != site
        )
        wanted = LicensedMove(move=MoveId(f"m{self.begun}"), began=NOW, is_open=True, ways=ways)
        if isinstance(admit(self.bought, self.holdings, wanted, at=NOW), Shortage):
            return None
        self.moves.append(wanted)
        self.begun += 1
        return wanted

    def phase(self, moving: LicensedMove, name: str, way: LicensedWay) -> None:
        """One member's part of a phase."""
        source, target = (way.licensed, way.source), (way.licensed, way.target)
        match name:
            case "prepare":
                self.copies[target] = False
            case "stop":
                self.copies[source] = False
            case "run":
                self.copies[target] = True
            case "clean":
                self.copies.pop(source)
            case "undo":
                self.copies.pop(target, None)
                self.copies[source] = True

    def end(self, moving: LicensedMove) -> None:
        self.moves.remove(moving)


COMMITTED = ("prepare", "stop", "run", "clean")
UNDONE = (("undo",), ("prepare", "undo"), ("prepare", "stop", "undo"))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    products = tuple(product(name=name, second=draw(st.booleans())) for name in PRODUCTS)
    places = st.sampled_from([None, *(SiteId(site) for site in SITES)])
    bought = {(p.id, draw(places)): draw(st.integers(1, 4)) for p in products for _ in range(draw(st.integers(1, 4)))}
    pools = tuple(Pool(product=p, site=at, seats=n, price=Decimal(1)) for (p, at), n in bought.items())
    copies = {}
    for index in range(draw(st.integers(1, 6))):
        of = draw(st.sampled_from(PRODUCTS))
        copies[member(f"m{index}", product=of), HostId(f"{draw(st.sampled_from(SITES))}/s{index}")] = True
    return Life(bought=Licences(currency="EUR", products=products, pools=pools), copies=copies)


def seats_needed(life: Life, *, prefers_last: bool) -> dict[str, int]:
    """What vendors count, worked out another way: how far the copies that exist are over what was bought, by product.

    `prefers_last`: which copy of one that needs one licence has it while none of them runs.
    """
    over: dict[str, int] = {}
    for each in life.bought.products:
        at: dict[str, int] = dict.fromkeys(SITES, 0)
        hosts: dict[Licensed, list[HostId]] = {}
        for licensed, host in life.copies:
            if licensed.product == each.id:
                hosts.setdefault(licensed, []).append(host)
        for licensed, found in hosts.items():
            running = [host for host in found if life.copies[licensed, host]]
            one = running or [found[-1 if prefers_last else 0]]
            for host in found if each.needs_second else one:
                at[site_of(host)] += 1
        own = {pool.site: pool.seats for pool in life.bought.pools if pool.product == each.id}
        beyond = sum(max(0, copies - own.get(SiteId(site), 0)) for site, copies in at.items())
        over[each.id] = max(0, beyond - own.get(None, 0))
    return over


@given(life=lives(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_moves_that_are_admitted_never_need_more_seats_than_there_are(life: Life, data: st.DataObject) -> None:
    seats = {pool.words: pool.seats for pool in life.bought.pools}
    limits = {words: max(seats[words], used) for words, used in life.taken().items()}
    over = seats_needed(life, prefers_last=False)

    def check() -> None:
        for words, found in life.taken().items():
            assert found <= limits[words], words
        for prefers_last in (False, True):
            for of, found in seats_needed(life, prefers_last=prefers_last).items():
                assert found <= over[of], of

    under_way: list[tuple[LicensedMove, list[tuple[str, LicensedWay]]]] = []
    for _ in range(data.draw(st.integers(1, 4), label="begun")):
        begun = life.begin(data)
        if begun is not None:
            phases = data.draw(st.sampled_from([COMMITTED, *UNDONE]), label="ends as")
            deeds = [(name, way) for name in phases for way in data.draw(st.permutations(begun.ways))]
            under_way.append((begun, deeds))
        check()
        for _ in range(data.draw(st.integers(0, 6), label="deeds in between")):
            advance(life, under_way, data)
            check()
    while under_way:
        advance(life, under_way, data)
        check()
    assert life.reserved() == 0


def advance(
    life: Life, under_way: list[tuple[LicensedMove, list[tuple[str, LicensedWay]]]], data: st.DataObject
) -> None:
    """One deed of one of the moves, or its end."""
    if not under_way:
        return
    index = data.draw(st.integers(0, len(under_way) - 1))
    moving, deeds = under_way[index]
    if deeds:
        name, way = deeds.pop(0)
        life.phase(moving, name, way)
    else:
        life.end(moving)
        under_way.pop(index)


@given(life=lives(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_while_a_move_is_open_what_is_taken_stays_the_same(life: Life, data: st.DataObject) -> None:
    begun = life.begin(data)
    if begun is None:
        return
    before = life.taken()
    for name in COMMITTED:
        for way in data.draw(st.permutations(begun.ways)):
            life.phase(begun, name, way)
            assert life.taken() == before


def test_the_order_of_the_copies_does_not_matter() -> None:
    bought = licences(product(second=False), east=1, floating=1)
    two = (copy("east/h1"), copy("east/h2", member("fw2")))
    moving = (move("east/h1", "west/h1"),)
    expected = {"vfw at east": (1, 0), "vfw floating": (1, 0)}
    assert taken(bought, Holdings(copies=two, moves=moving)) == expected
    assert taken(bought, Holdings(copies=two[::-1], moves=moving)) == expected
    assert world.pools(account(bought, Holdings(copies=two), at=NOW))["vfw at east"].free == 0


def test_members_that_change_places_take_the_same_seats_all_the_time() -> None:
    """Which of two gets a site's own seat must not turn on which of them is there already."""
    one, two = member("one"), member("two")
    bought = licences(product(second=False), east=1, west=1, floating=1)
    moving = (move("east/h1", "west/h1", one), move("west/h2", "east/h2", two, name="shop-2"))
    moments = [("east/h1", "west/h2"), ("west/h1", "west/h2"), ("east/h1", "east/h2"), ("west/h1", "east/h2")]
    for at_one, at_two in moments:
        seen = taken(bought, Holdings(copies=(copy(at_one, one), copy(at_two, two)), moves=moving))
        assert {words: sum(seats) for words, seats in seen.items()} == dict.fromkeys(seen, 1)
