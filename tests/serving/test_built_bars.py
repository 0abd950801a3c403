"""The question "built bars": every length is the same as bars of the trades, and the way back leads to them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.scan import read
from lake.settings import load_settings
from quality_checks.building import build
from quality_checks.promotion import promote
from serving.built_bars import BuiltQuestion, built
from serving.lineage import explain
from serving.operate.supervisor import WebServer
from serving.sql import answer
from tests.quality_checks import raw
from transforms.bars import trade_bars
from transforms.calendars import venue_of

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
PRICES = [100, 103, 98, 101, 120, 90, 91, 95]
"""One trade a minute and a half, 0.5 each."""


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("built") / "lake"), system_clock) as lake:
        told = [raw.trade(number, price, at_ms=90_000 * number - number) for number, price in enumerate(PRICES, 1)]
        start = int(NOON.timestamp()) * 10**9
        raw.land(lake, "c1", [(start + 90 * 10**9 * number, body) for number, body in enumerate(told, 1)])
        promote(lake, "binance")
        build(lake)
        yield lake


@pytest.mark.parametrize("interval", ["1s", "90s", "1m", "5m", "7m", "1h", "1d", "1wk", "1mo"])
def test_every_length_is_what_the_trades_come_to(traded: Lake, interval: str) -> None:
    expected = trade_bars(read(traded, "normalized.trades"), interval, venue_of(None, None, "crypto"))
    found = built(traded, BuiltQuestion("BTCUSDT", interval))
    for name in ("ts_open", "ts_end", "open", "high", "low", "close", "volume", "trade_count", "dollar_volume", "vwap"):
        assert found.table[name].to_pylist() == expected[name].to_pylist(), name
    assert found.metadata["source"] == "built" and found.metadata["is_derived"]
    assert set(found.table["is_final"].to_pylist()) == {True}


def test_a_range_is_half_open_and_cuts_no_bar(traded: Lake) -> None:
    start, end = NOON + timedelta(minutes=5), NOON + timedelta(minutes=10)
    (bar,) = built(traded, BuiltQuestion("BTCUSDT", "5m", start, end)).table.to_pylist()
    assert (bar["ts_open"], bar["open"], bar["high"], bar["low"], bar["close"]) == (start, 101, 120, 90, 90)
    (week,) = built(traded, BuiltQuestion("BTCUSDT", "1wk", date(2024, 8, 5), date(2024, 8, 12))).table.to_pylist()
    assert (week["session_date"], week["volume"]) == (date(2024, 8, 5), Decimal(4))
    before = built(traded, BuiltQuestion("BTCUSDT", "1m", known_as_of=NOON + timedelta(minutes=5))).table
    assert before["close"].to_pylist() == [100, 103]


def test_what_is_no_question_is_refused(traded: Lake) -> None:
    with pytest.raises(InvalidValueError, match="36h"):
        built(traded, BuiltQuestion("BTCUSDT", "36h"))
    with pytest.raises(InvalidValueError, match="price type 'last'"):
        built(traded, BuiltQuestion("BTCUSDT", price_type="last"))
    with pytest.raises(NotFoundError, match="no 1m bars of bid"):
        built(traded, BuiltQuestion("BTCUSDT", price_type="bid"))


def test_over_http_in_sql_and_back_to_the_trades(traded: Lake) -> None:
    server = WebServer(traded, "127.0.0.1", 0)
    running = threading.Thread(target=server.run)
    running.start()
    try:
        with httpx.Client(base_url=server.address, timeout=60) as client:
            told = client.get("/api/v1/bars/BTCUSDT", params={"interval": "5m", "source": "built"})
            assert told.status_code == 200, told.text
            assert told.json()["columns"]["close"] == ["98", "90", "95"]
            refused = client.get("/api/v1/bars/BTCUSDT", params={"source": "built", "adjustment": "splits"})
            assert refused.status_code == 422
    finally:
        server.stop()
        running.join()
    rows = answer(traded, "SELECT * FROM adjusted.built_bars WHERE interval = '1m' ORDER BY ts_open LIMIT 1").table.to_pylist()
    key = f"{rows[0]['instrument_id']}/binance/spot/trade/1m/2024-08-08T12:01:00Z/2024-08-08T12:02:01Z"
    node = explain(traded, f"adjusted.built_bars/{key}")
    assert node.step == "build/1"
    assert [(one.role, one.table) for one in node.inputs] == [("trade", "normalized.trades")]
    assert node.notes == ["made of 1 trades of binance spot within its span"]
