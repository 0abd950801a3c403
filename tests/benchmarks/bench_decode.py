"""Decode of the recorded Binance stream: ours against bare msgspec, a json loop and cryptofeed's own handler.

Trades come in batches of 2,000, as promotion reads them. Ours ends in Arrow columns of exact decimals with symbols, sides
and stamps; bare msgspec ends in structs of text; the json loop in tuples of Decimals; cryptofeed in its Trade objects handed to a
callback. cryptofeed reads aggTrade, so it gets the same frames under that name (`pip install tickhouse[bench]`).
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pyarrow as pa

from tests.benchmarks.cases import Case, Skipped
from transforms.decode import binance
from transforms.kernels import binance as kernel

RECORDING = Path(__file__).parents[2] / "ingest" / "simulator" / "recordings" / "binance" / "binance_spot_btcusdt_20240808.gz"
TRADES = "decode Binance trades, batches of 2,000"
ALL = "decode a whole Binance recording"
BATCH = 2_000
REQUEST = json.dumps({"symbol": "BTCUSDT"})


class TradeData(msgspec.Struct):
    """The fields of a trade that ours reads."""

    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class Frame(msgspec.Struct):
    """A combined-stream frame around a trade."""

    stream: str
    data: TradeData


def cases() -> list[Case | Skipped]:
    """Return ours and the others, on the packaged recording."""
    with gzip.open(RECORDING) as file:
        frames = [line.partition(b" ")[2].rstrip() for line in file]
    trades = [frame for frame in frames if b'"e":"trade"' in frame]
    trades *= 2
    return [*_trade_cases(trades), *_whole_cases(frames)]


def _trade_cases(trades: list[bytes]) -> list[Case | Skipped]:
    batches = [trades[start : start + BATCH] for start in range(0, len(trades), BATCH)]
    tables = [_messages(batch) for batch in batches]
    case = partial(Case, TRADES, unit="trades")
    found: list[Case | Skipped] = [
        case(name="msgspec, struct a frame", run=partial(_structs, batches)),
        case(name="msgspec, a batch as one list", run=partial(_lists, batches)),
        case(name="json.loads and Decimal", run=partial(_json_loop, batches)),
        _cryptofeed(batches),
    ]
    return [*_ours(case, TRADES, tables), *found]


def _whole_cases(frames: list[bytes]) -> list[Case | Skipped]:
    tables = [_messages(frames[start : start + BATCH]) for start in range(0, len(frames), BATCH)]
    return _ours(partial(Case, ALL, unit="facts"), ALL, tables)


def _ours(case: Callable[..., Case], group: str, tables: list[pa.Table]) -> list[Case | Skipped]:
    parser = case(name="tickhouse, without a compiler", run=partial(_decode, tables, None), is_ours=not binance.IS_COMPILED)
    if not binance.IS_COMPILED:
        return [Skipped(group, "tickhouse, compiled kernel", "the kernels are not compiled: run `make kernels`"), parser]
    return [case(name="tickhouse, compiled kernel", run=partial(_decode, tables, kernel.read_frames), is_ours=True), parser]


def _messages(frames: list[bytes]) -> pa.Table:
    requests = [REQUEST if frame.startswith(b'{"lastUpdateId"') else None for frame in frames]
    return pa.table(
        {
            "payload": pa.array(frames, pa.binary()),
            "request": pa.array(requests, pa.string()),
            "status": pa.nulls(len(frames), pa.int32()),
        }
    )


def _decode(tables: list[pa.Table], scan: Callable[[bytes, bytes], kernel.Frames] | None) -> int:
    return sum(binance.decode_frames(table, scan).fact_count for table in tables)


def _structs(batches: list[list[bytes]]) -> int:
    decode = msgspec.json.Decoder(Frame).decode
    return sum(len([decode(frame) for frame in batch]) for batch in batches)


def _lists(batches: list[list[bytes]]) -> int:
    decode = msgspec.json.Decoder(list[Frame]).decode
    return sum(len(decode(b"[" + b",".join(batch) + b"]")) for batch in batches)


def _json_loop(batches: list[list[bytes]]) -> int:
    count = 0
    for batch in batches:
        rows = []
        for frame in batch:
            trade = json.loads(frame)["data"]
            side = "sell" if trade["m"] else "buy"
            rows.append((trade["s"], trade["t"], Decimal(trade["p"]), Decimal(trade["q"]), trade["T"], side))
        count += len(rows)
    return count


def _cryptofeed(batches: list[list[bytes]]) -> Case | Skipped:
    name = "cryptofeed's Binance handler"
    if find_spec("cryptofeed") is None:
        return Skipped(TRADES, name, "cryptofeed is not installed: pip install tickhouse[bench]")
    try:
        from cryptofeed.defines import BINANCE
        from cryptofeed.defines import TRADES as CHANNEL
        from cryptofeed.exchanges import Binance
        from cryptofeed.symbols import Symbols
    except ImportError as error:
        return Skipped(TRADES, name, f"cryptofeed does not import: {error}")
    Symbols.set(BINANCE, {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {"BTC-USDT": "spot"}})  # else it asks the exchange
    seen: list[object] = []

    async def keep(trade: object, _: float) -> None:
        seen.append(trade)

    handler = Binance(symbols=["BTC-USDT"], channels=[CHANNEL], callbacks={CHANNEL: keep})
    frames = [
        frame.replace(b'"e":"trade"', b'"e":"aggTrade"').replace(b'"t":', b'"a":').decode()
        for batch in batches
        for frame in batch
    ]

    async def handle() -> None:
        for frame in frames:
            await handler.message_handler(frame, None, 0.0)

    def run() -> int:
        seen.clear()
        asyncio.run(handle())
        return len(seen)

    return Case(TRADES, name, "trades", run)
