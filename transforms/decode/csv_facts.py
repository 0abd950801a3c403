"""What one CSV record says, kind by kind: the facts it holds, none by design, or why it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from functools import partial

from transforms.decode.alpha_vantage import split_ratio
from transforms.decode.csv_columns import OHLC
from transforms.decode.csv_mapping import ohlc_sets
from transforms.decode.csv_records import Record
from transforms.decode.csv_values import File, count, day_of, known_when, number, placed, plain, price, size, stamp, valued, who
from transforms.decode.decoded import BARS, BOOK_EVENTS, CORPORATE_ACTIONS, FX_RATES, INDEX_LEVELS, QUOTES, TRADES
from transforms.numbers import (
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    SIZE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    exact_decimal,
    lowest_terms,
)

Row = dict[str, object]
Fact = Row | NumberRefusedError
"""A row, or why one of several facts of a record is none; what a reader raises refuses the whole record."""

RATE_SCALE, RATE_DIGITS = 12, 28
LEVEL_SCALE, LEVEL_DIGITS = 12, 38
_CODE = re.compile(r"[A-Z]{3}\Z")
_YES, _NO = {"true", "t", "1", "yes"}, {"false", "f", "0", "no"}


def _each(readers: Iterable[Callable[[], Row | None]]) -> Iterator[Fact]:
    """Yield what each reader gives or refuses: one bad cell does not take its neighbours with it."""
    for read in readers:
        try:
            found = read()
        except NumberRefusedError as error:
            yield error
            continue
        if found is not None:
            yield found


def bars(file: File, record: Record) -> Iterable[Fact]:
    """Yield the bars of a record: one of trades, one of bids and one of asks, or one close a wide column."""
    at = placed(file, record.values["time"])
    if file.mapping.wide:
        return _each(partial(_close, file, record, at, name, text) for name, text in record.wide if text is not None)
    return _each(partial(_whole_bar, file, record, at, *named) for named in ohlc_sets(file.mapping))


def _close(file: File, record: Record, at: tuple[datetime, date | None], name: str, text: str) -> Row:
    return _bar(file, record, at, file.mapping.price_type, name) | {"close": price(file, text)}


def _whole_bar(file: File, record: Record, at: tuple[datetime, date | None], price_type: str, prefix: str) -> Row | None:
    """Return a bar; None where it has no price at all."""
    texts = {name: record.values[prefix + name] for name in OHLC}
    if all(text is None for text in texts.values()):
        return None
    missing = [prefix + name for name, text in texts.items() if text is None]
    if missing:
        raise NumberRefusedError("incomplete_bar", None, f"{', '.join(missing)}: a price, as the others have")
    return _bar(file, record, at, price_type) | {name: price(file, text) for name, text in texts.items()}


def _bar(file: File, record: Record, at: tuple[datetime, date | None], price_type: str, column: str | None = None) -> Row:
    mapping, values = file.mapping, record.values
    opened, session = at
    is_final, known_at = known_when(file, opened, session)
    return who(file, values, column) | {
        "session_date": session,
        "interval": file.interval,
        "ts_open": opened,
        "volume": size(file, values.get("volume"), VOLUME_SCALE, MOST_VOLUME_DIGITS),
        "trade_count": count(values.get("trade_count"), "trade_count"),
        "vwap": price(file, values.get("vwap")),
        "provider_adjusted_close": price(file, values.get("provider_adjusted_close")),
        "basis": mapping.basis,
        "price_type": price_type,
        "is_final": is_final,
        "known_at": known_at,
        "delivered_at": file.delivered,
    }


def actions(file: File, record: Record) -> Iterable[Fact]:
    """Yield the action of a record, or those that its columns `dividend` and `split` tell: none where they are neutral."""
    columns = file.mapping.columns
    if "dividend" not in columns and "split" not in columns:
        return (_action(file, record),)
    return _each((partial(_paid, file, record), partial(_split, file, record)))


def _paid(file: File, record: Record) -> Row | None:
    amount = price(file, record.values.get("dividend"))
    if not amount:
        return None
    return _dated(file, record, "cash_dividend") | {"amount": amount, "share_basis": file.mapping.share_basis}


def _split(file: File, record: Record) -> Row | None:
    text = record.values.get("split")
    told = None if text is None else number(file, text)
    if told is None or told in (0, 1):
        return None
    new, old = split_ratio(format(told.normalize(), "f"))
    return _dated(file, record, "split") | {"ratio_new": new, "ratio_old": old}


def _action(file: File, record: Record) -> Row:
    mapping, values = file.mapping, record.values
    word = values.get("kind") if "kind" in mapping.columns else next(iter(mapping.kinds))
    kind = mapping.kinds.get(word or "", word)
    if kind not in ("split", "cash_dividend"):
        raise NumberRefusedError("unsupported_action", word, "split or cash_dividend, or a word of [kinds]")
    action = _dated(file, record, kind)
    for name in ("record_date", "pay_date", "announcement_date"):
        action[name] = None if values.get(name) is None else day_of(mapping, values[name], name)
    if kind == "split":
        new, old = _ratio(file, record)
        return action | {"ratio_new": new, "ratio_old": old}
    if values.get("amount") is None:
        raise NumberRefusedError("missing_field", None, "amount: cash per share")
    return action | {"amount": price(file, values["amount"]), "share_basis": mapping.share_basis}


def _dated(file: File, record: Record, kind: str) -> Row:
    """Return what every action has."""
    mapping, values = file.mapping, record.values
    instrument = who(file, values)
    ex_date = day_of(mapping, values.get("ex_date"), "ex_date")
    status = values.get("status") or mapping.status
    if status not in ("announced", "confirmed", "rescinded"):
        raise NumberRefusedError("unknown_status", status, "announced, confirmed or rescinded")
    name = f"{instrument['symbol']}:{'split' if kind == 'split' else 'dividend'}:{ex_date}"
    return instrument | {
        "action_key": values.get("action_key") or name,
        "kind": kind,
        "ex_date": ex_date,
        "status": status,
        "delivered_at": file.delivered,
    }


def _ratio(file: File, record: Record) -> tuple[int, int]:
    """Return (new, old) of columns ratio_new and ratio_old, or of one such as `4:1`, `4/1` or `4`."""
    new, old, whole = (record.values.get(name) for name in ("ratio_new", "ratio_old", "ratio"))
    if new is None and old is None and whole is not None:
        new, _, old = whole.replace("/", ":").partition(":")
        old = old or "1"
    if new is None or old is None:
        raise NumberRefusedError("missing_field", whole, "ratio_new and ratio_old, or ratio as NEW:OLD")
    sides = [exact_decimal(plain(file.mapping, side.strip()), PRICE_SCALE) for side in (new, old)]
    return lowest_terms(sides[0], sides[1])


def trades(file: File, record: Record) -> Iterable[Fact]:
    """Yield the trade of a record."""
    values = record.values
    side = values.get("side")
    if side is not None and side not in file.mapping.sides:
        raise NumberRefusedError("side_unknown", side, f"a word of [sides]: {', '.join(file.mapping.sides)}")
    yield _tick(file, record, "price", "size") | {
        "price": price(file, values["price"]),
        "size": size(file, values["size"], SIZE_SCALE),
        "side": None if side is None else file.mapping.sides[side],
        "trade_id": values.get("trade_id"),
        "conditions": values.get("conditions"),
    }


def quotes(file: File, record: Record) -> Iterable[Fact]:
    """Yield the quote of a record: a side may be missing, not both."""
    values = record.values
    if values.get("bid_price") is None and values.get("ask_price") is None:
        raise NumberRefusedError("quote_empty", None, "a bid or an ask")
    yield _tick(file, record) | {
        "bid_price": price(file, values.get("bid_price")),
        "bid_size": size(file, values.get("bid_size"), SIZE_SCALE),
        "ask_price": price(file, values.get("ask_price")),
        "ask_size": size(file, values.get("ask_size"), SIZE_SCALE),
        "conditions": values.get("conditions"),
    }


def book(file: File, record: Record) -> Iterable[Fact]:
    """Yield the price level of a record; a size of 0 removes it."""
    values, sides = record.values, file.mapping.sides
    side, snapshot = values.get("side"), (values.get("is_snapshot") or "false").lower()
    if side not in sides:
        raise NumberRefusedError("side_unknown", side, f"a word of [sides]: {', '.join(sides)}")
    if snapshot not in _YES | _NO:
        raise NumberRefusedError("event_unknown", snapshot, "is_snapshot: true or false")
    yield _tick(file, record, "price", "size", "sequence") | {
        "channel": file.mapping.channel,
        "event": "snapshot" if snapshot in _YES else "update",
        "side": sides[side or ""],
        "price": price(file, values["price"]),
        "size": size(file, values["size"], SIZE_SCALE),
    }


def _tick(file: File, record: Record, *needed: str) -> Row:
    missing = [name for name in needed if record.values.get(name) is None]
    if missing:
        raise NumberRefusedError("missing_field", None, f"{', '.join(missing)}: a number")
    found = stamp(file, record.values["time"])
    return who(file, record.values) | {
        "ts_event": found.at.astimezone(UTC),
        "ts_event_nanos": found.nanos,
        "sequence": count(record.values.get("sequence"), "sequence"),
    }


def fx_rates(file: File, record: Record) -> Iterable[Fact]:
    """Yield the rates of a record: one, or one for each wide column that has a number."""
    mapping, values = file.mapping, record.values
    at = valued(file, values["time"])
    pairs: Iterable[tuple[str | None, str | None]] = record.wide
    if not mapping.wide:
        pairs = ((values.get("quote") or mapping.quote_currency, values.get("rate")),)
    return _each(partial(_rate, file, record, at, quoted, text) for quoted, text in pairs if text is not None)


def _rate(file: File, record: Record, at: Row, quoted: str | None, text: str) -> Row:
    mapping, values = file.mapping, record.values
    base = values.get("base") or mapping.base_currency
    for code in (base, quoted):
        if code is None or not _CODE.match(code):
            raise NumberRefusedError("currency", code, "an ISO 4217 code of three capitals")
    pair: dict[str, str | None] = {**values, "base": base, "quote": quoted, "symbol": values.get("symbol") or f"{base}{quoted}"}
    return (
        who(file, pair)
        | {"asset_class": "fx"}
        | at
        | {
            "currency": quoted,
            "base_currency": base,
            "quote_currency": quoted,
            "rate": number(file, text, mapping.price_exponent, RATE_SCALE, RATE_DIGITS),
            "rate_kind": mapping.rate_kind,
            "delivered_at": file.delivered,
        }
    )


def index_levels(file: File, record: Record) -> Iterable[Fact]:
    """Yield the levels of a record: one, or one for each wide column that has a number."""
    at = valued(file, record.values["time"])
    pairs: Iterable[tuple[str | None, str | None]] = record.wide
    if not file.mapping.wide:
        pairs = ((None, record.values.get("value")),)
    return _each(partial(_level, file, record, at, name, text) for name, text in pairs if text is not None)


def _level(file: File, record: Record, at: Row, name: str | None, text: str) -> Row:
    mapping, values = file.mapping, record.values
    measure = values.get("measure") or mapping.measure
    if measure is None:
        raise NumberRefusedError("missing_field", None, "measure: what the number measures")
    value = number(file, text, mapping.price_exponent, LEVEL_SCALE, LEVEL_DIGITS)
    told = {"measure": measure, "value": value, "unit": values.get("unit") or mapping.unit}
    return who(file, values, name) | at | told | {"delivered_at": file.delivered}


READ: dict[str, tuple[str, Callable[[File, Record], Iterable[Fact]]]] = {
    "bars": (BARS, bars),
    "actions": (CORPORATE_ACTIONS, actions),
    "trades": (TRADES, trades),
    "quotes": (QUOTES, quotes),
    "book": (BOOK_EVENTS, book),
    "fx_rates": (FX_RATES, fx_rates),
    "index_levels": (INDEX_LEVELS, index_levels),
}
"""Kind of a mapping -> the table its records fill, and how."""
