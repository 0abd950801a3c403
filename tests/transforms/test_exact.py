from decimal import Decimal
from fractions import Fraction
from math import prod

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from transforms.exact import fits, from_unscaled, half_even, prepared, scaled, times, unscaled

PRICE, FACTOR = pa.decimal128(18, 9), pa.decimal128(38, 18)


def values(precision: int) -> st.SearchStrategy[list[int | None]]:
    return st.lists(st.none() | st.integers(1 - 10**precision, 10**precision - 1))


@given(values(38), st.integers(0, 3))
def test_wide_columns_go_through_integers_unchanged(units: list[int | None], offset: int):
    column = from_unscaled(units, FACTOR)
    column.validate(full=True)
    assert unscaled(column) == units
    assert unscaled(column.slice(offset)) == units[offset:]
    assert unscaled(pa.chunked_array([column, column])) == units + units


@given(values(18))
def test_narrow_columns_hold_the_decimals_they_say(units: list[int | None]):
    column = from_unscaled(units, PRICE)
    column.validate(full=True)
    assert column.to_pylist() == [None if unit is None else Decimal(unit).scaleb(-9) for unit in units]


def test_no_chunks_are_no_values():
    assert unscaled(pa.chunked_array([], PRICE)) == []


@pytest.mark.parametrize("kind", [PRICE, FACTOR])
def test_what_does_not_fit_is_refused(kind: pa.Decimal128Type):
    assert not fits(10**kind.precision, kind)
    with pytest.raises(InvalidValueError, match="do not fit"):
        from_unscaled([10**kind.precision], kind)


@given(st.integers(), st.integers(1, 10**6))
def test_ties_go_to_the_even_neighbour(numerator: int, denominator: int):
    rounded = half_even(numerator, denominator)
    assert rounded == round(Fraction(numerator, denominator))


@given(st.lists(st.none() | st.integers(-(10**18), 10**18)), st.fractions(min_value=0, max_value=100), st.integers(-3, 3))
def test_a_product_is_rounded_once(units: list[int | None], ratio: Fraction, shift: int):
    expected = [None if unit is None else round(unit * ratio * Fraction(10) ** shift) for unit in units]
    assert times(units, ratio, shift) == expected


# --- products of whole columns

RATIOS = st.builds(
    lambda top, bottom, losses: (top * prod(one for one, _ in losses), bottom * prod(other for _, other in losses)),
    st.sampled_from((0, 1, 3, 7, 10, 2**40 + 1, 10**12 + 39, 2**63)),
    st.sampled_from((1, 2, 6, 8, 12, 10**8, 7**20, 10**12 + 7)),
    st.lists(st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)), max_size=12),
)
UNITS = st.one_of(
    st.none(),
    st.integers(-20, 20),
    st.integers(0, 10**13),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**28) + 1, 10**28 - 1),
)


@given(
    st.lists(st.tuples(UNITS, st.integers(0, 3)), max_size=40),
    st.lists(RATIOS, min_size=4, max_size=4),
    st.sampled_from((1, 10**8)),
)
def test_products_of_a_column_are_the_products_of_its_values(given_units, ratios, step):
    column = from_unscaled([unit for unit, _ in given_units], pa.decimal128(28, 8))
    index = np.array([number for _, number in given_units], np.int64)
    wanted = [None if unit is None else half_even(unit * ratios[n][0], ratios[n][1]) * step for unit, n in given_units]
    if all(value is None or fits(value, FACTOR) for value in wanted):
        found = scaled(column, index, prepared(ratios), FACTOR, step)
        found.validate(full=True)
        assert unscaled(found) == wanted
    else:
        with pytest.raises(InvalidValueError, match="do not fit"):
            scaled(column, index, prepared(ratios), FACTOR, step)


def test_ties_go_to_the_even_one_whatever_the_sign():
    column = from_unscaled([1, 3, 5, -1, -3, -5, None], PRICE)
    for ratio in ((1, 2), (3**50, 2 * 3**50)):
        found = scaled(column, np.zeros(7, np.int64), prepared([ratio]), PRICE)
        assert unscaled(found) == [0, 2, 2, 0, -2, -2, None]


def test_a_product_that_does_not_fit_its_column_is_refused():
    with pytest.raises(InvalidValueError, match="do not fit"):
        scaled(from_unscaled([10**17], PRICE), np.zeros(1, np.int64), prepared([(10, 1)]), PRICE)
    with pytest.raises(InvalidValueError, match="negative"):
        prepared([(-1, 2)])
