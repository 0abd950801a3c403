"""The mapping that says what the columns of a CSV file are: the contract that the file itself does not bring.

A mapping is a TOML file; `tickhouse import csv` sends it along in the request of every message, so that the bytes stay readable
for ever. Those of known layouts are shipped in `transforms/decode/mappings` and named without `.toml`. Example:

    kind = "bars"                      # bars, actions, trades, quotes, book, fx_rates, index_levels
    symbol = "AAPL"                    # or columns.symbol, or symbol_parts
    mic = "XNAS"
    currency = "USD"
    exchange_zone = "America/New_York" # where the session's date is counted
    interval = "1d"
    basis = "as_traded"                # as_traded, split_adjusted, fully_adjusted: never guessed
    price_type = "trade"
    time_format = "%Y-%m-%d %H:%M:%S"  # strptime, iso, epoch_s, epoch_ms, epoch_us, epoch_ns, ms_of_day (day: the file's name)
    time_zone = "UTC"                  # what a stamp without a zone is written in: IANA, or an offset like -05:00
    label = "session_date"             # what a stamp names: start or end of the bar, its last_day, session_date, or written_date

    [columns]                          # ours = the file's, or its number from 1; of several, the first that is not null
    time = "Epoch"                     # several times are joined: ["Date", "Time"]
    open = "Open"

Of the file: delimiter, encoding, header (names, ignored or none; the last two take column numbers and a `width`), skip_lines,
null_marks, decimal_mark, thousands_mark. Of numbers: numbers (exact or float_image), price_exponent and volume_exponent (prices
in 1/10,000 have -4; volumes in thousands 3). Of the file's name: file_pattern, an expression with groups named symbol, date,
interval, or as symbol_parts name them. `symbol_parts = ["FXCM:", "{symbol}", ".{market}"]` writes the symbol from columns and
groups, leaving out a part that has none; symbol_case = "upper"; symbol_scheme = "suffixed" takes the exchange from AZT.OL.
Of one price an instant and column, wide = true: each column not named in [columns] is a symbol or quote currency.

Also asset_class, name; of actions date_format, share_basis, status and [kinds] (the file's word = split or cash_dividend); of
trades and books [sides] (the file's word = buy or sell) and channel; of daily values time_of_day and known_time in
exchange_zone; of rates base_currency, quote_currency, rate_kind; of index levels measure and unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from lake.errors import InvalidValueError
from lake.values import Basis, NumberKind
from transforms.decode.csv_columns import MARKED, OHLC, check_columns
from transforms.decode.delivery import zone_named

Place = str | int
"""A column of the file: its name, or its number from 1."""

LABELS = ("start", "end", "last_day", "session_date", "written_date")
ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252", "cp1250", "shift_jis", "gb18030")
EPOCHS = {"epoch_s": 10**6, "epoch_ms": 10**3, "epoch_us": 1, "epoch_ns": 1}
"""Stamps counted from 1970: microseconds of one; a nanosecond is less than one and kept beside it."""
_TIME_WORDS = ("iso", "ms_of_day", *EPOCHS)
_PRICE_TYPES = ("trade", "bid", "ask", "mid", "nav", "index")
_INTERVAL = re.compile(r"(1|2|5|10|15|20|30|60|90|120|240)m|(1|5|10|15|30)s|1d|5d|1wk|1mo|3mo")
_OFFSET = re.compile(r"(?:UTC)?([+-])(\d\d?):?(\d\d)?\Z")
_MOST_EXPONENT = 12
_LONGEST_PATTERN = 300


@dataclass(frozen=True, slots=True)
class CsvMapping:
    """A mapping, checked. `columns` goes from our word to the file's columns, `kinds` and `sides` from its words to ours."""

    kind: str
    columns: Mapping[str, tuple[Place, ...]]
    version: int = 1
    kinds: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=lambda: {"buy": "buy", "sell": "sell"})
    delimiter: str = ","
    encoding: str = "utf-8"
    header: str = "names"
    skip_lines: int = 0
    width: int | None = None
    wide: bool = False
    null_marks: tuple[str, ...] = ("",)
    decimal_mark: str = "."
    thousands_mark: str = ""
    file_pattern: str | None = None
    symbol: str | None = None
    symbol_parts: tuple[str, ...] = ()
    symbol_case: str = "as_written"
    symbol_scheme: str = "plain"
    mic: str | None = None
    currency: str | None = None
    asset_class: str | None = None
    name: str | None = None
    exchange_zone: str = "UTC"
    time_format: str = "iso"
    time_zone: str = "UTC"
    time_of_day: str = "00:00"
    known_time: str | None = None
    date_format: str = "iso"
    label: str = "start"
    interval: str = "1d"
    basis: str = Basis.AS_TRADED.value
    price_type: str = "trade"
    numbers: str = NumberKind.EXACT.value
    price_exponent: int = 0
    volume_exponent: int = 0
    share_basis: str = "as_paid"
    status: str = "confirmed"
    channel: str = "book"
    base_currency: str | None = None
    quote_currency: str | None = None
    rate_kind: str = "reference"
    measure: str | None = None
    unit: str | None = None

    def zone(self) -> ZoneInfo:
        """Return the zone that sessions are counted in. Raises InvalidValueError where days are not counted in whole hours."""
        found = known_zone(self.exchange_zone)
        if not isinstance(found, ZoneInfo):
            raise InvalidValueError(f"exchange_zone = {self.exchange_zone!r}: days are counted in whole hours of UTC")
        return found

    def zone_name(self) -> str:
        """Return the IANA name of that zone; whole hours of an offset have one."""
        return str(self.zone())


