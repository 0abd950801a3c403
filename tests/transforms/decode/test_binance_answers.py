"""Binance's REST lists: bars and trades by id; what is none of them is refused, never lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.decode import binance
from transforms.decode.decoded import Decoded

ASKED_NS = 1_723_075_260_000_000_000
KLINE = [
    1_723_075_200_000, "61837.97", "61880.00", "61800.01", "61850.00", "12.34567", 1_723_075_259_999, "763000.5", 1_234,
    "6.1", "377000.1", "0",
]  # fmt: skip
TRADE = {"id": 7, "price": "61837.97", "qty": "0.00100", "quoteQty": "61.8", "time": 1_723_075_200_001, "isBuyerMaker": True}


def decoded(body: object, kind: str, asked_ns: int = ASKED_NS, **params: str) -> Decoded:
    query = "&".join(f"{name}={value}" for name, value in params.items())
    request = {"method": "GET", "url": f"https://api.binance.com/api/v3/{kind}?{query}", "ts_request_ns": asked_ns}
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return binance.decode(pa.table({"payload": [payload], "request": [orjson.dumps(request).decode()], "status": [200]}))


def test_a_kline_is_a_bar_and_over_after_its_end() -> None:
    found = decoded([KLINE], "klines", symbol="BTCUSDT", interval="1h")
    (row,) = found.tables["normalized.bars"].to_pylist()
    assert (row["symbol"], row["interval"], row["currency"], row["basis"]) == ("BTCUSDT", "60m", "USDT", "as_traded")
    assert row["ts_open"] == datetime(2024, 8, 8, tzinfo=UTC)
    assert [row[name] for name in ("open", "high", "low", "close")] == [Decimal(text) for text in KLINE[1:5]]
    assert (row["volume"], row["trade_count"], row["is_final"]) == (Decimal("12.34567"), 1_234, True)
    early = decoded([KLINE], "klines", ASKED_NS - 2_000_000, symbol="BTCUSDT", interval="1m")
    assert early.tables["normalized.bars"]["is_final"].to_pylist() == [False]


def test_trades_looked_up_are_numbered_by_their_place() -> None:
    broken = {**TRADE, "id": 9, "price": "x"}
    found = decoded([TRADE, {**TRADE, "id": 8, "isBuyerMaker": False}, broken], "historicalTrades", symbol="BTCUSDT")
    rows = found.tables["normalized.trades"].to_pylist()
    assert [(row["ordinal"], row["trade_id"], row["side"]) for row in rows] == [(0, "7", "sell"), (1, "8", "buy")]
    assert [(row["ordinal"], row["rule"]) for row in found.refused.to_pylist()] == [(2, "malformed_number")]


BOOK_TICKER = {"symbol": "BTCUSDT", "bidPrice": "61837.97", "bidQty": "2.5", "askPrice": "61837.98", "askQty": "0.00100"}


def test_a_quote_asked_for_has_the_time_that_is_told_and_no_number() -> None:
    future = {**BOOK_TICKER, "lastUpdateId": 1_027_024, "time": 1_723_075_200_001}
    for body, at in ((BOOK_TICKER, None), (future, datetime(2024, 8, 8, 0, 0, 0, 1_000, tzinfo=UTC))):
        (row,) = decoded(body, "ticker/bookTicker", symbol="BTCUSDT").tables["normalized.quotes"].to_pylist()
        assert (row["symbol"], row["ts_event"], row["sequence"], row["ordinal"]) == ("BTCUSDT", at, None, 0)
        assert [row[name] for name in ("bid_price", "bid_size", "ask_price", "ask_size")] == [
            Decimal(text) for text in ("61837.97", "2.5", "61837.98", "0.001")
        ]
    for broken, rule in (({"bidPrice": "x"}, "malformed_number"), ({"askQty": None}, "malformed_number"),
                         ({"symbol": ""}, "missing_field"), ({"time": -1}, "malformed_number")):  # fmt: skip
        assert decoded(BOOK_TICKER | broken, "ticker/bookTicker").refused["rule"].to_pylist() == [rule]
    streamed = {"u": "x", "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
    assert decoded(streamed, "ticker/bookTicker").refused["rule"].to_pylist() == ["malformed_number"]


def test_aggregates_are_control_and_an_empty_list_says_nothing() -> None:
    assert decoded([{"a": 1, "f": 1, "l": 3}], "aggTrades", symbol="BTCUSDT").control == 1
    assert decoded([], "klines", symbol="BTCUSDT", interval="1m").control == 1


@pytest.mark.parametrize(
    ("kind", "params"), [("klines", {"interval": "1m"}), ("klines", {"symbol": "BTCUSDT", "interval": "1s"}), ("ticker", {}),
                         ("historicalTrades", {})]
)  # fmt: skip
def test_a_list_that_nobody_asked_for_is_refused(kind: str, params: dict[str, str]) -> None:
    found = decoded([KLINE], kind, **params)
    assert found.refused["table_name"].to_pylist() == ["raw.messages"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["1.5", 1_723_075_200_000]),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.sampled_from(list(TRADE)), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=40)
@given(st.lists(JSON, max_size=3), st.sampled_from(["klines", "historicalTrades", "aggTrades", "depth"]))
def test_any_list_is_rows_or_refused_or_control(entries: list[object], kind: str) -> None:
    found = decoded(entries, kind, symbol="BTCUSDT", interval="1m")
    told = found.fact_count + found.refused.num_rows
    assert told == len(entries) if kind in ("klines", "historicalTrades") else told <= 1
    assert (found.control == 1) == (told == 0)
