"""Finnhub: the answer of /quote, and trades: frames of the stream and answers of /stock/tick.

A quote tells the day so far (open, high, low, last price) and no bid or ask: it is a daily bar that is not final, stamped at
the midnight of its market. Its symbol stands in the request alone. `pc` belongs to a session whose date is not told and is
not kept. In the stream `v` = 0 is a price update of an FX or crypto venue, no trade: refused as price_update, so that it is
counted. Trades have no id and no number: identical ones in a frame are so many trades, an identical frame is none
(`ingest/conversation.py`). Prices are JSON numbers taken digit by digit; `t` is the provider's clock, s in quotes, ms in trades.
/stock/tick is columns: p, v, t, c and x, the venue, which is kept in raw only, as d and dp of a quote are.
Source: PROVIDERS.md section 2; /stock/tick by Finnhub's documentation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.errors import InvalidValueError
from lake.instants import EPOCH
from lake.values import Basis
from transforms.calendars import NEW_YORK, zone_of
from transforms.decode.decoded import BARS, TRADES, Decoded, payloads, quoted, texts
from transforms.decode.exchange_symbols import hints
from transforms.decode.finnhub_frames import plain_trades
from transforms.decode.json_digits import document, exact, is_repeat, joined, text_of
from transforms.decode.readers import Object, Reader, Row, read_messages
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

_FIRST_S, _LAST_S = -2_208_988_800, 7_258_118_399
"""Stamps from 1900 to 2199: what is outside is no market's."""
_QUOTE = frozenset({"c", "h", "l", "o", "pc", "t"})
_PRICES = {"open": "o", "high": "h", "low": "l", "close": "c"}


def decode_quotes(messages: pa.Table) -> Decoded:
    """Return the daily bars so far that /quote answers tell; a quote of zeros (an unknown symbol) is control."""
    reader = Reader((BARS,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        if found is None:
            return
        if not isinstance(found, dict) or not set(found) >= _QUOTE:
            raise NumberRefusedError("unsupported_answer", payload[:200], "a quote: c, h, l, o, pc, t")
        if any(found[key] for key in ("c", "h", "l", "o", "t")) and found["c"] is not None:
            reader.add(BARS, _bar, reader.params.get("symbol"), found, reader.delivered)

    return read_messages(reader, messages, read)


def decode_trades(messages: pa.Table) -> Decoded:
    """Return the trades of stream frames and ticks; pings, errors and frames that repeat another are control."""
    repeats = [is_repeat(request) for request in texts(messages, "request")]
    plain, left = plain_trades(payloads(messages), repeats)
    index = pa.array(left, pa.int64())
    others = read_trades(messages.take(index))
    rows, refused = (_renumbered(table, index) for table in (others.tables[TRADES], others.refused))
    if rows.num_rows:
        plain = pa.concat_tables([plain, rows]).sort_by([("message_index", "ascending"), ("ordinal", "ascending")])
    return replace(others, tables={TRADES: plain}, refused=refused)


def _renumbered(table: pa.Table, numbers: pa.Array) -> pa.Table:
    """Return rows of some messages with the numbers that these have among all."""
    place = table.schema.get_field_index("message_index")
    return table.set_column(place, table.schema.field(place), numbers.take(table["message_index"]))


def read_trades(messages: pa.Table) -> Decoded:
    """Return the same, one entry after the other."""
    reader = Reader((TRADES,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        kind = found.get("type") if isinstance(found, dict) else None
        if found is None or kind in ("ping", "error"):
            return
        if isinstance(found, dict) and kind == "trade" and isinstance(found.get("data"), list):
            for entry in found["data"]:
                reader.add(TRADES, _trade, entry)
        elif isinstance(found, dict) and kind is None and "p" in found and "s" in found:
            for entry in rows_of(found, ("p", "v", "t"), ("c",)):
                reader.add(TRADES, _trade, {**entry, "s": found["s"]})
        else:
            raise NumberRefusedError("unsupported_event", payload[:200], "type trade with data, ticks, ping or error")

    return read_messages(reader, messages, read)


def answer_of(payload: bytes) -> object:
    """Return the JSON of an answer; None of one that says nothing: empty, a page, a limit's words, an error."""
    body = payload.strip()
    if not body or body.startswith(b"<") or b"API limit reached" in body[:200]:
        return None
    found = document(payload)
    return None if isinstance(found, dict) and isinstance(found.get("error"), str) else found


def rows_of(found: Object, names: tuple[str, ...], may_miss: tuple[str, ...] = ()) -> list[Row]:
    """Return the rows of an answer told in columns. Raises NumberRefusedError where they differ in length."""
    columns = {name: found.get(name) for name in (*names, *may_miss) if found.get(name) is not None or name in names}
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        raise NumberRefusedError("malformed", {name: quoted(column) for name, column in columns.items()}, "columns of one length")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _bar(symbol: str | None, quote: Object, delivered: datetime | None) -> Row:
    if not symbol:
        raise NumberRefusedError("missing_symbol", symbol, "a symbol in the request: the answer names none")
    told = hints(symbol)
    traded = EPOCH + timedelta(seconds=stamp_of(quote["t"], 1))
    zone_name = zone_name_of(told)
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


def zone_name_of(told: Object) -> str:
    """Return the zone of the market that a symbol's hints tell. Raises NumberRefusedError (unknown_venue)."""
    if told.get("asset_class") == "crypto":
        return "UTC"
    mic = told.get("mic")
    try:
        return NEW_YORK if mic is None else zone_of(str(mic))
    except InvalidValueError as error:
        raise NumberRefusedError("unknown_venue", mic, "a MIC with a calendar") from error


def _trade(entry: object) -> Row:
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
        "ts_event": EPOCH + timedelta(milliseconds=stamp_of(entry.get("t"), 1_000)),
        "ts_event_nanos": 0,
        "price": exact(entry.get("p"), PRICE_SCALE),
        "size": size,
        "conditions": joined(entry.get("c")),
    }


def stamp_of(value: object, per_second: int) -> int:
    """Return a stamp of the provider's clock. Raises NumberRefusedError (timestamp)."""
    if not isinstance(value, int) or isinstance(value, bool) or not _FIRST_S <= value // per_second <= _LAST_S:
        raise NumberRefusedError("timestamp", value, "UNIX time from 1900 to 2199")
    return value
