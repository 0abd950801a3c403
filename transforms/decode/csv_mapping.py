"""The mapping that says what the columns of a CSV file are: the contract that the file itself does not bring.

A mapping is a TOML file; `tickhouse import csv` sends it along in the request of every message, so that the bytes stay readable
for ever. Example:

    kind = "bars"                      # or "actions"
    symbol = "AAPL"                    # or columns.symbol
    mic = "XNAS"
    currency = "USD"
    exchange_zone = "America/New_York" # where the session's date is counted
    interval = "1d"
    basis = "as_traded"                # as_traded, split_adjusted, fully_adjusted: never guessed
    price_type = "trade"
    time_format = "%Y-%m-%d %H:%M:%S"  # strptime, or iso, epoch_s, epoch_ms
    time_zone = "UTC"                  # what a stamp without a zone is written in
    label = "session_date"             # what a stamp names: start or end of the bar, or session_date

    [columns]                          # ours = the file's
    time = "Epoch"
    open = "Open"

Also: delimiter, encoding, null_marks, decimal_mark, thousands_mark, asset_class, name, numbers (exact or float_image),
price_exponent and volume_exponent (prices written in 1/10,000 have -4; volumes in thousands 3); for actions date_format,
share_basis, status, and a table [kinds] (the file's word = split or cash_dividend).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from zoneinfo import ZoneInfo

from lake.errors import InvalidValueError
from lake.values import Basis, NumberKind
from transforms.decode.delivery import zone_named

BAR_COLUMNS = (
    "time", "symbol", "open", "high", "low", "close", "volume", "trade_count", "vwap", "provider_adjusted_close", "currency",
)  # fmt: skip
ACTION_COLUMNS = (
    "symbol", "kind", "ex_date", "record_date", "pay_date", "announcement_date", "ratio", "ratio_new", "ratio_old", "amount",
    "currency", "status", "action_key",
)  # fmt: skip
LABELS = ("start", "end", "session_date")
ENCODINGS = ("utf-8", "ascii", "latin-1", "cp1252")
_PRICE_TYPES = ("trade", "bid", "ask", "mid", "nav", "index")
_INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1d", "5d", "1wk", "1mo", "3mo")
_MOST_EXPONENT = 12


@dataclass(frozen=True, slots=True)
class CsvMapping:
    """A mapping, checked. `columns` and `kinds` go from our word to the file's, and from the file's to ours."""

    kind: str
    columns: Mapping[str, str]
    kinds: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","
    encoding: str = "utf-8"
    null_marks: tuple[str, ...] = ("",)
    decimal_mark: str = "."
    thousands_mark: str = ""
    symbol: str | None = None
    mic: str | None = None
    currency: str | None = None
    asset_class: str | None = None
    name: str | None = None
    exchange_zone: str = "UTC"
    time_format: str = "iso"
    time_zone: str = "UTC"
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

    def zone(self) -> ZoneInfo:
        """Return the zone that sessions are counted in."""
        return ZoneInfo(self.exchange_zone)


def parse_mapping(document: object) -> CsvMapping:
    """Return a mapping document (of TOML or JSON), checked. Raises InvalidValueError naming the key and what it may be."""
    if not isinstance(document, dict):
        raise InvalidValueError(f"a CSV mapping is a table of keys, not {type(document).__name__}")
    known = {one.name: one for one in fields(CsvMapping)}
    unknown = sorted(str(key) for key in document if key not in known)
    if unknown:
        raise InvalidValueError(f"CSV mapping has unknown keys {', '.join(unknown)}; there are {', '.join(known)}")
    values: dict[str, object] = dict(document)
    marks = values.get("null_marks")
    if isinstance(marks, list):
        values["null_marks"] = tuple(marks)
    for name in ("columns", "kinds"):
        if not _is_text_table(values.get(name, {})):
            raise InvalidValueError(f"CSV mapping: [{name}] is a table of texts")
    if "kind" not in values or not values.get("columns"):
        raise InvalidValueError("CSV mapping needs `kind` (bars or actions) and a table [columns]")
    mapping = CsvMapping(**values)  # type: ignore[arg-type]  # checked right below, key by key
    _check(mapping)
    return mapping


def _is_text_table(table: object) -> bool:
    return isinstance(table, dict) and all(isinstance(part, str) and part for pair in table.items() for part in pair)


def _check(mapping: CsvMapping) -> None:
    allowed: dict[str, tuple[str, ...]] = {
        "kind": ("bars", "actions"),
        "encoding": ENCODINGS,
        "label": LABELS,
        "interval": _INTERVALS,
        "basis": tuple(Basis),
        "price_type": _PRICE_TYPES,
        "numbers": tuple(NumberKind),
        "share_basis": ("as_paid", "split_adjusted"),
        "status": ("announced", "confirmed", "rescinded"),
        "decimal_mark": (".", ","),
        "thousands_mark": ("", ",", ".", " ", "'", "_"),
    }
    for name, words in allowed.items():
        if getattr(mapping, name) not in words:
            raise InvalidValueError(f"CSV mapping: {name} = {getattr(mapping, name)!r}; expected one of {', '.join(words)}")
    for name in ("symbol", "mic", "currency", "asset_class", "name", "time_format", "date_format"):
        value = getattr(mapping, name)
        is_left_out = value is None and not name.endswith("_format")
        if not is_left_out and not (isinstance(value, str) and value.isprintable() and value):
            raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected text")
    for name in ("time_format", "date_format"):
        _check_format(name, getattr(mapping, name))
    for name in ("exchange_zone", "time_zone"):
        if zone_named(getattr(mapping, name)) is None:
            raise InvalidValueError(f"CSV mapping: {name} = {getattr(mapping, name)!r}; expected an IANA time zone")
    for name in ("price_exponent", "volume_exponent"):
        value = getattr(mapping, name)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _MOST_EXPONENT:
            raise InvalidValueError(f"CSV mapping: {name} = {value!r}; expected a power of ten from -12 to 12")
    if mapping.numbers == NumberKind.FLOAT_IMAGE and (mapping.price_exponent or mapping.volume_exponent):
        raise InvalidValueError("CSV mapping: exponents move the point of exact digits; float images have none")
    if not isinstance(mapping.delimiter, str) or len(mapping.delimiter) != 1 or mapping.delimiter in '"\r\n\0':
        raise InvalidValueError(f"CSV mapping: delimiter = {mapping.delimiter!r}; expected one character")
    if not isinstance(mapping.null_marks, tuple) or not all(isinstance(mark, str) for mark in mapping.null_marks):
        raise InvalidValueError(f"CSV mapping: null_marks = {mapping.null_marks!r}; expected a list of texts")
    _check_columns(mapping)


def _check_format(name: str, form: str) -> None:
    """A format names the year: a stamp is never completed with one of ours."""
    if form == "iso" or (name == "time_format" and form in ("epoch_s", "epoch_ms")):
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


def _check_columns(mapping: CsvMapping) -> None:
    ours = BAR_COLUMNS if mapping.kind == "bars" else ACTION_COLUMNS
    strange = sorted(set(mapping.columns) - set(ours))
    if strange:
        raise InvalidValueError(f"CSV mapping: [columns] has {', '.join(strange)}; {mapping.kind} have {', '.join(ours)}")
    needed = {"time", "open", "high", "low", "close"} if mapping.kind == "bars" else {"ex_date"}
    missing = sorted(needed - set(mapping.columns))
    if missing:
        raise InvalidValueError(f"CSV mapping: [columns] lacks {', '.join(missing)}")
    if mapping.symbol is None and "symbol" not in mapping.columns:
        raise InvalidValueError("CSV mapping: say `symbol` for the whole file, or columns.symbol")
    if mapping.kind == "actions" and "kind" not in mapping.columns and len(mapping.kinds) != 1:
        raise InvalidValueError("CSV mapping: actions need columns.kind, or one entry in [kinds]")
    if not set(mapping.kinds.values()) <= {"split", "cash_dividend"}:
        raise InvalidValueError("CSV mapping: [kinds] maps the file's words to split or cash_dividend")
    if mapping.label == "end" and mapping.interval[-1] not in "md":
        raise InvalidValueError(f"CSV mapping: label = 'end' is understood for minutes and days, not {mapping.interval}")
