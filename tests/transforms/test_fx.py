"""Cross rates are exact, are rounded once, and say what they were made of."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError, NotFoundError
from lake.tables import table_named
from transforms.fx import RATE_SCALE, all_crosses, cross_rates, currency_of, last_rates, newest

RATES = table_named("normalized.fx_rates")
AT = datetime(2026, 4, 13, 12, 15, tzinfo=UTC)
ECB = {"EURUSD": "1.1684", "EURJPY": "186.75", "EURGBP": "0.87058"}
"""The ECB's reference rates of 2026-04-13."""


def rates(told: dict[str, str], at: datetime = AT, source: str = "ECB:", provider: str = "csv", later_h: int = 2) -> pa.Table:
    rows = [
        {
            "instrument_id": number, "provider": provider, "feed": "fx_rates", "symbol": f"{source}{pair}", "currency": pair[3:],
            "session_date": at.date(), "ts_event": at, "known_at": at + timedelta(hours=later_h), "capture_id": "c",
            "message_seq": 0, "ordinal": number, "run_id": "r", "base_currency": pair[:3], "quote_currency": pair[3:],
            "rate": Decimal(rate), "rate_kind": "reference",
        }
        for number, (pair, rate) in enumerate(told.items())
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=RATES.arrow_schema())


def one(table: pa.Table) -> dict[str, Any]:
    row: dict[str, Any]
    (row,) = table.to_pylist()
    return row


def test_a_rate_is_told_turned_round_or_goes_through_the_euro() -> None:
    known = rates(ECB)
    straight, back = one(cross_rates(known, "EUR", "USD")), one(cross_rates(known, "USD", "EUR"))
    assert (straight["rate"], straight["method"]) == (Decimal("1.168400000000"), "direct")
    assert (back["rate"], back["method"]) == (Decimal("0.855871276960"), "inverse")
    crossed = one(cross_rates(known, "USD", "JPY", Decimal(250)))
    assert crossed["rate"] == Decimal("159.833960972270")
    assert crossed["converted"] == Decimal("39958.490243067443")  # by the rounded rate it would end in 7500
    assert (crossed["method"], crossed["rates_used"]) == ("via EUR", ["ECB:EURUSD 1.1684", "ECB:EURJPY 186.75"])
    assert (crossed["event_ids"], crossed["known_at"]) == (["c:0:0", "c:0:1"], AT + timedelta(hours=2))
    assert one(cross_rates(known, "JPY", "JPY"))["rate"] == 1


def test_minor_units_are_hundredths() -> None:
    known = rates(ECB)
    assert one(cross_rates(known, "GBX", "EUR"))["rate"] == Decimal("0.011486595143")
    assert one(cross_rates(known, "EUR", "GBp"))["rate"] == Decimal("87.058")
    assert one(cross_rates(known, "GBp", "GBP"))["rate"] == Decimal("0.01")
    assert (currency_of("gbp"), currency_of("ZAc"), currency_of("gbx")) == (("GBP", 1), ("ZAR", 100), ("GBP", 100))
    with pytest.raises(InvalidValueError, match="ISO 4217"):
        currency_of("EURO")


def test_rates_of_two_sources_or_instants_are_not_mixed() -> None:
    other = rates({"EURJPY": "180"}, AT + timedelta(days=1)), rates({"EURJPY": "181"}, source="FED:")
    known = pa.concat_tables([rates({"EURUSD": "1.1684"}), *other])
    assert cross_rates(known, "USD", "JPY").num_rows == 0
    assert cross_rates(known, "EUR", "JPY")["rate"].to_pylist() == [Decimal(181), Decimal(180)]
    with pytest.raises(NotFoundError, match="third one"):
        last_rates(cross_rates(known, "USD", "JPY"))
    assert last_rates(cross_rates(known, "EUR", "JPY"))["session_date"].to_pylist() == [date(2026, 4, 14)]


def test_another_currency_carries_where_neither_euro_nor_dollar_does() -> None:
    known = rates({"GBPCHF": "1.1", "CHFNOK": "12"})
    assert one(cross_rates(known, "GBP", "NOK"))["method"] == "via CHF"
    assert all_crosses(known, ["NOK"])["base_currency"].to_pylist() == ["CHF", "GBP"]
    assert all_crosses(known).num_rows == 6


def test_the_version_known_last_counts() -> None:
    known = pa.concat_tables([rates({"EURUSD": "1.2"}, later_h=5), rates({"EURUSD": "1.1"})])
    assert newest(known)["rate"].to_pylist() == [Decimal("1.2")]


@given(st.integers(1, 10**12), st.integers(1, 10**12), st.integers(-(10**9), 10**9))
def test_a_cross_is_the_exact_quotient_rounded_once(dollar: int, yen: int, amount: int) -> None:
    known = rates({"EURUSD": str(Decimal(dollar).scaleb(-6)), "EURJPY": str(Decimal(yen).scaleb(-6))})
    row = one(cross_rates(known, "USD", "JPY", Decimal(amount)))
    exact = Fraction(yen, dollar)
    half = Fraction(1, 2 * 10**RATE_SCALE)
    assert abs(Fraction(row["rate"]) - exact) <= half
    assert abs(Fraction(row["converted"]) - exact * amount) <= half


def test_what_does_not_fit_is_an_error() -> None:
    known = rates({"EURUSD": "0.000000000001", "EURJPY": "9999999999999999"})
    with pytest.raises(InvalidValueError, match="does not fit"):
        cross_rates(known, "USD", "JPY")