def parse_mapping(document: object) -> CsvMapping:
    """Return a mapping document (of TOML or JSON), checked. Raises InvalidValueError naming the key and what it may be."""
    if not isinstance(document, dict):
        raise InvalidValueError(f"a CSV mapping is a table of keys, not {type(document).__name__}")
    known = {one.name: one for one in fields(CsvMapping)}
    unknown = sorted(str(key) for key in document if key not in known)
    if unknown:
        raise InvalidValueError(f"CSV mapping has unknown keys {', '.join(unknown)}; there are {', '.join(known)}")
    values: dict[str, object] = dict(document)
    for name in ("null_marks", "symbol_parts"):
        marks = values.get(name)
        if isinstance(marks, list):
            values[name] = tuple(marks)
    for name in ("kinds", "sides"):
        if not _is_text_table(values.get(name, {})):
            raise InvalidValueError(f"CSV mapping: [{name}] is a table of texts")
    if "kind" not in values or not values.get("columns"):
        raise InvalidValueError(f"CSV mapping needs `kind` (one of {', '.join(MARKED)}) and a table [columns]")
    values["columns"] = _columns(values["columns"])
    mapping = CsvMapping(**values)  # type: ignore[arg-type]  # checked right below, key by key
    _check_words(mapping)
    _check_texts(mapping)
    _check_numbers(mapping)
    _check_times(mapping)
    _check_symbol(mapping)
    check_columns(mapping)
    return mapping


@lru_cache(maxsize=256)
def known_zone(name: str) -> tzinfo:
    """Return an IANA zone, or a fixed offset like -05:00 or UTC+9. Raises InvalidValueError for anything else."""
    found = zone_named(name)
    if found is not None:
        return found
    offset = _OFFSET.match(name) if isinstance(name, str) else None
    if offset is not None:
        hours, minutes = int(offset[2]), int(offset[3] or 0)
        if hours <= 14 and minutes < 60:
            if minutes == 0 and (hours <= 12 or offset[1] == "+"):
                return ZoneInfo(f"Etc/GMT{'-' if offset[1] == '+' else '+'}{hours}" if hours else "UTC")
            span = timedelta(hours=hours, minutes=minutes)
            return timezone(span if offset[1] == "+" else -span)
    raise InvalidValueError(f"time zone {name!r}; expected an IANA time zone, or an offset like -05:00")


def is_interval(text: object) -> bool:
    """Return whether `text` is an interval that CSV files may have."""
    return isinstance(text, str) and _INTERVAL.fullmatch(text) is not None


