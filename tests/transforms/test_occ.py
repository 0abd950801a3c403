"""OCC symbols: terms read digit by digit, adjusted roots told, what is none left empty; against a plain reading."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.occ import occ_terms


def test_a_symbol_says_its_terms_and_nothing_else_has_any():
    given_ = [
        "AAPL240126P00050000",
        "BRKB  250117C00412500",
        "SPXW231229C04777777",
        "AAPL1240119C00100000",
        "AAPL240230C00100000",
        "AAPL",
        None,
    ]
    rows = [tuple(row.values()) for row in occ_terms(pa.array(given_, pa.string())).to_pylist()]
    assert rows[:4] == [
        ("AAPL", "AAPL", False, date(2024, 1, 26), "put", Decimal(50)),
        ("BRKB", "BRKB", False, date(2025, 1, 17), "call", Decimal("412.5")),
        ("SPXW", "SPXW", False, date(2023, 12, 29), "call", Decimal("4777.777")),
        ("AAPL1", "AAPL", True, date(2024, 1, 19), "call", Decimal(100)),
    ]
    assert rows[4:] == [(None,) * 6] * 3
    assert occ_terms(pa.array([], pa.string())).num_rows == 0


@given(
    st.text("ABCXYZ", min_size=1, max_size=6),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    st.sampled_from("CP"),
    st.integers(0, 99_999_999),
)
def test_what_is_written_is_read(root: str, expiry: date, right: str, strike: int):
    (row,) = occ_terms(pa.array([f"{root}{expiry:%y%m%d}{right}{strike:08}"])).to_pylist()
    assert (row["root"], row["expiry_date"], row["option_right"][0].upper()) == (root, expiry, right)
    assert row["strike"] == Decimal(strike) / 1000
