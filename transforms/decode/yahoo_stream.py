"""Yahoo's price stream: PricingData, a protobuf message in base64, alone (version 1) or in `{"type":"pricing","message":…}`.

It tells the newest price of a symbol and no execution: no id, no size, and `day_volume` counts the whole day. An index's price is
a level; any other's is the measure last_price, its volume the measure day_volume; bid and ask are a quote. Prices are float32,
rounded to the message's price hint where that is within one step of the float (`yahoo_values.hinted`).
Kept in raw only: changes, the day's range, sizes (in lots that Yahoo does not define), previous close, strike, expiry, open
interest, supply, market capitalization. Source: PROVIDERS.md section 5, yfinance's pricing.proto; frames made by hand.
"""

from __future__ import annotations

import binascii
from datetime import datetime, timedelta

import pyarrow as pa

from lake.instants import EPOCH
from transforms.decode.decoded import ALTERNATIVE, INDEX_LEVELS, QUOTES, Decoded
from transforms.decode.json_digits import document
from transforms.decode.protobuf_wire import scalar_fields
from transforms.decode.readers import Object, Reader, Row, read_messages
from transforms.decode.yahoo_values import hinted, needed_text
from transforms.numbers import NumberRefusedError

STREAM_TABLES = (QUOTES, INDEX_LEVELS, ALTERNATIVE)
_FIELDS = {
    1: ("symbol", "text"), 2: ("price", "float"), 3: ("time", "sint"), 4: ("currency", "text"), 5: ("exchange", "text"),
    6: ("quote_type", "int"), 7: ("market_hours", "int"), 9: ("day_volume", "sint"), 13: ("name", "text"),
    23: ("bid", "float"), 25: ("ask", "float"), 27: ("price_hint", "sint"),
}  # fmt: skip
_HEARTBEAT, _INDEX = 7, 9
_CLASSES = {8: "equity", 9: "index", 11: "fund", 13: "option", 14: "currency", 18: "future", 20: "etf", 41: "crypto"}
_FIRST_MS, _LAST_MS = 0, 7_258_118_399_999


def decode_stream(messages: pa.Table) -> Decoded:
    """Return quotes, levels and last prices of stream frames; heartbeats and acknowledgements are control."""
    reader = Reader(STREAM_TABLES)

    def read(payload: bytes) -> None:
        told = pricing_of(payload)
        if told is not None:
            _read_pricing(reader, told)

    return read_messages(reader, messages, read)


def pricing_of(payload: bytes) -> Object | None:
    """Return the fields of a frame's PricingData; None of a heartbeat, or of a frame that brings no price.

    Raises NumberRefusedError for a frame that cannot be read.
    """
    encoded = _message(payload)
    told = None if encoded is None else scalar_fields(_unpacked(encoded), _FIELDS)
    return None if told is None or told.get("quote_type") == _HEARTBEAT else told


def _message(payload: bytes) -> str | None:
    """Return the base64 of a frame; None of one that brings no price."""
    body = payload.strip()
    if not body or body.startswith(b"<"):
        return None
    if not body.startswith((b"{", b"[")):
        return body.decode("ascii", "replace")
    found = document(body)
    if not isinstance(found, dict) or (found.get("type") == "pricing" and not isinstance(found.get("message"), str)):
        raise NumberRefusedError("unsupported_event", body[:200], "type pricing with a message")
    return str(found["message"]) if found.get("type") == "pricing" else None


def _unpacked(encoded: str) -> bytes:
    try:
        return binascii.a2b_base64(encoded.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise NumberRefusedError("malformed", encoded[:200], f"base64 ({error})") from error


def _read_pricing(reader: Reader, told: Object) -> None:
    who, at = _who(told), _instant(told.get("time"))
    if told.get("bid") or told.get("ask"):
        reader.add(QUOTES, _quote, who, at, told)
    if told.get("price") and told.get("quote_type") == _INDEX:
        reader.add(INDEX_LEVELS, _number, who, at, "level", told, reader.delivered)
    elif told.get("price"):
        reader.add(ALTERNATIVE, _number, who, at, "last_price", told, reader.delivered)
    if told.get("day_volume"):
        reader.add(ALTERNATIVE, _volume, who, at, told, reader.delivered)


def _who(told: Object) -> Row:
    kind, currency = told.get("quote_type"), told.get("currency")
    asset_class = _CLASSES.get(kind if isinstance(kind, int) else -1)
    is_elsewhere = asset_class in ("index", "future", "fund") or asset_class is None
    return {
        "symbol": needed_text(told.get("symbol"), "symbol"),
        "currency": currency or None,
        "exchange": "US" if asset_class == "option" else told.get("exchange") or None,
        "exchange_zone": "America/New_York" if is_elsewhere and currency in ("USD", None) else "UTC",
        "asset_class": "fx" if asset_class == "currency" else asset_class,
        "name": told.get("name") or None,
    }


def _instant(stamp: object) -> datetime:
    if not isinstance(stamp, int) or not _FIRST_MS < stamp <= _LAST_MS:
        raise NumberRefusedError("timestamp", stamp, "time: milliseconds since 1970")
    return EPOCH + timedelta(milliseconds=stamp)


def _price(told: Object, name: str) -> object:
    value, hint = told.get(name), told.get("price_hint")
    return hinted(value, hint if isinstance(hint, int) else None) if isinstance(value, float) and value else None


def _quote(who: Row, at: datetime, told: Object) -> Row:
    sides = {"bid_price": _price(told, "bid"), "ask_price": _price(told, "ask")}
    return who | {"ts_event": at, "ts_event_nanos": 0} | sides


def _number(who: Row, at: datetime, measure: str, told: Object, delivered: datetime | None) -> Row:
    unit = "points" if measure == "level" else told.get("currency") or None
    return _at(who, at, delivered) | {"measure": measure, "value": _price(told, "price"), "unit": unit}


def _volume(who: Row, at: datetime, told: Object, delivered: datetime | None) -> Row:
    return _at(who, at, delivered) | {"measure": "day_volume", "value": told["day_volume"]}


def _at(who: Row, at: datetime, delivered: datetime | None) -> Row:
    return who | {"ts_event": at, "delivered_at": delivered}
