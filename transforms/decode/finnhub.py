"""Finnhub: the answer of /quote, and frames of the trade stream.

A quote tells the day so far (open, high, low, last price) and no bid or ask: it is a daily bar that is not final, stamped at
the midnight of its market. Its symbol stands in the request alone. `pc` belongs to a session whose date is not told and is
not kept. In the stream `v` = 0 is a price update of an FX or crypto venue, no trade: refused as price_update, so that it is
counted. Trades have no id and no number: identical ones in a frame are so many trades, an identical frame is none
(`ingest/conversation.py`). Prices are JSON numbers taken digit by digit; `t` is the provider's clock, s in quotes, ms in trades.
Source: PROVIDERS.md section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.errors import InvalidValueError
from lake.instants import EPOCH
from lake.values import Basis
from transforms.calendars import NEW_YORK, zone_of
from transforms.decode.decoded import BARS, TRADES, Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import asked, document, exact, is_repeat, joined, text_of
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

_FIRST_S, _LAST_S = -2_208_988_800, 7_258_118_399
"""Stamps from 1900 to 2199: what is outside is no market's."""
_QUOTE = frozenset({"c", "h", "l", "o", "pc", "t"})
_PRICES = {"open": "o", "high": "h", "low": "l", "close": "c"}


def decode_quotes(messages: pa.Table) -> Decoded:
    """Return the daily bars so far that /quote answers tell; a quote of zeros (an unknown symbol) is control."""
    into, refused = Rows(BARS), Refusals()
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for index, payload in enumerate(payloads(messages)):
        try:
            found = None if _is_words(payload) else document(payload)
            if found is None or _is_error(found):
                continue
            if not isinstance(found, dict) or not set(found) >= _QUOTE:
                raise NumberRefusedError("unsupported_answer", payload[:200], "a quote: c, h, l, o, pc, t")
            if not any(found[key] for key in ("c", "h", "l", "o", "t")) or found["c"] is None:
                continue
            symbol = asked(requests[index])[1].get("symbol")
            into.add(index, 0, _bar(symbol, found, delivered_at(headers[index], requests[index])))
        except NumberRefusedError as error:
            refused.add_message(index, error.rule, error.value, error.expected)
    return decoded({BARS: into.to_table()}, refused, messages.num_rows)


def decode_trades(messages: pa.Table) -> Decoded:
    """Return the trades of stream frames; pings, errors and frames that repeat another are control."""
    into, refused = Rows(TRADES), Refusals()
    requests = texts(messages, "request")
    for index, payload in enumerate(payloads(messages)):
        if not payload.strip() or is_repeat(requests[index]):
            continue
        try:
            found = document(payload)
            kind = found.get("type") if isinstance(found, dict) else None
            if kind in ("ping", "error"):
                continue
            entries = found.get("data") if isinstance(found, dict) and kind == "trade" else None
            if not isinstance(entries, list):
                raise NumberRefusedError("unsupported_event", payload[:200], "type trade with data, ping or error")
            _read_trades(index, entries, into, refused)
        except NumberRefusedError as error:
            refused.add_message(index, error.rule, error.value, error.expected)
    return decoded({TRADES: into.to_table()}, refused, messages.num_rows)


def _is_words(payload: bytes) -> bool:
    """An empty body, an outage page, or the plain text of a 429."""
    body = payload.strip()
    return not body or body.startswith(b"<") or b"API limit reached" in body[:200]


def _is_error(found: object) -> bool:
    return isinstance(found, dict) and isinstance(found.get("error"), str)


def _bar(symbol: str | None, quote: Mapping[str, object], delivered: datetime | None) -> dict[str, object]:
    if not symbol:
        raise NumberRefusedError("missing_symbol", symbol, "a symbol in the request: the answer names none")
    told = hints(symbol)
    traded = EPOCH + timedelta(seconds=_stamp(quote["t"], 1))
    zone_name = _zone(told)
    zone = ZoneInfo(zone_name)
    day = traded.astimezone(zone).date()
    return {
        **told,
        **{name: exact(quote[letter], PRICE_SCALE) for name, letter in _PRICES.items()},
        "symbol": symbol,
        "session_date": day,
        "interval": "1d",
        "ts_open": datetime.combine(day, datetime.min.time(), zone),
        "basis": Basis.AS_TRADED.value,
        "price_type": "mid" if told.get("asset_class") == "fx" else "trade",
        "is_final": False,
        "delivered_at": delivered,
    }


def _zone(told: Mapping[str, object]) -> str:
    if told.get("asset_class") == "crypto":
        return "UTC"
    mic = told.get("mic")
    try:
        return NEW_YORK if mic is None else zone_of(str(mic))
    except InvalidValueError as error:
        raise NumberRefusedError("unknown_venue", mic, "a MIC with a calendar") from error


def _read_trades(message: int, entries: list[object], into: Rows, refused: Refusals) -> None:
    for ordinal, entry in enumerate(entries):
        try:
            into.add(message, ordinal, _trade(entry))
        except NumberRefusedError as error:
            refused.add(message, ordinal, TRADES, error.rule, error.value, error.expected)


def _trade(entry: object) -> dict[str, object]:
    if not isinstance(entry, dict):
        raise NumberRefusedError("malformed", entry, "an object")
    symbol = text_of(entry.get("s"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", entry.get("s"), "s: a symbol")
    size = exact(entry.get("v"), SIZE_SCALE)
    if not size:
        raise NumberRefusedError("price_update", f"{symbol} {entry.get('p')}", "v > 0: a trade has a size")
    return {
        **hints(symbol),
        "symbol": symbol,
        "ts_event": EPOCH + timedelta(milliseconds=_stamp(entry.get("t"), 1_000)),
        "ts_event_nanos": 0,
        "price": exact(entry.get("p"), PRICE_SCALE),
        "size": size,
        "conditions": joined(entry.get("c")),
    }


def _stamp(value: object, per_second: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not _FIRST_S <= value // per_second <= _LAST_S:
        raise NumberRefusedError("timestamp", value, "UNIX time from 1900 to 2199")
    return value
