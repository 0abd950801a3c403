"""What the texts of a CSV record mean by its mapping: numbers, instants, dates, symbols.

`label` says what the stamp of a bar names. `start`: the stamp is ts_open. `end`: ts_open is the stamp less the interval; a
day that ends at midnight belongs to the day before. `last_day`: the stamp's date ends the week or month that opens on its
first day. `session_date`: the stamp only names the session; its date (in `exchange_zone` when it has a time, as written when it
has none) is the session_date, and ts_open is that day's midnight there. `written_date`: the same by the date as written,
whatever offset stands behind it. Bars of less than a day have no such date: for them both mean start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from lake.instants import EPOCH
from lake.values import NumberKind
from transforms.decode.csv_mapping import EPOCHS, CsvMapping, is_interval, known_zone
from transforms.decode.exchange_symbols import hints
from transforms.decode.spans import bar_end, midnight
from transforms.numbers import MOST_DIGITS, PRICE_SCALE, NumberRefusedError, exact_decimal, restored

_FIRST, _LAST = date(1800, 1, 1), date(2199, 12, 31)
_MOST_COUNT = 2**63 - 1
_TELLING = ("symbol", "venue", "currency", "base", "quote")
"""Columns that tell the instrument."""
_DAY_MS = 24 * 3_600_000
_NANOS = re.compile(r"([.,]\d{6})(\d{1,3})(?=\Z|[Zz+\- ])")
_FINER = re.compile(r"[.,]\d{10}")
_CODES_OF_TIME = ("%H", "%I", "%X", "%c")


@dataclass(frozen=True, slots=True)
class File:
    """What is known about a message beside its records.

    groups   what its file's name tells, by the mapping's file_pattern
    zone, stamp_zone   where sessions are counted, and what a stamp without a zone is written in
    """

    mapping: CsvMapping
    groups: Mapping[str, str]
    delivered: datetime | None
    zone: ZoneInfo
    stamp_zone: tzinfo
    interval: str
    met: dict[tuple[str | None, ...], dict[str, object]] = field(default_factory=dict)
    """Instruments met in the message, by what told them."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """An instant as a record tells it: `nanos` beyond its microseconds; whether a time of day and an offset were written."""

    at: datetime
    nanos: int = 0
    has_time: bool = True
    has_offset: bool = False


def file_of(mapping: CsvMapping, name: object, delivered: datetime | None) -> File:
    """Return what a message's mapping and file name say. Raises NumberRefusedError for an interval of another form."""
    stem = name.removesuffix(".gz") if isinstance(name, str) else ""
    found = re.search(mapping.file_pattern, stem[:255]) if mapping.file_pattern else None
    groups = {} if found is None else {key: text for key, text in found.groupdict().items() if text is not None}
    told = groups.get("interval", mapping.interval)
    interval = "60m" if told == "1h" else told
    if not is_interval(interval):
        raise NumberRefusedError("unknown_interval", name, "a file whose name tells an interval like 5m, 1d, 1wk")
    return File(mapping, groups, delivered, mapping.zone(), known_zone(mapping.time_zone), interval)


def who(file: File, record: Mapping[str, str | None], column: str | None = None) -> dict[str, object]:
    """Return symbol, currency and hints of a record, or of its wide column called `column`."""
    told = (column, *map(record.get, _TELLING))
    found = file.met.get(told)
    if found is None:
        found = file.met[told] = _instrument(file, record, column)
    return found


def _instrument(file: File, record: Mapping[str, str | None], column: str | None) -> dict[str, object]:
    mapping = file.mapping
    known = {**file.groups, **{key: text for key in _TELLING if (text := record.get(key)) is not None}}
    if column is not None:
        known["column"] = column
    told = mapping.symbol if "symbol" not in mapping.columns else None
    plain = told or (_parts(mapping.symbol_parts, known) if mapping.symbol_parts else known.get("symbol") or column)
    if not plain:
        raise NumberRefusedError("missing_symbol", None, "a symbol, in the record, the mapping or the file's name")
    symbol = plain.upper() if mapping.symbol_case == "upper" else plain
    found: dict[str, object] = {
        "mic": known.get("mic") or mapping.mic,
        "asset_class": mapping.asset_class,
        "currency": record.get("currency") or mapping.currency,
    }
    if mapping.symbol_scheme == "suffixed":
        told_by_symbol = hints(symbol)
        found = {**told_by_symbol, **{name: value for name, value in found.items() if value is not None}}
    return {**found, "exchange_zone": mapping.zone_name(), "name": mapping.name, "symbol": symbol}


