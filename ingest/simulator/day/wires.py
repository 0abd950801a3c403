"""How each provider tells a trade on its socket: the forms of the recorded frames, filled from the tape. Pure.

The id of a trade is its number in the tape after a first one (`FIRST_ID`), so that a checker finds it without a decoder of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from ingest.simulator.day.tape import Trade

FIRST_ID = 3_735_683_259


def at(ts_ns: int) -> str:
    """Return an instant as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(ts_ns // 1_000_000 / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def binance_frame(symbol: str, trade: Trade) -> bytes:
    """Return a frame of `symbol@trade` on a combined stream."""
    data = {
        "e": "trade", "E": trade.ts_ms + 1, "s": symbol, "t": FIRST_ID + trade.number, "p": f"{trade.price:.8f}",
        "q": f"{trade.size / 1_000:.8f}", "T": trade.ts_ms, "m": trade.number % 2 == 0, "M": True,
    }  # fmt: skip
    return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def alpaca_trade(trade: Trade) -> dict[str, object]:
    """Return a trade as REST tells it, under its symbol."""
    return {
        "t": at(trade.ts_ns), "x": "V", "p": trade.price, "s": trade.size, "c": ["@"], "i": FIRST_ID + trade.number, "z": "C",
    }  # fmt: skip


def alpaca_frame(symbol: str, trade: Trade) -> bytes:
    """Return a frame of the stock stream with one trade."""
    return orjson.dumps([{"T": "t", "S": symbol, **alpaca_trade(trade)}])


def finnhub_frame(symbol: str, trade: Trade) -> bytes:
    """Return a frame of the trade stream: no id, no number."""
    told = {"c": ["1", "12"], "p": trade.price, "s": symbol, "t": trade.ts_ms, "v": trade.size}
    return orjson.dumps({"data": [told], "type": "trade"})


def polygon_frame(symbol: str, trade: Trade) -> bytes:
    """Return a frame of the stock stream with one trade."""
    return orjson.dumps(
        [
            {
                "ev": "T", "sym": symbol, "x": 11, "i": str(FIRST_ID + trade.number), "z": 3, "p": trade.price, "s": trade.size,
                "c": [12], "t": trade.ts_ms, "q": trade.number + 1,
            }
        ]
    )  # fmt: skip


FRAMES: dict[str, Callable[[str, Trade], bytes]] = {
    "binance": binance_frame,
    "alpaca": alpaca_frame,
    "finnhub": finnhub_frame,
    "polygon": polygon_frame,
}
"""How each provider that pushes tells a trade."""