def _is_text_table(table: object) -> bool:
    return isinstance(table, dict) and all(isinstance(part, str) and part for pair in table.items() for part in pair)


def _columns(table: object) -> dict[str, tuple[Place, ...]]:
    """Return [columns] with every entry a tuple of places."""
    found: dict[str, tuple[Place, ...]] = {}
    for ours, places in table.items() if isinstance(table, dict) else ():
        listed = places if isinstance(places, list | tuple) else [places]
        are_places = all((isinstance(place, str) and place) or (type(place) is int and 0 < place < 10_000) for place in listed)
        if not isinstance(ours, str) or not listed or not are_places:
            raise InvalidValueError(
                f"CSV mapping: columns.{ours} = {places!r}; expected a name, a number from 1, or a list of them"
            )
        found[ours] = tuple(listed)
    if not found:
        raise InvalidValueError("CSV mapping: [columns] is a table of ours = the file's")
    return found


def _check_words(mapping: CsvMapping) -> None:
    allowed: dict[str, tuple[str, ...]] = {
        "kind": tuple(MARKED),
        "encoding": ENCODINGS,
        "header": ("names", "ignored", "none"),
        "label": LABELS,
        "basis": tuple(Basis),
        "price_type": _PRICE_TYPES,
        "numbers": tuple(NumberKind),
        "share_basis": ("as_paid", "split_adjusted"),
        "status": ("announced", "confirmed", "rescinded"),
        "decimal_mark": (".", ","),
        "thousands_mark": ("", ",", ".", " ", "'", "_"),
        "symbol_case": ("as_written", "upper"),
        "symbol_scheme": ("plain", "suffixed"),
        "rate_kind": ("reference", "spot", "end_of_day"),
    }
    for name, words in allowed.items():
        if getattr(mapping, name) not in words:
            raise InvalidValueError(f"CSV mapping: {name} = {getattr(mapping, name)!r}; expected one of {', '.join(words)}")
    if not is_interval(mapping.interval):
        raise InvalidValueError(
            f"CSV mapping: interval = {mapping.interval!r}; expected one of 1m, 5m, 60m, 1d, 1wk, 1mo and the like"
        )
    if not isinstance(mapping.wide, bool):
        raise InvalidValueError(f"CSV mapping: wide = {mapping.wide!r}; expected true or false")


def _check_texts(mapping: CsvMapping) -> None:
    optional = ("symbol", "mic", "currency", "asset_class", "name", "known_time", "file_pattern", "measure", "unit")
    currencies = ("base_currency", "quote_currency")
    for name in (*optional, *currencies, "time_format", "date_format", "time_of_day", "channel"):
        value = getattr(mapping, name)
        is_left_out = value is None and name in (*optional, *currencies)
        if not is_left_out and not (isinstance(value, str) and value.isprintable() and value):
            raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected text")
    for name in ("null_marks", "symbol_parts"):
        value = getattr(mapping, name)
        if not isinstance(value, tuple) or not all(isinstance(mark, str) for mark in value):
            raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected a list of texts")
    if not isinstance(mapping.delimiter, str) or len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n\0':
        raise InvalidValueError(f"CSV mapping: delimiter = {mapping.delimiter!r}; expected one character")
    if set(mapping.sides.values()) - {"buy", "sell"}:
        raise InvalidValueError("CSV mapping: [sides] maps the file's words to buy or sell")


def _check_numbers(mapping: CsvMapping) -> None:
    for name in ("price_exponent", "volume_exponent"):
        value = getattr(mapping, name)
        if type(value) is not int or abs(value) > _MOST_EXPONENT:
            raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected a power of ten from -12 to 12")
    if mapping.numbers == NumberKind.FLOAT_IMAGE and (mapping.price_exponent or mapping.volume_exponent):
        raise InvalidValueError("CSV mapping: exponents move the point of exact digits; float images have none")
    for name, least, most in (("version", 1, 10_000), ("skip_lines", 0, 1_000), ("width", 1, 10_000)):
        value = getattr(mapping, name)
        if (value is None and name == "width") or (type(value) is int and least <= value <= most):
            continue
        raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected a number from {least} to {most}")