def _parts(parts: tuple[str, ...], known: Mapping[str, str]) -> str | None:
    """Return parts written out; one that names what is not told is left out. None when nothing told is in any."""
    written: list[str] = []
    told = False
    for part in parts:
        names = re.findall(r"\{(\w+)\}", part)
        if all(name in known for name in names):
            written.append(re.sub(r"\{(\w+)\}", lambda name: known[name[1]], part))
            told = told or bool(names)
    return "".join(written) if told or not any("{" in part for part in parts) else None


def plain(mapping: CsvMapping, text: str) -> str:
    """Return a number's text with our point and without the marks of its thousands."""
    if mapping.thousands_mark:
        text = text.replace(mapping.thousands_mark, "")
    return text.replace(mapping.decimal_mark, ".") if mapping.decimal_mark != "." else text


def number(file: File, text: str, exponent: int = 0, scale: int = PRICE_SCALE, digits: int = MOST_DIGITS) -> Decimal:
    """Return a number x 10^exponent as the mapping's kind of numbers. Raises NumberRefusedError."""
    written = plain(file.mapping, text)
    if file.mapping.numbers == NumberKind.FLOAT_IMAGE:
        try:
            if not written.isascii() or "_" in written:  # Python's floats take digits of any script, and underscores
                raise ValueError("not plain digits")
            return restored(float(written), scale, digits)
        except ValueError as error:
            raise NumberRefusedError("malformed_number", text, "a number") from error
    return exact_decimal(_shifted(written, exponent), scale, digits)


def price(file: File, text: str | None) -> Decimal | None:
    """Return a price; None for none."""
    return None if text is None else number(file, text, file.mapping.price_exponent)


def size(file: File, text: str | None, scale: int, digits: int = MOST_DIGITS) -> Decimal | None:
    """Return a size or volume; None for none."""
    return None if text is None else number(file, text, file.mapping.volume_exponent, scale, digits)


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


def count(text: str | None, name: str) -> int | None:
    """Return a whole number; None for none."""
    if text is None:
        return None
    if not text.isdecimal() or not text.isascii() or len(text) > 19 or int(text) > _MOST_COUNT:
        raise NumberRefusedError("malformed_number", text, f"{name}: a whole number")
    return int(text)


def stamp(file: File, text: str | None) -> Stamp:
    """Return the instant that a record names. Raises NumberRefusedError (malformed_date)."""
    form = file.mapping.time_format
    try:
        if text is None:
            raise ValueError("nothing there")
        found = _read_stamp(file, text, form)
        if not _FIRST < found.at.date() < _LAST:
            raise ValueError("outside 1800 to 2199")
        if found.at.astimezone(UTC).astimezone(found.at.tzinfo).replace(tzinfo=None) != found.at.replace(tzinfo=None):
            raise ValueError(f"no clock in {found.at.tzinfo} showed that time")
    except (ValueError, OverflowError) as error:
        raise NumberRefusedError("malformed_date", text, f"a stamp as {form} ({error})") from error
    return found


def _read_stamp(file: File, text: str, form: str) -> Stamp:
    if form in EPOCHS:
        if len(text) > 20 or not text.isascii() or not text.removeprefix("-").isdecimal():
            raise ValueError("not whole units of time")
        units = int(text)
        micros, nanos = divmod(units, 1_000) if form == "epoch_ns" else (units * EPOCHS[form], 0)
        return Stamp(EPOCH + timedelta(microseconds=micros), nanos)
    if form == "ms_of_day":
        if len(text) > 8 or not text.isascii() or not text.isdecimal() or int(text) > _DAY_MS:
            raise ValueError("not milliseconds of a day")
        return Stamp(
            _midnight_of(file.mapping.date_format, file.groups.get("date"), file.stamp_zone) + timedelta(milliseconds=int(text))
        )
    if form == "iso":
        if _FINER.search(text):
            raise ValueError("finer than nanoseconds")
        finer = _NANOS.search(text)
        at = datetime.fromisoformat(text if finer is None else text[: finer.end(1)] + text[finer.end() :])
        nanos = 0 if finer is None else int(finer[2].ljust(3, "0"))
        has_time = len(text) > len("2020-08-31")
    else:
        at, nanos = datetime.strptime(text, form), 0  # noqa: DTZ007  zone below
        has_time = any(code in form for code in _CODES_OF_TIME)
    has_offset = at.tzinfo is not None
    return Stamp(at if has_offset else at.replace(tzinfo=file.stamp_zone), nanos, has_time, has_offset)


