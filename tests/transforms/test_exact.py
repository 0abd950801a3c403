from decimal import Decimal
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from transforms.exact import fits, from_unscaled, half_even, times, unscaled

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
