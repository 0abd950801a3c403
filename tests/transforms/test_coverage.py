"""Feeds without a MIC meet the others by session, and feeds of a part of the market neither win nor disagree."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from lake.tables import table_named
from lake.tables.definition import rows
from transforms.agree import agreed_bars
from transforms.coverage import home_mic

NOW = datetime(2024, 1, 9, tzinfo=UTC)
OPENS = {"yahoo": datetime(2024, 1, 5, 14, 30, tzinfo=UTC)}
MIDNIGHT = datetime(2024, 1, 5, 5, tzinfo=UTC)


def bars(*told: tuple[str, str, str | None, str, int]):
    """Daily bars of one instrument: (provider, feed, mic, close, volume)."""
    count = len(told)
    close = [Decimal(each[3]) for each in told]
    columns = {
        "instrument_id": [1] * count, "provider": [each[0] for each in told], "feed": [each[1] for each in told],
        "symbol": ["AAPL"] * count, "mic": [each[2] for each in told], "currency": ["USD"] * count,
        "session_date": [date(2024, 1, 5)] * count, "interval": ["1d"] * count,
        "ts_open": [OPENS.get(each[0], MIDNIGHT) for each in told], "open": close, "high": close, "low": close, "close": close,
        "volume": [Decimal(each[4]) for each in told], "basis": ["as_traded"] * count, "price_type": ["trade"] * count,
        "is_final": [True] * count, "known_at": [datetime(2024, 1, 5, 21, tzinfo=UTC)] * count, "delivered_at": [NOW] * count,
        "capture_id": [f"c{number}" for number in range(count)], "message_seq": [0] * count, "ordinal": [0] * count,
        "run_id": ["r"] * count,
    }  # fmt: skip
    return rows(table_named("normalized.bars"), columns)


def agreed(*told):
    no_actions = table_named("normalized.corporate_actions").arrow_schema().empty_table()
    found = agreed_bars(bars(*told), no_actions, run_id="r", recorded_at=NOW, priority=("alpaca", "yahoo"))
    return found.rows.to_pylist()


def test_daily_bars_without_a_mic_meet_the_others_by_session():
    (bar,) = agreed(
        ("yahoo", "chart", "XNAS", "181.18", 9),
        ("alpaca", "sip", None, "181.18", 9),
        ("alpha_vantage", "stocks", None, "181.18", 9),
    )
    assert (bar["provider"], bar["agreed_by"]) == ("alpaca", "yahoo/chart,alpha_vantage/stocks")
    assert bar["ts_open"] == OPENS["yahoo"]


def test_a_feed_of_one_exchange_neither_wins_nor_disagrees():
    (bar,) = agreed(("yahoo", "chart", "XNAS", "181.18", 62_000_000), ("alpaca", "iex", None, "181.90", 700_000))
    assert (bar["provider"], bar["volume"], bar["agreed_by"], bar["disagreed_by"]) == ("yahoo", 62_000_000, None, None)
    (alone,) = agreed(("alpaca", "iex", None, "181.90", 700_000))
    assert alone["provider"] == "alpaca"


@pytest.mark.parametrize(
    ("told", "home"),
    [
        (("yahoo", "chart", "OCDO.L", "XLON"), "XLON"),
        (("yahoo", "chart", "^GSPC", None), None),
        (("alpaca", "sip", "AAPL", None), "XNYS"),
        (("alpaca", "crypto", "BTC/USD", None), None),
        (("finnhub", "quote", "AAPL", None), "XNYS"),
        (("finnhub", "quote", "BINANCE:BTCUSDT", None), None),
        (("alpha_vantage", "stocks", "TSCO.LON", "XLON"), "XLON"),
        (("alpha_vantage", "currencies", "EUR/USD", None), None),
        (("nobody", "x", "AAPL", None), None),
    ],
)
def test_the_home_of_a_symbol(told, home):
    assert home_mic(*told) == home


@pytest.mark.parametrize(
    ("provider", "feed", "symbol", "mic"),
    [
        ("polygon", "market", "AAPL", "XNYS"),
        ("polygon", "market", "X:BTCUSD", None),
        ("tiingo", "daily", "BRK-B", "XNYS"),
        ("tiingo", "daily", "600000", None),
        ("tiingo", "iex", "AAPL", "XNYS"),
        ("tiingo", "crypto", "btcusd", None),
        ("iex_cloud", "stock", "GME", "XNYS"),
    ],
)
def test_providers_of_many_markets_name_those_of_the_us_by_their_symbols(provider, feed, symbol, mic):
    assert home_mic(provider, feed, symbol, None) == mic