@lru_cache(maxsize=64)
def _midnight_of(form: str, text: str | None, zone: tzinfo) -> datetime:
    return datetime.combine(date_in(form, text, "the file's date"), time(), zone)


def day_of(mapping: CsvMapping, text: str | None, name: str) -> date:
    """Return a date in the mapping's date_format. Raises NumberRefusedError."""
    return date_in(mapping.date_format, text, name)


def date_in(form: str, text: str | None, name: str) -> date:
    """Return a date in a format; as iso, what stands behind the date of an instant is left. Raises NumberRefusedError."""
    try:
        if text is None:
            raise ValueError("nothing there")
        if form == "iso":
            day = datetime.fromisoformat(text).date() if len(text) > len("2020-08-31") else date.fromisoformat(text)
        else:
            day = datetime.strptime(text, form).date()  # noqa: DTZ007  a date has no zone
        if not _FIRST < day < _LAST:
            raise ValueError("outside 1800 to 2199")
    except (ValueError, OverflowError) as error:
        raise NumberRefusedError("malformed_date", text, f"{name}: a date as {form} ({error})") from error
    return day


def placed(file: File, text: str | None) -> tuple[datetime, date | None]:
    """Return (ts_open, session date where the stamp itself names it) of a bar."""
    found, interval, label = stamp(file, text), file.interval, file.mapping.label
    at = found.at.astimezone(UTC)
    if interval[-1] in "ms":
        return at - (_length(interval) if label == "end" else timedelta()), None
    if label == "start":
        return at, None
    if label == "written_date":
        return datetime.combine(found.at.date(), time(), found.at.tzinfo).astimezone(UTC), found.at.date()
    if label == "end":
        last = (at - timedelta(microseconds=1)).astimezone(file.zone).date()
        day = last - timedelta(days=int(interval[:-1]) - 1)
        return midnight(day, file.zone).astimezone(UTC), day
    day = found.at.astimezone(file.zone).date() if found.has_time else found.at.date()
    if label == "last_day":
        first = _first_day(day, interval)
        return midnight(first, file.zone).astimezone(UTC), first
    return midnight(day, file.zone).astimezone(UTC), day


def _length(interval: str) -> timedelta:
    return timedelta(**{"minutes" if interval[-1] == "m" else "seconds": int(interval[:-1])})


def _first_day(last: date, interval: str) -> date:
    """Return the first day of the period that `last` ends."""
    if interval in ("1wk", "5d"):
        return last - timedelta(days=last.weekday())
    if interval.endswith("mo"):
        return last.replace(day=1, month=last.month - (last.month - 1) % int(interval[:-2]))
    return last


def ends(file: File, opened: datetime) -> datetime:
    """Return when the interval surely has ended: after its minutes, or at the exchange's midnight."""
    if file.interval[-1] == "s":
        return opened + _length(file.interval)
    return bar_end(opened, file.interval, file.zone)


def known_when(file: File, opened: datetime, session: date | None) -> tuple[bool, datetime | None]:
    """Return whether a bar has surely ended when the file was delivered, and when it was known where its own end says that."""
    end = ends(file, opened)
    is_final = file.delivered is None or end <= file.delivered
    is_timed = file.interval[-1] == "s" or (file.mapping.asset_class == "fx" and session is not None)
    return is_final, end.astimezone(UTC) if is_timed and is_final else None


def valued(file: File, text: str | None) -> dict[str, object]:
    """Return ts_event, session_date and known_at of a value of a day, or ts_event alone of one with a time.

    A value of a day stands at time_of_day, and is known at known_time or, where that is not told, when the day is over.
    """
    found, mapping = stamp(file, text), file.mapping
    if found.has_time and mapping.label not in ("session_date", "written_date"):
        return {"ts_event": found.at.astimezone(UTC)}
    is_converted = found.has_time and mapping.label == "session_date"
    day = found.at.astimezone(file.zone).date() if is_converted else found.at.date()
    at = datetime.combine(day, time.fromisoformat(mapping.time_of_day), file.zone)
    if mapping.known_time is None:
        known = midnight(day + timedelta(days=1), file.zone)
    else:
        known = datetime.combine(day, time.fromisoformat(mapping.known_time), file.zone)
    return {"ts_event": at.astimezone(UTC), "session_date": day, "known_at": known.astimezone(UTC)}
