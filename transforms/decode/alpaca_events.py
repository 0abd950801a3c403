"""Alpaca beyond prices: corrections and cancels of trades, greeks of chains, and frames in msgpack.

A correction (`c`) names the trade by `oi` and tells what stands instead; a cancel (`x`) names it by `i`. Both are of the day of
their stamp in New York, and ids count within an exchange and a day. In msgpack the stamps are timestamp extensions of 32, 64 or
96 bits, and numbers doubles, whose shortest decimal is the one that the JSON stream writes. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

import msgpack

from transforms.decode.json_digits import Digits, document, exact, instant, joined, rounded, text_of
from transforms.decode.readers import Object, Row, trade_number
from transforms.decode.spans import NEW_YORK
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

GREEKS = ("delta", "gamma", "theta", "vega", "rho")
_CHAIN = re.compile(r"/options/snapshots/([A-Z0-9.]+)")
_GREEK_SCALE, _GREEK_DIGITS = 18, 28


def frame(payload: bytes) -> object:
    """Return what a frame holds, JSON or msgpack; an array of msgpack begins with a byte that no JSON has.

    Raises NumberRefusedError (malformed).
    """
    if not payload or not (0x90 <= payload[0] <= 0x9F or payload[0] in (0xDC, 0xDD)):
        return document(payload)
    try:
        return _plain(msgpack.unpackb(payload, timestamp=0, strict_map_key=True))
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError, OverflowError) as error:
        raise NumberRefusedError("malformed", payload[:200], f"msgpack ({type(error).__name__})") from error


def correction(event: Object, hints: Row, delivered: datetime | None) -> Row:
    """Return a row of normalized.trade_events of a correction. Raises NumberRefusedError."""
    row = _event(event, hints, delivered, ("oi", "op", "os", "oc"))
    return row | {
        "kind": "correction",
        "new_trade_id": _trade_id(event, "ci"),
        "new_price": exact(event.get("cp"), PRICE_SCALE),
        "new_size": exact(event.get("cs"), SIZE_SCALE),
        "new_conditions": joined(event.get("cc")),
    }


def cancel(event: Object, hints: Row, delivered: datetime | None) -> Row:
    """Return a row of normalized.trade_events of a cancel; `a` (C cancelled, E error) stands as its condition."""
    return _event(event, hints, delivered, ("i", "p", "s", "a")) | {"kind": "cancel"}


def _event(event: Object, hints: Row, delivered: datetime | None, names: tuple[str, str, str, str]) -> Row:
    """Return what both kinds tell; `names` are those of the id, price, size and conditions of the trade concerned."""
    at, nanos = instant(event.get("t"))
    number, price, size, conditions = names
    return hints | {
        "ts_event": at,
        "ts_event_nanos": nanos,
        "trade_id": _trade_id(event, number),
        "price": exact(event.get(price), PRICE_SCALE),
        "size": exact(event.get(size), SIZE_SCALE),
        "conditions": joined(event.get(conditions)),
        "delivered_at": delivered,
    }


def measures(parts: Object, hints: Row, path: str, delivered: datetime | None) -> Row:
    """Return a row of normalized.option_open_interest of a snapshot: it is of its newest quote or trade."""
    told = [part["t"] for name in ("latestQuote", "latestTrade") if isinstance(part := parts.get(name), dict) and "t" in part]
    at = max((instant(stamp)[0] for stamp in told), default=None)
    if at is None:
        raise NumberRefusedError("missing_timestamp", parts, "t of the latest quote or trade")
    greeks, chain = parts.get("greeks"), _CHAIN.search(path)
    given = greeks if isinstance(greeks, dict) else {}
    return hints | {
        "ts_event": at,
        "delivered_at": delivered,
        "underlying": None if chain is None else chain[1],
        "implied_volatility": _greek(parts.get("impliedVolatility")),
        **{name: _greek(given.get(name)) for name in GREEKS},
    }


def _greek(value: object) -> Decimal | None:
    return None if value is None else rounded(value, _GREEK_SCALE, _GREEK_DIGITS)


def _trade_id(event: Object, name: str) -> str | None:
    number = trade_number(event.get(name))
    day = instant(event.get("t"))[0].astimezone(NEW_YORK).date()
    return None if number is None else f"{day}:{text_of(event.get('x')) or ''}:{number}"


def _plain(value: object) -> object:
    """Return a msgpack value as the JSON stream would give it. Raises ValueError for what JSON has not."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number of a market")
        return Digits(repr(value))
    if isinstance(value, msgpack.Timestamp):
        if abs(value.seconds) >= 1 << 34:
            raise ValueError(f"{value.seconds} s is no time of a market")
        whole = datetime.fromtimestamp(value.seconds, UTC)
        return f"{whole:%Y-%m-%dT%H:%M:%S}.{value.nanoseconds:09d}Z"
    if value is None or isinstance(value, bool | int | str):
        return value
    raise ValueError(f"{type(value).__name__} is no value of the stream")
