"""A small lake written by hand through the lake's own commits: AAPL over its 4:1 split, two Binance markets, one hold-free.

Small enough to know every number: three sessions of AAPL, announced on 2020-07-30, ex on 2020-08-31.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from lake.catalog import Lake
from lake.commits import append
from lake.instants import system_clock
from lake.settings import load_settings
from lake.tables import rows, table_named
from lake.values import MessageRange, instrument_id_of

AAPL = instrument_id_of("listing:US/AAPL")
SPOT = instrument_id_of("listing:BINANCE/BTCUSDT:spot")
USDM = instrument_id_of("listing:BINANCE/BTCUSDT:usdm")
SESSIONS = (date(2020, 8, 27), date(2020, 8, 28), date(2020, 8, 31))
CLOSES = ("500.04", "499.23", "129.04")
KNOWN_SPLIT = datetime(2020, 7, 30, 4, tzinfo=UTC)
CAPTURE = "csv-bars-import-1"
TRADES = "binance-spot-1"
PAYLOAD = b'{"stream":"btcusdt@trade","data":{"t":1}}'
AGREED_RUN, FACTORS_RUN, BARS_RUN = "adjust-agreed-1", "adjust-factors-1", "adjust-bars-1"


def opens(day: date) -> datetime:
    """Return the open of a New York session in summer."""
    return datetime(day.year, day.month, day.day, 13, 30, tzinfo=UTC)


def closes(day: date) -> datetime:
    """Return its close, when the daily bar is known."""
    return datetime(day.year, day.month, day.day, 20, tzinfo=UTC)


def make(home: Path) -> Lake:
    """Return a new lake at `home` with everything in it."""
    lake = Lake.create(load_settings(home=home), system_clock)
    _reference(lake)
    _raw(lake)
    _trades(lake)
    _adjusted(lake)
    _history(lake)
    return lake


def put(
    lake: Lake, table: str, columns: Mapping[str, Sequence[object]], run_id: str, ranges: tuple[MessageRange, ...] = ()
) -> None:
    """Append rows to a table as owner `hand`."""
    head = lake.head(table)
    before = head.vector("hand")
    after = {"0": before.get("0", 0) + 1}
    append(lake, table, rows(table_named(table), dict(columns)), "hand", before, after, run_id, ranges)


def _reference(lake: Lake) -> None:
    run = ["r1"] * 3
    put(
        lake,
        "reference.instruments",
        {
            "instrument_id": [AAPL, SPOT, USDM],
            "identity": ["listing:US/AAPL", "listing:BINANCE/BTCUSDT:spot", "listing:BINANCE/BTCUSDT:usdm"],
            "name": ["Apple Inc.", None, None],
            "currency": ["USD", "USDT", "USDT"],
            "mic": ["XNAS", None, None],
            "is_provisional": [True] * 3,
            "run_id": run,
        },
        "r1",
    )
    put(
        lake,
        "reference.listings",
        {
            "instrument_id": [AAPL, SPOT, USDM],
            "provider": ["csv", "binance", "binance"],
            "symbol": ["AAPL", "BTCUSDT", "BTCUSDT"],
            "run_id": run,
        },
        "r1",
    )


def _raw(lake: Lake) -> None:
    payloads = [b"Epoch,Close\n2020-08-27,500.04\n", PAYLOAD]
    put(
        lake,
        "raw.messages",
        {
            "capture_id": [CAPTURE, TRADES],
            "message_seq": [0, 0],
            "provider": ["csv", "binance"],
            "feed": ["bars", "spot"],
            "ts_recv": [datetime(2026, 11, 21, tzinfo=UTC)] * 2,
            "ts_recv_nanos": [0, 0],
            "content_type": ["text/csv", "application/json"],
            "sha256": [hashlib.sha256(payload).hexdigest() for payload in payloads],
            "request": ['{"file":"aapl.csv"}', None],
            "payload": payloads,
            "log_partition": [0, 0],
            "log_offset": [0, 1],
        },
        "land-1",
        (MessageRange(CAPTURE, 0, 0), MessageRange(TRADES, 0, 0)),
    )


def _trades(lake: Lake) -> None:
    count = 5
    put(
        lake,
        "normalized.trades",
        {
            "instrument_id": [SPOT] * count,
            "provider": ["binance"] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "session_date": [date(2024, 8, 8)] * count,
            "ts_event": [datetime(2024, 8, 8, 0, 0, number, tzinfo=UTC) for number in range(count)],
            "ts_event_nanos": [0] * count,
            "ts_recv": [datetime(2026, 11, 21, tzinfo=UTC)] * count,
            "sequence": list(range(count)),
            "price": [Decimal("55131.99") + number for number in range(count)],
            "size": [Decimal("0.00018")] * count,
            "side": ["buy", "sell", "buy", "sell", "buy"],
            "capture_id": [TRADES] * count,
            "message_seq": [0] * count,
            "ordinal": list(range(count)),
        },
        "promote-trades-1",
        (MessageRange(TRADES, 0, 0),),
    )


def _adjusted(lake: Lake) -> None:
    count = len(SESSIONS)
    prices = [Decimal(text) for text in CLOSES]
    put(
        lake,
        "adjusted.agreed_bars",
        {
            "instrument_id": [AAPL] * count,
            "interval": ["1d"] * count,
            "session_date": SESSIONS,
            "ts_open": [opens(day) for day in SESSIONS],
            **dict.fromkeys(("open", "high", "low", "close"), prices),
            "volume": [Decimal(1000 * number) for number in (1, 2, 3)],
            "currency": ["USD"] * count,
            "provider": ["csv"] * count,
            "feed": ["bars"] * count,
            "symbol": ["AAPL"] * count,
            "agreed_by": ["csv bars"] * count,
            "undone_ratio_old": [1] * count,
            "undone_ratio_new": [1] * count,
            "is_final": [True] * count,
            "known_at": [closes(day) for day in SESSIONS],
            "capture_id": [CAPTURE] * count,
            "message_seq": [0] * count,
            "ordinal": list(range(count)),
            "run_id": [AGREED_RUN] * count,
        },
        AGREED_RUN,
    )
    put(
        lake,
        "adjusted.factors",
        {
            "instrument_id": [AAPL],
            "ex_date": [date(2020, 8, 31)],
            "kind": ["split"],
            "status": ["announced"],
            "price_factor": [Decimal("0.25")],
            "volume_factor": [Decimal(4)],
            "ratio_old": [1],
            "ratio_new": [4],
            "method": ["split_ratio"],
            "inputs_hash": ["00"],
            "known_at": [KNOWN_SPLIT],
            "provider": ["ice"],
            "action_key": ["2103357"],
            "capture_id": [CAPTURE],
            "message_seq": [0],
            "ordinal": [0],
            "run_id": [FACTORS_RUN],
        },
        FACTORS_RUN,
    )
    _bars_1d(lake, prices)


def _bars_1d(lake: Lake, prices: list[Decimal]) -> None:
    splits = [Decimal("0.25"), Decimal("0.25"), Decimal(1)]
    adjusted = [(price * split).quantize(Decimal("0.0000000001")) for price, split in zip(prices, splits, strict=True)]
    count = len(SESSIONS)
    put(
        lake,
        "adjusted.bars_1d",
        {
            "instrument_id": [AAPL] * count,
            "session_date": SESSIONS,
            "symbol": ["AAPL"] * count,
            "currency": ["USD"] * count,
            "ts_open": [opens(day) for day in SESSIONS],
            "close": prices,
            "split_factor": splits,
            "all_factor": splits,
            "volume_factor": [1 / split for split in splits],
            "adj_close": adjusted,
            "provider": ["csv"] * count,
            "is_final": [True] * count,
            "known_at": [closes(day) for day in SESSIONS],
            "run_id": [BARS_RUN] * count,
        },
        BARS_RUN,
    )


def _history(lake: Lake) -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    put(
        lake,
        "ops.captures",
        {
            "capture_id": [CAPTURE, TRADES],
            "provider": ["csv", "binance"],
            "feed": ["bars", "spot"],
            "kind": ["import", "live"],
            "started_at": [now] * 2,
            "code_version": ["test"] * 2,
            "configuration_hash": ["00"] * 2,
            "recorded_at": [now] * 2,
        },
        "history-1",
    )
    put(
        lake,
        "quality.gate_runs",
        {
            "run_id": ["promote-trades-1"],
            "table_name": ["normalized.trades"],
            "provider": ["binance"],
            "verdict": ["passed"],
            "checks_expected": [9],
            "checks_evaluated": [9],
            "row_count": [5],
            "recorded_at": [now],
        },
        "history-2",
    )
    bar = f"adjusted.agreed_bars/{AAPL}/1d/2020-08-28T13:30:00Z/2020-08-28T20:00:00Z"
    put(
        lake,
        "ops.lineage",
        {
            "run_id": [AGREED_RUN],
            "step": ["agree"],
            "table_name": ["adjusted.agreed_bars"],
            "output_event_id": [bar],
            "input_table": ["normalized.bars"],
            "input_event_id": [f"{CAPTURE}:0:1"],
            "role": ["bar"],
            "recorded_at": [now],
        },
        "history-3",
    )
