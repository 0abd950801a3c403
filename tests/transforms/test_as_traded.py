from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.making import ACTIONS, BARS, at, bar, dividend, of, split
from transforms.actions import split_histories, versions_of
from transforms.as_traded import as_traded, dividend_as_paid, exchange_zones, usable

NEW_YORK = "America/New_York"


def closes(*bars: dict[str, object], actions: tuple[dict[str, object], ...] = ()) -> list[int | None]:
    rows = of(BARS, *bars)
    return as_traded(rows, split_histories(of(ACTIONS, *actions)), exchange_zones(rows)).values["close"]


def test_a_split_between_session_and_delivery_is_undone_in_price_and_volume():
    rows = of(BARS, bar("2020-08-28", "124.8075", volume=187529916), bar("2020-08-31", "129.04", volume=225702700))
    found = as_traded(rows, split_histories(of(ACTIONS, split("2020-08-31", 4))), exchange_zones(rows))
    assert found.values["close"] == [499_230000000, 129_040000000]
    assert found.values["volume"] == [46882479_00000000, 225702700_00000000]
    assert [found.ratios[number] for number in found.undone] == [4, 1]


def test_only_splits_of_the_delivered_history_are_undone():
    later = split("2024-06-10", 10)
    asked = bar("2021-03-01", "13.237", delivered_at=at("2024-06-10", 3))  # 2024-06-09 in New York
    assert closes(asked, actions=(later,)) == [13_237000000]
    assert closes(asked | {"delivered_at": at("2024-06-10", 5)}, actions=(later,)) == [132_370000000]


def test_a_split_that_another_provider_names_is_undone_once():
    told = (
        split("2020-08-31", 4),
        split("2020-08-31", 4, provider="ice", feed="reorg", action_key="7", known_at=at("2020-07-30")),
    )
    assert closes(bar("2020-08-28", "124.8075"), actions=told) == [499_230000000]


def test_a_rescinded_split_is_not_undone():
    gone = split("2020-08-31", 4, status="rescinded", known_at=at("2020-09-02"))
    assert closes(bar("2020-08-28", "124.8075"), actions=(split("2020-08-31", 4), gone)) == [124_807500000]


def test_as_traded_bars_stay_and_others_need_a_delivery():
    rows = of(
        BARS,
        bar("2020-08-28", "499.23", basis="as_traded", delivered_at=None),
        bar("2020-08-28", "124.8075", delivered_at=None),
        bar("2020-08-28", "120", basis="fully_adjusted"),
    )
    assert usable(rows).to_pylist() == [True, False, False]
    assert closes(bar("2020-08-28", "499.23", basis="as_traded"), actions=(split("2020-08-31", 4),)) == [499_230000000]


def test_a_value_that_does_not_fit_says_so():
    rows = of(BARS, bar("2020-08-28", "999999999"))
    found = as_traded(rows, split_histories(of(ACTIONS, split("2020-08-31", 4))), exchange_zones(rows))
    assert found.is_overflow == [True]


@pytest.mark.parametrize(
    ("image", "new", "old", "cents"), [("333.33334", 3, 1, 100000), ("14.98125", 40, 1, 59925), ("3.9", 1, 3, 130)]
)
def test_images_of_floats_give_the_cents_that_were_traded(image: str, new: int, old: int, cents: int):
    assert closes(bar("2020-08-28", image), actions=(split("2020-08-31", new, old),)) == [cents * 10**7]


def test_digits_that_no_float_image_has_are_taken_as_they_are():
    assert closes(bar("2020-08-28", "33.333333333"), actions=(split("2020-08-31", 3),)) == [99_999999999]
    assert closes(bar("2020-08-28", "333.33334", provider="csv", feed="bars"), actions=(split("2020-08-31", 3),)) == [
        1000_000020000
    ]


@given(st.integers(2_000, 400_000), st.sampled_from([(2, 1), (3, 1), (4, 1), (20, 1), (3, 2), (1, 3), (7, 5)]))
def test_cents_come_back_through_yahoos_32_bit_floats(cents: int, ratio: tuple[int, int]):
    new, old = ratio
    image = str(np.float32(cents / 100 * old / new))
    assert closes(bar("2020-08-28", image), actions=(split("2020-08-31", new, old),)) == [cents * 10**7]


def test_a_dividend_is_told_per_share_as_paid():
    history = split_histories(of(ACTIONS, split("2020-08-31", 4), split("2022-06-06", 2)))[1]

    def paid(**values: object) -> int | None:
        (version,) = versions_of(of(ACTIONS, dividend("2020-08-07", "0.205", **values)))
        return dividend_as_paid(version, history, NEW_YORK)

    assert paid() == 205_000000
    assert paid(share_basis="split_adjusted", delivered_at=at("2021-01-01")) == 820_000000
    assert paid(share_basis="split_adjusted", delivered_at=at("2023-01-01")) == 1640_000000
    assert paid(share_basis="split_adjusted", delivered_at=None) is None
    assert paid(share_basis=None) is None


def test_history_between_dates_leaves_out_the_first_and_takes_the_last():
    history = split_histories(of(ACTIONS, split("2020-08-31", 4), split("2022-06-06", 3, 2)))[1]
    assert history.between(date(2020, 8, 31), date(2022, 6, 6)) == Fraction(3, 2)
    assert history.between(date(2020, 8, 30), date(2022, 6, 5)) == 4
