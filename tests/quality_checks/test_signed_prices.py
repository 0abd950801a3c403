"""Prices of 0 or less: real of futures and spreads, from the file to the adjusted bar; refused of shares."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from quality_checks.adjusting import adjust
from quality_checks.building import build
from quality_checks.promotion import promote
from quality_checks.verify import verify
from tests.transforms.decode.dbn_files import header, record
from transforms.decode.dbn_layout import LAYOUTS, MBO, MBP_0, MBP_1, OHLCV_1D
from transforms.feeds import FEEDS

AT = 1_587_404_880_000_000_000
"""2020-04-20 17:48 UTC, the last minutes of the May contract of crude oil in New York."""
SYMBOLS = {"CLK0": [(20200420, 20200421, "7")], "CLK0-CLM0": [(20200420, 20200421, "8")]}
PRICES = {7: (1_100_000_000, 500_000_000, 0, -13_100_000_000, -37_630_000_000), 8: (-1_250_000_000, 300_000_000, -59_000_000_000)}


def trades() -> bytes:
    layout, found = LAYOUTS[MBP_0, 48], b""
    for instrument, prices in PRICES.items():
        for number, price in enumerate(prices):
            stamp = AT + number * 10**9
            found += record(layout, MBP_0, publisher_id=1, instrument_id=instrument, price=price, size=2, action=ord("T"),
                            side=ord("A"), ts_event=stamp, ts_recv=stamp, sequence=instrument * 100 + number)  # fmt: skip
    return found


def quotes() -> bytes:
    layout = LAYOUTS[MBP_1, 80]
    told = {"bid_px_00": -38_000_000_000, "ask_px_00": -37_000_000_000, "bid_sz_00": 1, "ask_sz_00": 2}
    return record(layout, MBP_1, publisher_id=1, instrument_id=7, action=ord("A"), side=ord("B"), ts_event=AT, ts_recv=AT, **told)


def orders() -> bytes:
    layout = LAYOUTS[MBO, 56]
    made = [(1, ord("B"), -1_300_000_000), (2, ord("A"), 0)]
    return b"".join(
        record(layout, MBO, publisher_id=1, instrument_id=8, order_id=order, side=side, price=price, size=1, action=ord("A"),
               ts_event=AT + order, ts_recv=AT + order, sequence=order)
        for order, side, price in made
    )  # fmt: skip


def days() -> bytes:
    layout = LAYOUTS[OHLCV_1D, 56]
    prices = {"open": 17_730_000_000, "high": 17_850_000_000, "low": -40_320_000_000, "close": -37_630_000_000}
    return record(
        layout,
        OHLCV_1D,
        publisher_id=1,
        instrument_id=7,
        ts_event=AT // 86_400_000_000_000 * 86_400_000_000_000,
        volume=9,
        **prices,
    )


FILES = {"trades": (4, trades), "mbp-1": (1, quotes), "mbo": (0, orders), "ohlcv-1d": (8, days)}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("signed")
    settings = load_settings(home=folder / "home")
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        for dataset in ("GLBX.MDP3", "XNAS.ITCH"):
            for name, (schema, records) in FILES.items():
                (folder / f"{dataset}.{name}.dbn").write_bytes(header(SYMBOLS, dataset, schema) + records())
        (folder / "spread.fix").write_bytes(SPREAD)
        import_paths(lake, log, "databento", "dbn", sorted(folder.glob("*.dbn")))
        import_paths(lake, log, "fix", "market", [folder / "spread.fix"])
        land(lake, log)
        reports = [promote(lake, provider) for provider in ("databento", "fix")]
        assert [report.holds for report in reports] == [[], []]
        adjust(lake)
        build(lake)
        yield lake


def fix(*fields: str) -> bytes:
    body = "".join(f"{field}\x01" for field in fields).encode()
    whole = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return whole + b"10=%03d\x01" % (sum(whole) % 256)


def snapshot(symbol: str, kind: str) -> bytes:
    entries = ("268=2", "269=0", "270=-1.25", "271=5", "269=1", "270=-1.20", "271=7")
    return fix("35=W", "49=CME", "56=US", "34=1", "52=20200420-17:48:00.000", f"55={symbol}", f"167={kind}", *entries)


SPREAD = snapshot("CLK0-CLM0", "MLEG") + b"\n" + snapshot("IBM", "CS") + b"\n"


def prices(lake: Lake, table: str, provider: str, feed: str, *columns: str) -> list[tuple[object, ...]]:
    rows = [row for row in read(lake, table).to_pylist() if (row["provider"], row["feed"]) == (provider, feed)]
    return sorted(tuple(None if row[name] is None else str(row[name].normalize()) for name in columns) for row in rows)


def test_futures_and_spreads_keep_every_price(lake: Lake) -> None:
    found = prices(lake, "normalized.trades", "databento", "glbx.mdp3", "price")
    assert len(found) == 8 and {("-37.63",), ("0",), ("0.5",), ("-59",)} <= set(found)
    assert prices(lake, "normalized.quotes", "databento", "glbx.mdp3", "bid_price", "ask_price") == [("-38", "-37")]
    assert prices(lake, "normalized.book_events", "databento", "glbx.mdp3", "price") == [("-1.3",), ("0",)]
    assert prices(lake, "normalized.bars", "databento", "glbx.mdp3", "low", "close") == [("-40.32", "-37.63")]
    assert prices(lake, "normalized.book_events", "fix", "market", "price") == [("-1.2",), ("-1.25",)]


def test_shares_keep_none_and_lose_none(lake: Lake) -> None:
    assert prices(lake, "normalized.trades", "databento", "xnas.itch", "price") == [("0.3",), ("0.5",), ("1.1",)]
    assert prices(lake, "normalized.bars", "databento", "xnas.itch", "low") == []
    refused = [row for row in read(lake, "quality.quarantine").to_pylist() if row["rule"] == "price_not_positive"]
    assert sum(row["table_name"] == "normalized.trades" for row in refused) == 5
    assert {row["feed"] for row in refused} == {"xnas.itch", "market"}


def test_a_day_below_zero_is_an_adjusted_bar_and_proven(lake: Lake) -> None:
    bars = [row for row in read(lake, "adjusted.bars_1d").to_pylist() if row["symbol"] == "CLK0"]
    assert [(row["low"], row["close"], row["adj_close"]) for row in bars] == [
        (Decimal("-40.32"), Decimal("-37.63"), Decimal("-37.63"))
    ]
    assert [check.name for check in verify(lake).checks if check.faults] == []


def test_only_feeds_with_futures_may_tell_such_prices() -> None:
    signed = {(feed.provider, feed.feed) for feed in FEEDS.values() if feed.signed_classes}
    assert signed == {("databento", "dbn"), ("fix", "market"), ("ibkr", "wire"), ("ibkr", "history"), ("yahoo", "chart")}
    assert not any({"equity", "etf", "fund"} & feed.signed_classes for feed in FEEDS.values())


def test_bars_built_from_such_trades_hold_them_exactly(lake: Lake) -> None:
    bars = [
        row for row in read(lake, "adjusted.built_bars").to_pylist() if (row["symbol"], row["price_type"]) == ("CLK0", "trade")
    ]
    for bar in [row for row in bars if row["feed"] == "glbx.mdp3"]:
        assert (bar["low"], bar["close"], bar["high"]) == (Decimal("-37.63"), Decimal("-37.63"), Decimal("1.1"))
        assert bar["vwap"] == Decimal("-9.826")
    assert {bar["interval"] for bar in bars if bar["feed"] == "glbx.mdp3"} == {"1m", "1d"}
