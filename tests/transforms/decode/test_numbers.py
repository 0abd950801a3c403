"""Digits become exact numbers or are refused; float images become what they are images of."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.numbers import NumberRefusedError, decimals, exact_decimal, lowest_terms, restored, scaled_digits


@pytest.mark.parametrize(
    ("image", "decimal"),
    [
        (129.0399932861328, "129.04"),
        (446.5456848144531, "446.5457"),
        (11887.099609375, "11887.1"),
        (34754.8984375, "34754.9"),
        (115.93415069580078, "115.93415"),
        (1.1220825910568237, "1.1220826"),
        (4766.18017578125, "4766.18"),
        (0.205, "0.205"),  # no float32: the shortest float64
        (0.20499999821186066, "0.205"),
        (1518, "1518"),
        (125.82673645019531, "125.82674"),
        (123456.789012345, "123456.789012345"),
        (0.00000000061, "0.000000001"),  # beyond the scale an image is rounded, half to even
        (0.0000000005, "0"),
        (-37.630001068115234, "-37.63"),
    ],
)
def test_an_image_is_restored_to_what_was_printed(image, decimal):
    assert restored(image, 9) == Decimal(decimal)


@given(st.decimals(min_value=Decimal("0.01"), max_value=Decimal("99999.99"), places=2))
def test_a_price_of_cents_survives_a_float32(price):
    assert restored(float(np.float32(price)), 9) == price


@given(st.floats(min_value=2**-6, max_value=1e8, width=32))
def test_a_restored_image_is_the_same_float32(image):
    assert np.float32(float(restored(image, 9))) == np.float32(image)


@given(st.decimals(min_value=-(10**8), max_value=10**8, places=6))
def test_a_float64_comes_back_as_its_shortest_decimal(price):
    image = float(price)
    assert float(restored(image, 9)) == pytest.approx(image, abs=1e-9)


@pytest.mark.parametrize("value", [1e9, -1e9, 1e300, float("inf"), float("nan"), 10**400, 999_999_999.9999999999])
def test_what_does_not_fit_is_overflow(value):
    with pytest.raises(NumberRefusedError) as refused:
        restored(value, 9)
    assert refused.value.rule == "overflow"


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_digits_and_scaled_integers_are_two_forms_of_one_number(number):
    text = f"{Decimal(number).scaleb(-9):f}"
    assert scaled_digits(text, 9) == number
    assert exact_decimal(text, 9) == Decimal(number).scaleb(-9)
    assert decimals(np.array([number]), 18, 9).to_pylist() == [Decimal(number).scaleb(-9)]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("0.0000000001", "excess_digits"),
        ("1000000000", "overflow"),
        ("1e5", "malformed_number"),
        ("1.", "malformed_number"),
        (".5", "malformed_number"),
        ("", "malformed_number"),
        ("٣", "malformed_number"),
        ("1_000", "malformed_number"),
        ("1" * 200, "malformed_number"),
        (5, "malformed_number"),
        (None, "malformed_number"),
    ],
)
def test_digits_that_cannot_be_kept_exactly_are_refused(text, rule):
    with pytest.raises(NumberRefusedError) as refused:
        scaled_digits(text, 9)
    assert refused.value.rule == rule


@pytest.mark.parametrize(
    ("new", "old", "ratio"), [("1.5", "1", (3, 2)), ("4", "1", (4, 1)), ("1", "3", (1, 3)), ("0.05", "1", (1, 20))]
)
def test_ratios_are_in_lowest_terms(new, old, ratio):
    assert lowest_terms(Decimal(new), Decimal(old)) == ratio


@pytest.mark.parametrize(("new", "old"), [(0, 1), (1, 0), (-2, 1), (1, 2**70 + 1)])
def test_an_impossible_ratio_is_refused(new, old):
    with pytest.raises(NumberRefusedError):
        lowest_terms(new, old)
