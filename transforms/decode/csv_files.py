"""CSV files read by a mapping: bars and corporate actions. A message is the header and a run of records.

The mapping (`transforms/decode/csv_mapping.py`) travels in the message's request. Numbers are exact digits unless it says
float_image. A record that does not fit is refused alone, with its number in the file; the rest goes on.

`label` says what the stamp of a bar names. `start`: the stamp is ts_open. `end`: ts_open is the stamp less the interval;
a day that ends at midnight belongs to the day before. `session_date`: the stamp only names the session; its date (in
`exchange_zone` when it has a time, as written when it has none) is the session_date, and ts_open is that day's midnight there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.errors import InvalidValueError
from lake.instants import EPOCH
from lake.values import NumberKind
from transforms.decode.csv_mapping import CsvMapping, parse_mapping
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at, json_object
from transforms.numbers import (
    MOST_DIGITS,
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    exact_decimal,
    lowest_terms,
    restored,
)

_PRICES = ("open", "high", "low", "close")
_MOST_COUNT = 2**63 - 1
_FIRST, _LAST = date(1800, 1, 1), date(2199, 12, 31)


@dataclass(frozen=True, slots=True)
class _File:
    """What is known about a message beside its records."""

    message: int
    mapping: CsvMapping
    zone: ZoneInfo
    stamp_zone: ZoneInfo
    delivered: datetime | None
    hints: dict[str, object]


class _NoFactError(Exception):
    """A record that holds no fact by design."""


def decode_bars(messages: pa.Table) -> Decoded:
    """Return the bars of CSV messages whose mapping says `kind = "bars"`."""
    return _decode(messages, BARS, "bars", _bar)


def decode_actions(messages: pa.Table) -> Decoded:
    """Return the corporate actions of CSV messages whose mapping says `kind = "actions"`."""
    return _decode(messages, CORPORATE_ACTIONS, "actions", _action)


def _decode(
    messages: pa.Table, table: str, kind: str, read: Callable[[_File, dict[str, str | None]], dict[str, object]]
) -> Decoded:
    rows, refused, skipped = Rows(table), Refusals(), 0
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for message, payload in enumerate(payloads(messages)):
        asked = json_object(requests[message])
        try:
            mapping = parse_mapping(asked.get("mapping"))
            if mapping.kind != kind:
                raise InvalidValueError(f"the mapping is for {mapping.kind}, this feed is {kind}")
        except InvalidValueError as error:
            refused.add_message(message, "invalid_mapping", asked.get("mapping"), str(error))
            continue
        file = _file(message, mapping, delivered_at(headers[message], requests[message]))
        first = asked.get("first_record")
        before = first if isinstance(first, int) and not isinstance(first, bool) else 0
        try:
            for ordinal, record in enumerate(_records(payload, mapping)):
                try:
                    if isinstance(record, NumberRefusedError):
                        raise record
                    rows.add(message, ordinal, read(file, record))
                except _NoFactError:
                    skipped += 1
                except NumberRefusedError as error:
                    where = f"record {before + ordinal + 1}: {error.value}"
                    refused.add(message, ordinal, table, error.rule, where, error.expected)
        except NumberRefusedError as error:
            refused.add_message(message, error.rule, error.value, error.expected)
    return decoded({table: rows.to_table()}, refused, messages.num_rows, skipped)


def _file(message: int, mapping: CsvMapping, delivered: datetime | None) -> _File:
    hints: dict[str, object] = {
        "mic": mapping.mic,
        "exchange_zone": mapping.exchange_zone,
        "asset_class": mapping.asset_class,
        "name": mapping.name,
    }
    return _File(message, mapping, mapping.zone(), ZoneInfo(mapping.time_zone), delivered, hints)


def _records(payload: bytes, mapping: CsvMapping) -> Iterator[dict[str, str | None] | NumberRefusedError]:
    """Yield each record as our column -> text (None for a null mark), or why it is none. Raises when the header does not fit."""
    text = payload.decode(mapping.encoding, "surrogateescape").removeprefix("\ufeff")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter)
    try:
        header = [name.strip() for name in next(lines, [])]
    except csv.Error as error:
        raise NumberRefusedError("malformed", text[:200], f"a header line ({error})") from error
    places: dict[str, int] = {}
    for ours, theirs in mapping.columns.items():
        if header.count(theirs) != 1:
            rule = "ambiguous_column" if theirs in header else "missing_column"
            raise NumberRefusedError(rule, ", ".join(header), f"one column {theirs!r}")
        places[ours] = header.index(theirs)
    while True:
        try:
            values = next(lines, None)
        except csv.Error as error:
            yield NumberRefusedError("malformed", str(error), "a record of comma-separated values")
            continue
        if values is None:
            return
        if values:
            yield _record(values, places, len(header), mapping)


def _record(
    values: list[str], places: dict[str, int], width: int, mapping: CsvMapping
) -> dict[str, str | None] | NumberRefusedError:
    line = mapping.delimiter.join(values)
    if any("\udc80" <= char <= "\udcff" for char in line):
        return NumberRefusedError("encoding", line, f"text in {mapping.encoding}")
    if len(values) != width:
        return NumberRefusedError("column_count", line, f"{width} columns")
    found = {ours: values[place].strip() for ours, place in places.items()}
    return {ours: None if text in mapping.null_marks else text for ours, text in found.items()}


def _bar(file: _File, record: dict[str, str | None]) -> dict[str, object]:
    """Return one bar."""
    mapping = file.mapping
    if all(record[key] is None for key in _PRICES):
        raise _NoFactError
    missing = [key for key in _PRICES if record[key] is None]
    if missing:
        raise NumberRefusedError("incomplete_bar", None, f"{', '.join(missing)}: a price, as the others have")
    opened, session = _placed(file, record["time"])
    end = _bar_end(file, opened)
    return {
        **file.hints,
        **{key: _price(file, record[key]) for key in _PRICES},
        "symbol": _symbol(file, record),
        "currency": record.get("currency") or mapping.currency,
        "session_date": session,
        "interval": mapping.interval,
        "ts_open": opened,
        "volume": _volume(file, record.get("volume")),
        "trade_count": _count(record.get("trade_count")),
        "vwap": _price(file, record.get("vwap")),
        "provider_adjusted_close": _price(file, record.get("provider_adjusted_close")),
        "basis": mapping.basis,
        "price_type": mapping.price_type,
        "is_final": file.delivered is None or end <= file.delivered,
        "delivered_at": file.delivered,
    }


def _action(file: _File, record: dict[str, str | None]) -> dict[str, object]:
    """Return one corporate action."""
    mapping = file.mapping
    symbol = _symbol(file, record)
    word = record.get("kind") if "kind" in mapping.columns else next(iter(mapping.kinds))
    kind = mapping.kinds.get(word or "", word)
    if kind not in ("split", "cash_dividend"):
        raise NumberRefusedError("unsupported_action", word, "split or cash_dividend, or a word of [kinds]")
    ex_date = _date(mapping, record.get("ex_date"), "ex_date")
    status = record.get("status") or mapping.status
    if status not in ("announced", "confirmed", "rescinded"):
        raise NumberRefusedError("unknown_status", status, "announced, confirmed or rescinded")
    action: dict[str, object] = {
        **file.hints,
        "symbol": symbol,
        "currency": record.get("currency") or mapping.currency,
        "action_key": record.get("action_key") or f"{symbol}:{'split' if kind == 'split' else 'dividend'}:{ex_date}",
        "kind": kind,
        "ex_date": ex_date,
        "status": status,
        "delivered_at": file.delivered,
    }
    for name in ("record_date", "pay_date", "announcement_date"):
        action[name] = None if record.get(name) is None else _date(mapping, record[name], name)
    if kind == "split":
        new, old = _ratio(mapping, record)
        return action | {"ratio_new": new, "ratio_old": old}
    if record.get("amount") is None:
        raise NumberRefusedError("missing_field", None, "amount: cash per share")
    return action | {"amount": _price(file, record["amount"]), "share_basis": mapping.share_basis}


def _ratio(mapping: CsvMapping, record: dict[str, str | None]) -> tuple[int, int]:
    """Return (new, old) of columns ratio_new and ratio_old, or of one such as `4:1`, `4/1` or `4`."""
    new, old = record.get("ratio_new"), record.get("ratio_old")
    whole = record.get("ratio")
    if new is None and old is None and whole is not None:
        new, _, old = whole.replace("/", ":").partition(":")
        old = old or "1"
    if new is None or old is None:
        raise NumberRefusedError("missing_field", whole, "ratio_new and ratio_old, or ratio as NEW:OLD")
    sides = [exact_decimal(_plain(mapping, side.strip()), PRICE_SCALE) for side in (new, old)]
    return lowest_terms(sides[0], sides[1])


def _symbol(file: _File, record: dict[str, str | None]) -> str:
    symbol = record.get("symbol") if "symbol" in file.mapping.columns else file.mapping.symbol
    if not symbol:
        raise NumberRefusedError("missing_symbol", symbol, "a symbol")
    return symbol


def _plain(mapping: CsvMapping, text: str) -> str:
    if mapping.thousands_mark:
        text = text.replace(mapping.thousands_mark, "")
    return text.replace(mapping.decimal_mark, ".") if mapping.decimal_mark != "." else text


def _number(file: _File, text: str, exponent: int, scale: int, digits: int) -> Decimal:
    plain = _plain(file.mapping, text)
    if file.mapping.numbers == NumberKind.FLOAT_IMAGE:
        try:
            return restored(float(plain.replace("_", "?")), scale, digits)
        except ValueError as error:
            raise NumberRefusedError("malformed_number", text, "a number") from error
    return exact_decimal(_shifted(plain, exponent), scale, digits)


def _shifted(text: str, exponent: int) -> str:
    """Return digits x 10^exponent as digits: only the point moves. What is no plain number comes back as it is."""
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    head, _, tail = digits.partition(".")
    if exponent == 0 or not (head + tail).isdigit():
        return text
    if exponent > 0:
        tail = tail.ljust(exponent, "0")
        return sign + head + tail[:exponent] + ("." + tail[exponent:] if tail[exponent:] else "")
    head = head.rjust(1 - exponent, "0")
    return f"{sign}{head[:exponent]}.{head[exponent:]}{tail}"


def _price(file: _File, text: str | None) -> Decimal | None:
    return None if text is None else _number(file, text, file.mapping.price_exponent, PRICE_SCALE, MOST_DIGITS)


def _volume(file: _File, text: str | None) -> Decimal | None:
    return None if text is None else _number(file, text, file.mapping.volume_exponent, VOLUME_SCALE, MOST_VOLUME_DIGITS)


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 19 or int(text) > _MOST_COUNT:
        raise NumberRefusedError("malformed_number", text, "trade_count: a whole number")
    return int(text)


def _placed(file: _File, text: str | None) -> tuple[datetime, date | None]:
    """Return (ts_open, session date where the stamp itself names it)."""
    mapping = file.mapping
    stamp, has_time = _stamp(file, text)
    if mapping.label == "session_date":
        day = stamp.astimezone(file.zone).date() if has_time else stamp.date()
        return _midnight(day, file.zone), day
    if mapping.label == "start":
        return stamp.astimezone(UTC), None
    if mapping.interval.endswith("m"):
        return stamp.astimezone(UTC) - timedelta(minutes=int(mapping.interval[:-1])), None
    last = (stamp.astimezone(UTC) - timedelta(microseconds=1)).astimezone(file.zone).date()
    day = last - timedelta(days=int(mapping.interval[:-1]) - 1)
    return _midnight(day, file.zone), day


def _stamp(file: _File, text: str | None) -> tuple[datetime, bool]:
    """Return (aware instant, whether a time of day was written)."""
    form = file.mapping.time_format
    try:
        if text is None:
            raise ValueError("nothing there")
        if form in ("epoch_s", "epoch_ms"):
            if len(text) > 20 or not text.isascii() or not text.removeprefix("-").isdecimal():
                raise ValueError("not whole seconds or milliseconds")
            unit = timedelta(seconds=1) if form == "epoch_s" else timedelta(milliseconds=1)
            stamp, has_time = EPOCH + int(text) * unit, True
        else:
            stamp = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007  zone below
            has_time = len(text) > len("2020-08-31") if form == "iso" else any(code in form for code in ("%H", "%I", "%X", "%c"))
        if stamp.tzinfo is None:
            stamp = stamp.replace(tzinfo=file.stamp_zone)
        if not _FIRST < stamp.date() < _LAST:
            raise ValueError("outside 1800 to 2199")
        stamp.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NumberRefusedError("malformed_date", text, f"a stamp as {form} ({error})") from error
    return stamp, has_time


def _date(mapping: CsvMapping, text: str | None, name: str) -> date:
    form = mapping.date_format
    try:
        if text is None:
            raise ValueError("nothing there")
        day = date.fromisoformat(text) if form == "iso" else datetime.strptime(text, form).date()  # noqa: DTZ007  a date has no zone
        if not _FIRST < day < _LAST:
            raise ValueError("outside 1800 to 2199")
    except (ValueError, OverflowError) as error:
        raise NumberRefusedError("malformed_date", text, f"{name}: a date as {form} ({error})") from error
    return day


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)


def _bar_end(file: _File, opened: datetime) -> datetime:
    """Return when the interval surely has ended: after its minutes, or at the exchange's midnight."""
    interval = file.mapping.interval
    if interval.endswith("m"):
        return opened + timedelta(minutes=int(interval[:-1]))
    days = {"1d": 1, "5d": 5, "1wk": 7, "1mo": 31, "3mo": 92}[interval]
    return _midnight(opened.astimezone(file.zone).date() + timedelta(days=days), file.zone)
