"""The two forms of Alpha Vantage's time series, JSON and CSV, as one value; and what of its answers is a refusal."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from transforms.decode.delivery import zone_named
from transforms.decode.json_digits import document, text_of
from transforms.numbers import NumberRefusedError

META = "Meta Data"
_REFUSING = frozenset({"Error Message", "Note", "Information", "message"})
_ARTIFICIAL = re.compile(r"premium|artificial", re.IGNORECASE)
QUOTE_CSV_HEAD = b"symbol,open,high,low,price,"
_NUMBERED = re.compile(r"\d+[a-z]?[.:]\s*")
_MINUTES = re.compile(r"\b(1|5|15|30|60)min\b")
_WORDS = {"daily": "1d", "weekly": "1wk", "monthly": "1mo"}
_CSV_HEAD = re.compile(rb"(time|timestamp),", re.IGNORECASE)
_STAMP = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?\Z")
_CRYPTO_FUNCTIONS = ("DIGITAL_CURRENCY_", "CRYPTO_INTRADAY")
_STOCK_ZONE, _CURRENCY_ZONE = "US/Eastern", "UTC"
_FIAT_CODES = (
    "AED ARS AUD BGN BHD BRL CAD CHF CLP CNH CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW KWD KZT MAD MXN MYR "
    "NGN NOK NZD OMR PEN PHP PKR PLN QAR RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD UYU VND ZAR"
)
_FIAT = frozenset(_FIAT_CODES.split())
"""Currencies of states; a pair with any other code is one of a digital currency."""


@dataclass(frozen=True, slots=True)
class Series:
    """A time series as it came: rows of (stamp, values by name), newest first.

    symbol        of pairs: `EUR/USD`
    asset_class   stock, fx or crypto
    refreshed     an instant up to which the answer knows the market; None where it tells none
    """

    symbol: str
    asset_class: str
    interval: str
    zone: ZoneInfo
    zone_name: str
    refreshed: datetime | None
    rows: tuple[tuple[str, Mapping[str, object]], ...]


def is_refusal(found: object) -> bool:
    """Whether an answer says why there is no data, whatever its words, or is `{}`: nothing in it is data."""
    if not isinstance(found, dict):
        return False
    message = found.get("message")
    if isinstance(found.get("endpoint"), str) and isinstance(message, str) and _ARTIFICIAL.search(message):
        return True  # a premium endpoint shows a sample
    return all(key in _REFUSING and isinstance(value, str) for key, value in found.items())


def answer_of(payload: bytes) -> object:
    """Return the JSON of an answer; None of one that says nothing: empty, a page, a refusal. Raises NumberRefusedError."""
    body = payload.strip()
    found = None if not body or body.startswith(b"<") else document(body)
    return None if is_refusal(found) else found


def is_csv(body: bytes) -> bool:
    """Whether a body is CSV: a refusal of a CSV request begins with a brace."""
    return _CSV_HEAD.match(body) is not None


def named(values: Mapping[str, object]) -> dict[str, object]:
    """Return values by the name after the number: `4. close` is `close`."""
    return {_NUMBERED.sub("", key, count=1): value for key, value in values.items()}


def stamp_of(text: str, zone: ZoneInfo) -> datetime:
    """Return a stamp of `zone`, a date alone its midnight. Raises NumberRefusedError."""
    if _STAMP.match(text):
        try:
            found = datetime.fromisoformat(text)
            if 1900 <= found.year <= 2199:
                return found.replace(tzinfo=zone)
        except ValueError as error:
            raise NumberRefusedError("timestamp", text, "a date or a time, 1900 to 2199") from error
    raise NumberRefusedError("timestamp", text, "a date or a time, 1900 to 2199")


def pair_class(base: str, quote: str) -> str:
    """Return `fx` for two currencies of states, else `crypto`."""
    return "fx" if {base, quote} <= _FIAT else "crypto"


def json_series(found: object) -> Series:
    """Return the series of a JSON answer. Raises NumberRefusedError when it has none, or contradicts itself."""
    meta = found.get(META) if isinstance(found, dict) else None
    series = [(key, value) for key, value in found.items() if key != META] if isinstance(found, dict) else []
    if not isinstance(meta, dict) or len(series) != 1 or not isinstance(series[0][1], dict):
        told = sorted(found)[:5] if isinstance(found, dict) else type(found).__name__
        raise NumberRefusedError("unsupported_answer", told, "Meta Data and one time series")
    key, entries = series[0]
    about = named(meta)
    symbol, asset_class = _subject(about)
    zone_name = (text_of(about.get("Time Zone")) or "").removesuffix(" Time")
    zone = zone_named(zone_name)
    if zone is None:
        raise NumberRefusedError("unknown_zone", zone_name, "Time Zone: an IANA zone")
    rows = []
    for stamp, values in entries.items():
        if not isinstance(values, dict):
            raise NumberRefusedError("malformed", values, "values by name")
        rows.append((stamp, named(values)))
    if rows and not any(name.startswith(("open", "price (")) for name in rows[0][1]):
        raise NumberRefusedError("unsupported_answer", sorted(rows[0][1]), "open, high, low, close")
    refreshed = text_of(about.get("Last Refreshed"))
    known = stamp_of(refreshed, zone).astimezone(UTC) if refreshed is not None and _STAMP.match(refreshed) else None
    interval = _interval(key, about.get("Information"), about.get("Interval"))
    return Series(symbol, asset_class, interval, zone, zone_name, known, tuple(rows))


def _subject(told: Mapping[str, object]) -> tuple[str, str]:
    symbol = text_of(told.get("Symbol"))
    if symbol is not None:
        return symbol, "stock"
    base, quote = text_of(told.get("From Symbol")), text_of(told.get("To Symbol"))
    if base is not None and quote is not None:
        return f"{base}/{quote}", pair_class(base, quote)
    base, quote = text_of(told.get("Digital Currency Code")), text_of(told.get("Market Code"))
    if base is not None and quote is not None:
        return f"{base}/{quote}", "crypto"
    raise NumberRefusedError("missing_symbol", sorted(told), "Symbol, or two currencies")


def _interval(*told: object) -> str:
    """Return the interval that the words agree on. Raises NumberRefusedError when they do not, or say none."""
    found = set()
    for text in told:
        words = str(text).lower() if isinstance(text, str) else ""
        minutes = _MINUTES.search(words)
        found |= {f"{minutes[1]}m"} if minutes else {value for word, value in _WORDS.items() if word in words}
    if len(found) != 1:
        raise NumberRefusedError("unknown_interval", " | ".join(str(text) for text in told), "words that name one interval")
    return found.pop()


def csv_series(payload: bytes, params: Mapping[str, str]) -> Series:
    """Return the series of a CSV answer, which names neither its symbol nor its interval: the request does.

    Raises NumberRefusedError when the request does not say them, or the body is no CSV.
    """
    function = params.get("function", "")
    words = function.lower().removeprefix("time_series_").removeprefix("digital_currency_")
    interval = _interval(params.get("interval")) if "intraday" in words else _interval(words)
    if function.startswith("FX_"):
        base, quote = params.get("from_symbol", ""), params.get("to_symbol", "")
        symbol, asset_class, zone_name = f"{base}/{quote}" if base and quote else "", pair_class(base, quote), _CURRENCY_ZONE
    elif function.startswith(_CRYPTO_FUNCTIONS):
        base, quote = params.get("symbol", ""), params.get("market", "")
        symbol, asset_class, zone_name = f"{base}/{quote}" if base and quote else "", "crypto", _CURRENCY_ZONE
    else:
        symbol, asset_class, zone_name = params.get("symbol", ""), "stock", _STOCK_ZONE
    zone = zone_named(zone_name)
    if not symbol or zone is None or not function.startswith(("FX_", "TIME_SERIES_", *_CRYPTO_FUNCTIONS)):
        raise NumberRefusedError("missing_symbol", dict(params), "function and symbol in the request: CSV names neither")
    try:
        head, *lines = csv.reader(io.StringIO(payload.decode("utf-8-sig")), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise NumberRefusedError("malformed", payload[:200], f"CSV in UTF-8 ({error})") from error
    names = [name.strip().lower().replace("_", " ") for name in head[1:]]
    rows = tuple((line[0], dict(zip(names, line[1:], strict=False))) for line in lines if line)
    return Series(symbol, asset_class, interval, zone, zone_name, None, rows)


def csv_records(body: bytes) -> list[dict[str, object]]:
    """Return the records of a CSV answer by the names that JSON has. Raises NumberRefusedError (malformed)."""
    try:
        head, *lines = csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise NumberRefusedError("malformed", body[:200], f"CSV in UTF-8 ({error})") from error
    names = ["latest trading day" if name == "latestDay" else name for name in head]
    return [dict(zip(names, line, strict=False)) for line in lines if line]