def _check_times(mapping: CsvMapping) -> None:
    for name in ("time_format", "date_format"):
        _check_format(name, getattr(mapping, name))
    for name in ("exchange_zone", "time_zone"):
        try:
            known_zone(getattr(mapping, name))
        except (InvalidValueError, TypeError) as error:
            raise InvalidValueError(f"CSV mapping: {name}: {error}") from error
    mapping.zone()
    for name in ("time_of_day", "known_time"):
        text = getattr(mapping, name)
        try:
            is_time = text is None or time.fromisoformat(text).tzinfo is None
        except ValueError:
            is_time = False
        if not is_time:
            raise InvalidValueError(f"CSV mapping: {name} = {text!r}; expected a time of day like 16:00")


def _check_format(name: str, form: str) -> None:
    """A format names the year: a stamp is never completed with one of ours."""
    if form == "iso" or (name == "time_format" and form in _TIME_WORDS):
        return
    try:
        datetime.strptime("", form)  # noqa: DTZ007  only whether it is a format at all
    except re.error as error:
        raise InvalidValueError(f"CSV mapping: {name} = {form!r} names a part twice") from error
    except ValueError as error:
        if "directive" in str(error) or "stray" in str(error):
            raise InvalidValueError(f"CSV mapping: {name} = {form!r}; {error}") from error
    if not any(code in form for code in ("%Y", "%y", "%c", "%x")):
        raise InvalidValueError(f"CSV mapping: {name} = {form!r} has no year; expected iso or a strptime format")


def _check_symbol(mapping: CsvMapping) -> None:
    """A symbol comes from somewhere: the mapping, a column, the file's name, or the wide columns themselves."""
    groups: set[str] = set()
    if mapping.file_pattern is not None:
        try:
            groups = set(re.compile(mapping.file_pattern).groupindex)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidValueError(f"CSV mapping: file_pattern = {mapping.file_pattern!r}: {error}") from error
        if len(mapping.file_pattern) > _LONGEST_PATTERN:
            raise InvalidValueError(f"CSV mapping: file_pattern is longer than {_LONGEST_PATTERN} characters")
    known = groups | (set(mapping.columns) & {"symbol", "venue", "currency", "base", "quote"})
    asked = {name for part in mapping.symbol_parts for name in re.findall(r"\{(\w+)\}", part)}
    implied = {"base", "quote"} if mapping.kind == "fx_rates" else {"column"} if mapping.wide else set()
    missing = sorted(asked - known - implied)
    if missing:
        raise InvalidValueError(f"CSV mapping: symbol_parts name {', '.join(missing)}; no column and no group of file_pattern")
    has_symbol = mapping.symbol is not None or mapping.symbol_parts or "symbol" in known or mapping.kind == "fx_rates"
    if not has_symbol and not mapping.wide:
        raise InvalidValueError("CSV mapping: say `symbol` for the whole file, columns.symbol, or symbol_parts")
    if mapping.time_format == "ms_of_day" and "date" not in groups:
        raise InvalidValueError("CSV mapping: time_format = 'ms_of_day' needs a group `date` in file_pattern")
    if mapping.header != "names":
        by_name = sorted(str(place) for places in mapping.columns.values() for place in places if isinstance(place, str))
        if by_name or mapping.width is None or mapping.wide:
            told = f"header = {mapping.header!r} needs `width` and columns by number"
            raise InvalidValueError(f"CSV mapping: {told}{', not ' + ', '.join(by_name) if by_name else ''}")
        if any(isinstance(place, int) and place > mapping.width for places in mapping.columns.values() for place in places):
            raise InvalidValueError(f"CSV mapping: [columns] has a number beyond width = {mapping.width}")


def ohlc_sets(mapping: CsvMapping) -> tuple[tuple[str, str], ...]:
    """Return (price type, prefix of its columns) of each bar that a record gives: bid_open to bid_close are one."""
    found = [(mapping.price_type, "")] if set(OHLC) <= set(mapping.columns) else []
    return (*found, *((side, f"{side}_") for side in ("bid", "ask", "mid") if f"{side}_open" in mapping.columns))
