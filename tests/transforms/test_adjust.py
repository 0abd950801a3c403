from datetime import date
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from lake.tables import table_named
from tests.transforms.making import ACTIONS, AGREED, FACTORS, STAMPS, agreed, at, dividend, of, split
from transforms.adjust import Adjustment, actions_in, back_adjust, bars_1d, newest_versions
from transforms.factors import factors

NO_FACTORS = FACTORS.arrow_schema().empty_table()
PRICES = ("open", "high", "low", "close")
DAYS = [f"2021-03-{day:02}" for day in (1, 2, 3, 4, 5)]
MARCH = of(AGREED, *(agreed(day, 100 + number, volume=number * 7) for number, day in enumerate(DAYS)))


def made(*actions: dict[str, object], bars: pa.Table = MARCH) -> pa.Table:
    return factors(bars, of(ACTIONS, *actions), **STAMPS).rows


def test_no_factors_change_nothing():
    for adjustment in Adjustment:
        found = back_adjust(MARCH, NO_FACTORS, adjustment)
        for name in (*PRICES, "volume"):
            assert found[f"adj_{name}"].to_pylist() == MARCH[name].to_pylist()
        assert set(found["all_factor"].to_pylist()) == {1}
        assert found.select(MARCH.column_names).equals(MARCH)


def test_a_factor_applies_before_its_ex_date_and_never_on_it():
    found = back_adjust(MARCH, made(split("2021-03-03", 4)))
    assert found["adj_close"].to_pylist() == [25, Decimal("25.25"), 102, 103, 104]
    assert found["adj_volume"].to_pylist() == [0, 28, 14, 21, 28]


def test_a_split_announced_changes_nothing_until_its_session():
    announced = made(split("2021-03-05", 4, known_at=at("2021-02-01")))
    assert back_adjust(MARCH.slice(0, 4), announced)["adj_close"].to_pylist() == MARCH["close"].to_pylist()[:4]
    assert back_adjust(MARCH, announced)["adj_close"][0].as_py() == 25
    seen = back_adjust(MARCH.slice(0, 4), announced, last_sessions={1: date(2021, 3, 5)})
    assert seen["adj_close"][0].as_py() == 25


def test_views_are_products_of_kinds():
    both = made(split("2021-03-03", 4), dividend("2021-03-05", "1.03"))
    none, splits, every = (back_adjust(MARCH, both, adjustment) for adjustment in Adjustment)
    assert none["adj_close"].to_pylist() == MARCH["close"].to_pylist()
    assert none["adj_volume"].to_pylist() == MARCH["volume"].to_pylist()
    assert splits["adj_close"].to_pylist() == [25, Decimal("25.25"), 102, 103, 104]
    assert every["adj_close"].to_pylist()[:2] == [Decimal("24.75"), Decimal("24.9975")]
    assert every["adj_volume"].to_pylist() == splits["adj_volume"].to_pylist()
    assert every["all_factor"].to_pylist()[2:] == [Decimal("0.99"), Decimal("0.99"), 1]


def test_two_splits_equal_their_product():
    two = back_adjust(
        MARCH.slice(0, 2), made(split("2021-03-03", 2), split("2021-03-04", 3)), last_sessions={1: date(2021, 3, 5)}
    )
    one = back_adjust(MARCH.slice(0, 2), made(split("2021-03-03", 6)), last_sessions={1: date(2021, 3, 5)})
    assert two.equals(one)


def test_of_several_versions_the_newest_known_counts_and_a_rescinded_one_is_one():
    kept = split("2021-03-03", 4, known_at=at("2021-02-01"))
    gone = kept | {"status": "rescinded", "known_at": at("2021-02-02"), "message_seq": 2}
    found = made(kept, gone)
    assert back_adjust(MARCH, found)["adj_close"].to_pylist() == MARCH["close"].to_pylist()
    before = found.filter(pc.less(found["known_at"], pa.scalar(at("2021-02-02"))))
    assert back_adjust(MARCH, before)["adj_close"][0].as_py() == 25


def test_a_row_without_ratio_or_amount_counts_by_its_rounded_factor():
    row = made(split("2021-03-03", 4)).to_pylist()[0] | {"kind": "spin_off", "ratio_old": None, "ratio_new": None}
    (action,) = actions_in(pa.Table.from_pylist([row], schema=FACTORS.arrow_schema()))[1]
    assert (action.price, action.volume) == (Fraction(1, 4), 4)
    with pytest.raises(InvalidValueError, match="price_factor"):
        actions_in(
            pa.table(
                {
                    name: pa.array([None if name == "price_factor" else value], FACTORS.column(name).arrow_type)
                    for name, value in row.items()
                }
            )
        )


