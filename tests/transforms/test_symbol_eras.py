"""Names over time: a renamed company is one instrument, a reused ticker two, whatever order it is told in."""

from __future__ import annotations

import random
from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.symbol_eras import Change, Join, SymbolEras, listing_identity, symbol_eras

DAY = date(2022, 6, 9)
FB, META = "listing:US/FB", "listing:US/META"
RENAMED = Change("US", DAY, "FB", "META")


def eras(*changes: Change, joins: tuple[Join, ...] = ()) -> SymbolEras:
    return symbol_eras(frozenset(changes), frozenset(joins))


def test_a_renamed_company_is_one_instrument_and_its_old_ticker_free_for_another():
    found = eras(RENAMED)
    assert found.at(FB, date(2022, 6, 8)) == FB == found.at(META, DAY)
    assert found.at(META, date(2022, 6, 8)) == META  # the fund that was called META before
    assert found.at(FB, DAY) == "listing:US/FB@2022-06-09"
    assert found.at("listing:US/AAPL", DAY) == "listing:US/AAPL" and "listing:US/AAPL" not in found


def test_a_ticker_given_up_and_used_again_is_two_instruments():
    found = eras(Change("XNAS", date(1997, 1, 15), "AAL", None))
    before, after = found.at("listing:US/AAL", date(1996, 5, 1)), found.at("listing:US/AAL", date(2015, 3, 23))
    assert (before, after) == ("listing:US/AAL", "listing:US/AAL@1997-01-15")


def test_changes_of_one_day_happen_at_once():
    swapped = eras(Change("US", DAY, "A", "B"), Change("US", DAY, "B", "A"))
    assert [swapped.at(f"listing:US/{name}", DAY) for name in "AB"] == ["listing:US/B", "listing:US/A"]
    chain = eras(Change("US", DAY, "A", "B"), Change("US", DAY, "B", "C"))
    assert [chain.at(f"listing:US/{name}", DAY) for name in "BC"] == ["listing:US/A", "listing:US/B"]


def test_two_feeds_that_date_a_change_apart_tell_one_change():
    found = eras(RENAMED, Change("US", date(2022, 6, 10), "FB", "META"))
    assert found.at(META, date(2022, 7, 1)) == FB


def test_a_join_reaches_what_a_name_means_in_its_days():
    join = Join("provider:csv/FACEBOOK", date(2012, 5, 18), None, META)
    found = eras(RENAMED, joins=(join, Join(META, DAY, None, FB)))
    assert found.at("provider:csv/FACEBOOK", date(2012, 1, 1)) == "provider:csv/FACEBOOK"
    assert found.at("provider:csv/FACEBOOK", date(2021, 1, 1)) == META
    assert found.at("provider:csv/FACEBOOK", DAY) == FB
    circle = eras(joins=(Join("a:1", date.min, None, "a:2"), Join("a:2", date.min, None, "a:1")))
    assert circle.at("a:1", DAY) in {"a:1", "a:2"}


def test_days_are_numbered_by_era_and_no_day_is_the_last():
    found = eras(RENAMED)
    days = np.array(["2000-01-01", "2022-06-09", "NaT"], "datetime64[D]")
    assert found.numbers(META, days).tolist() == [0, 1, 1]
    assert found.instrument(META, 1).identity == FB and not found.instrument(META, 1).is_provisional


def test_scopes_name_listings_as_facts_do():
    assert listing_identity("XNYS", "brk-b") == listing_identity("US", "BRK.B") == "listing:US/BRK.B"
    assert listing_identity("XLON", "ocdo") == "listing:XLON/OCDO"
    assert listing_identity("provider:csv", "Apple") == "provider:csv/Apple"


CHANGES = st.lists(
    st.builds(
        Change,
        st.just("US"),
        st.dates(date(2000, 1, 1), date(2000, 3, 1)),
        st.sampled_from("ABC"),
        st.sampled_from(["A", "B", "C", None]),
    ),
    max_size=6,
)


@given(CHANGES, st.randoms(use_true_random=False))
def test_any_order_gives_the_same_eras_and_no_instrument_two_names_that_it_gave_up(changes: list[Change], chance: random.Random):
    shuffled = list(changes)
    chance.shuffle(shuffled)
    found = eras(*changes)
    assert found.eras == eras(*shuffled).eras
    for name in found.eras:
        starts = [era.start for era in found.eras[name]]
        assert starts == sorted(set(starts)) and starts[0] == date.min
