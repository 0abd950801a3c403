"""Yahoo's download of histories in CSV (v7, closed in 2024, and its forerunner): bars, dividends, splits.

Neither symbol nor interval stands in the file: the request says them (`/v7/finance/download/AAPL?interval=1wk`). An interval not
told is read from the dates: no two nearer than four days are weeks, than 27 days months; a single one is a day, Yahoo's default.
v7 (`…,Adj Close,Volume`) is split-adjusted as of delivery; the form before 2017 (`…,Volume,Adj Close`) as traded. Prices are
prints of float32 (`yahoo_values.printed_image`). A week is stamped with one of its days, a month too: ts_open is its Monday, its
first. A row of nulls holds no fact. Dividends of v7 are split-adjusted; a split is written 4:1, before 2020 4/1.
Source: sstrickx/yahoofinance-api's and node-yahoo-finance2's saved files.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.errors import InvalidValueError
from lake.values import Basis
from transforms.calendars import zone_of
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, Decoded
from transforms.decode.readers import Reader, Row, read_messages
from transforms.decode.spans import bar_end, day_of, midnight
from transforms.decode.yahoo_values import PRICE_TYPES, is_no_answer, printed_image, symbol_hints
from transforms.numbers import (
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    exact_decimal,
    lowest_terms,
)

DOWNLOAD_TABLES = (BARS, CORPORATE_ACTIONS)
_PATH = re.compile(r"/finance/download/([^/?]+)")
_ERROR = re.compile(rb"\d{3} [A-Z][A-Za-z ]{2,30}:")
_PRICES = ("Open", "High", "Low", "Close")
_INTERVALS = ("1d", "5d", "1wk", "1mo", "3mo")
_WEEK_GAP, _MONTH_GAP = timedelta(days=4), timedelta(days=27)
_SPLIT = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)[:/](\d{1,9}(?:\.\d{1,6})?)\Z")
_NULLS = frozenset({"", "null", "nan", "NaN"})


def decode_download(messages: pa.Table) -> Decoded:
    """Return bars, dividends and splits of downloaded files."""
    reader = _Reader(DOWNLOAD_TABLES)
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads the records of a file."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says; refusals in JSON (v7) or words (400 Bad Request: …) are control."""
        body = payload.strip()
        if is_no_answer(payload) or _ERROR.match(body) or body.startswith(b'{"finance"'):
            return
        names, records = _records(body)
        who = self._who()
        if {"Date", *_PRICES} <= set(names):
            self._bars(who, names, records)
        elif names[:2] in (["Date", "Dividends"], ["Date", "Stock Splits"]):
            for record in records:
                self.add(CORPORATE_ACTIONS, self._action, who, names, record)
        else:
            raise NumberRefusedError("unsupported_answer", ",".join(names), "Date and prices, Dividends or Stock Splits")

    def _who(self) -> Row:
        found = _PATH.search(self.path)
        if found is None:
            raise NumberRefusedError("missing_symbol", self.path, "a request of /finance/download/SYMBOL")
        return symbol_hints(unquote(found[1]))

    def _bars(self, who: Row, names: list[str], records: list[list[str]]) -> None:
        days = [day for record in records if (day := _day_or_none(record)) is not None]
        interval = self._interval(days)
        basis = Basis.AS_TRADED if names.index("Close") + 1 < len(names) and names[-1] == "Adj Close" else Basis.SPLIT_ADJUSTED
        if who.get("asset_class") not in ("equity", "fund", None):
            basis = Basis.AS_TRADED  # indices, currencies and futures are never split
        zone = _zone(who)
        newest = max((midnight(_first_day(day, interval), zone) for day in days), default=None)
        for record in records:
            told = dict(zip(names, record, strict=False))
            if len(record) == len(names) and all(told[name] in _NULLS for name in _PRICES):
                self.skipped += 1
            else:
                self.add(BARS, self._bar, who, names, record, interval, basis, zone, self.until or newest)

    def _bar(
        self,
        who: Row,
        names: list[str],
        record: list[str],
        interval: str,
        basis: Basis,
        zone: ZoneInfo,
        until: datetime | None,
    ) -> Row:
        told = _told(names, record)
        opened = _first_day(_day(told), interval)
        start = midnight(opened, zone)
        volume, adjusted = told.get("Volume", ""), told.get("Adj Close", "")
        return who | {
            **{name.lower(): printed_image(told[name]) for name in _PRICES},
            "interval": interval,
            "session_date": opened,
            "ts_open": start.astimezone(UTC),
            "volume": None if volume in _NULLS else exact_decimal(volume, VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "provider_adjusted_close": None if adjusted in _NULLS else printed_image(adjusted),
            "basis": basis.value,
            "price_type": PRICE_TYPES.get(str(who.get("asset_class")), "trade"),
            "is_final": until is not None and bar_end(start, interval, zone) <= until,
            "delivered_at": self.delivered,
        }

    def _interval(self, days: Sequence[date]) -> str:
        told = self.params.get("interval")
        if told is not None:
            if told not in _INTERVALS:
                raise NumberRefusedError("unknown_interval", told, ", ".join(_INTERVALS))
            return told
        ordered = sorted(set(days))
        gap = min((late - early for early, late in pairwise(ordered)), default=timedelta(days=1))
        return "1d" if gap < _WEEK_GAP else "1wk" if gap < _MONTH_GAP else "1mo"

    def _action(self, who: Row, names: list[str], record: list[str]) -> Row:
        told = _told(names, record)
        ex_date = _day(told)
        shared = who | {"ex_date": ex_date, "status": "confirmed", "delivered_at": self.delivered}
        if "Dividends" in told:
            return shared | {
                "action_key": f"{who['symbol']}:dividend:{ex_date}",
                "kind": "cash_dividend",
                "amount": printed_image(told["Dividends"]),
                "share_basis": Basis.SPLIT_ADJUSTED.value,
            }
        ratio = _SPLIT.match(told["Stock Splits"])
        if ratio is None:
            raise NumberRefusedError("malformed", told["Stock Splits"], "a ratio like 4:1")
        new, old = lowest_terms(exact_decimal(ratio[1], PRICE_SCALE), exact_decimal(ratio[2], PRICE_SCALE))
        return shared | {"action_key": f"{who['symbol']}:split:{ex_date}", "kind": "split", "ratio_new": new, "ratio_old": old}


def _records(body: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the names of the header and the records. Raises NumberRefusedError (malformed)."""
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise NumberRefusedError("malformed", body[:200], f"CSV ({error})") from error
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise NumberRefusedError("malformed", body[:200], "CSV with a header of distinct names")
    return rows[0], rows[1:]


def _told(names: list[str], record: list[str]) -> Mapping[str, str]:
    if len(record) != len(names):
        raise NumberRefusedError("malformed", ",".join(record), f"{len(names)} values")
    return dict(zip(names, record, strict=True))


def _day(told: Mapping[str, str]) -> date:
    found = day_of(told["Date"], "Date")
    if found is None or len(told["Date"]) != 10:
        raise NumberRefusedError("date", told["Date"], "a date like 2020-01-02")
    return found


def _day_or_none(record: list[str]) -> date | None:
    try:
        return day_of(record[0], "Date")
    except NumberRefusedError:
        return None  # refused with its row


def _first_day(day: date, interval: str) -> date:
    if interval == "1wk":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval.endswith("mo") else day


def _zone(who: Row) -> ZoneInfo:
    if who.get("asset_class") == "crypto":
        return ZoneInfo("UTC")
    if who.get("asset_class") == "fx":
        return ZoneInfo("Europe/London")  # as Yahoo's charts of currencies say
    mic = who.get("mic")
    try:
        return ZoneInfo(str(who.get("exchange_zone") or "America/New_York") if mic is None else zone_of(str(mic)))
    except InvalidValueError as error:
        raise NumberRefusedError("unknown_venue", mic, "a MIC with a calendar") from error