def test_instruments_do_not_touch_each_other():
    other = of(AGREED, *(agreed(day, 50, instrument_id=2) for day in DAYS))
    both = pa.concat_tables([other, MARCH])
    found = back_adjust(both, made(split("2021-03-03", 4)))
    assert found["adj_close"].to_pylist()[:5] == [50] * 5
    assert found["adj_close"].to_pylist()[5] == 25


def test_the_newest_answer_is_one_row_a_session():
    late = of(AGREED, agreed("2021-03-01", 200, known_at=at("2021-04-01")), agreed("2021-03-01", 1, interval="60m"))
    rows = bars_1d(pa.concat_tables([late, MARCH]), made(split("2021-03-03", 4)), run_id="r")
    assert rows.schema.equals(table_named("adjusted.bars_1d").arrow_schema())
    assert rows["session_date"].to_pylist() == [date.fromisoformat(day) for day in DAYS]
    assert rows["adj_close"].to_pylist()[:2] == [50, Decimal("25.25")]
    assert bars_1d(MARCH, NO_FACTORS, run_id="r", blocked={1}).num_rows == 0


def test_newest_versions_keep_one_row_a_bar():
    late = of(AGREED, agreed("2021-03-01", 200, known_at=at("2021-04-01")))
    assert newest_versions(pa.concat_tables([late, MARCH]))["close"].to_pylist() == [200, 101, 102, 103, 104]
    assert newest_versions(MARCH.slice(0, 0)).num_rows == 0


def test_an_adjusted_value_that_does_not_fit_is_refused():
    dear = of(AGREED, agreed("2021-03-01", 1, volume="99999999999999999999"), agreed("2021-03-03", 1))
    with pytest.raises(InvalidValueError, match="do not fit"):
        back_adjust(dear, made(split("2021-03-03", 4), bars=dear))


prices = st.lists(st.decimals("0.01", "99999", places=4), min_size=5, max_size=5)
ratios = st.sampled_from([(2, 1), (3, 1), (3, 2), (1, 10), (7, 5)])
histories = st.lists(
    st.tuples(st.integers(2, 7), ratios | st.decimals("0.001", "0.009", places=4)), max_size=5, unique_by=lambda item: item[0]
)


def written(history: list[tuple[int, object]]) -> list[dict[str, object]]:
    return [
        split(f"2021-03-{day:02}", *what) if isinstance(what, tuple) else dividend(f"2021-03-{day:02}", what)
        for day, what in history
    ]


@given(prices, histories, st.integers(1, 7))
def test_the_laws_of_adjustment(closes, history, moment):
    bars = of(AGREED, *(agreed(day, close, volume=1000) for day, close in zip(DAYS, closes, strict=True)))
    known = made(*written(history), bars=bars)
    splits, every = back_adjust(bars, known, Adjustment.SPLITS), back_adjust(bars, known, Adjustment.ALL)
    assert every["all_factor"][-1].as_py() == every["split_factor"][-1].as_py() == 1
    assert every["adj_close"][-1].as_py() == bars["close"][-1].as_py()
    exact = actions_in(known).get(1, [])
    for row, whole in zip(splits.to_pylist(), every.to_pylist(), strict=True):
        applied = [action for action in exact if row["session_date"] < action.ex_date <= date(2021, 3, 5)]
        by_kind = {kind: Fraction(1) for kind in ("split", "cash_dividend")}
        for action in applied:
            by_kind[action.kind] *= action.price
        product = by_kind["split"] * by_kind["cash_dividend"]
        assert whole["all_factor"] == rounded(product, 18)
        assert whole["adj_close"] == rounded(Fraction(whole["close"]) * product, 10)
        assert row["adj_close"] == rounded(Fraction(row["close"]) * by_kind["split"], 10)
        assert abs(Fraction(row["adj_volume"]) * by_kind["split"] - 1000) <= by_kind["split"] / 2  # dollars traded are conserved
    limit = pa.scalar(at(f"2021-03-{moment:02}", 22))
    early = known.filter(pc.less_equal(known["known_at"], limit))
    seen = bars.filter(pc.less_equal(bars["known_at"], limit))
    again = made(*(action for action in written(history) if action["known_at"] <= limit.as_py()), bars=seen)  # type: ignore[operator]
    again = again.filter(pc.less_equal(again["known_at"], limit))
    assert back_adjust(seen, early).equals(back_adjust(seen, again))


def rounded(value: Fraction, places: int) -> Decimal:
    return Decimal(round(value * 10**places)).scaleb(-places)
