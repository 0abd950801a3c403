"""How each provider tells a trade on its socket: the forms of the recorded frames, filled from the tape. Pure.

The id of a trade is its number in the tape after a first one (`FIRST_ID`), so that a checker finds it without a decoder of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

import orjson

from ingest.simulator.day.tape import MINUTE_NS, NANOS_PER_MILLI, Bar, Trade

FIRST_ID = 3_735_683_259
_CENT = 0.01


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


def sip_ns(trade: Trade) -> int:
    """Return when the SIP stamped a trade, as Polygon's history tells it; its stream cuts that to milliseconds (`ts_ms`)."""
    return trade.ts_ns + trade.number * 137_911 % NANOS_PER_MILLI


def polygon_sides(trade: Trade) -> tuple[float, float]:
    """Return the bid and the ask around a trade: a cent on either side."""
    return round(trade.price - _CENT, 2), round(trade.price + _CENT, 2)


def polygon_quote_frame(symbol: str, trade: Trade) -> bytes:
    """Return a frame of the stock stream with the quote that stands with a trade."""
    bid, ask = polygon_sides(trade)
    told = {"ev": "Q", "sym": symbol, "bx": 10, "bp": bid, "bs": trade.size, "ax": 15, "ap": ask, "as": 5}
    return orjson.dumps([{**told, "t": trade.ts_ms, "q": trade.number + 1, "z": 3}])


def polygon_minute_frame(symbol: str, bar: Bar) -> bytes:
    """Return a frame of the stock stream with a minute that is over."""
    told = {
        "ev": "AM", "sym": symbol, "v": bar.volume, "o": bar.open / 100, "c": bar.close / 100, "h": bar.high / 100,
        "l": bar.low / 100, "s": bar.open_ns // NANOS_PER_MILLI, "e": (bar.open_ns + MINUTE_NS) // NANOS_PER_MILLI,
    }  # fmt: skip
    return orjson.dumps([told])


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


def frames_of(provider: str, symbol: str, told: Trade | Bar, channels: Collection[str]) -> list[bytes]:
    """Return how a trade, with the quote beside it, or a minute is told on the channels (Polygon's words) that are wanted."""
    if isinstance(told, Bar):
        return [polygon_minute_frame(symbol, told)]
    frames = [FRAMES[provider](symbol, told)] if "T" in channels else []
    return [*frames, polygon_quote_frame(symbol, told)] if "Q" in channels else frames
