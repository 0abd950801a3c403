"""NYSE TAQ: trades and quotes of all US exchanges, as NYSE's daily files, WRDS and R's highfrequency write them.

Columns go by their headers. An instant is `DT` (with a zone, else New York's time), `DATE` and `TIME`, or NYSE's `Time` on the
day in the file's name. `mic` is where it was printed, null for the FINRA facilities (D) and exchanges that have closed.
Corrections: 0 and 1 are trades (1 holds the corrected data), 7 and 8 trades and their cancel, 10 and 11 the cancel alone, 12 the
correction of a trade, with its original data. Sizes of quotes are in round lots, as TAQ counts them. Prices with more than nine
digits after the point are averages of a cleaned file: rounded, half to even. Kept in raw only: derived columns (MIDQUOTE), source
and reporting facility, participants' clocks, stop, retail and LULD marks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

import pyarrow as pa

from transforms.decode.decoded import QUOTES, TRADE_EVENTS, TRADES, Decoded
from transforms.decode.delivery import json_object
from transforms.decode.json_digits import Digits, rounded
from transforms.decode.readers import Reader, read_messages
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError, exact_decimal

Row = dict[str, object]
TRADE_TABLES = (TRADES, TRADE_EVENTS)
QUOTE_TABLES = (QUOTES,)
EXCHANGES = {
    "A": "XASE", "B": "XBOS", "J": "EDGA", "K": "EDGX", "M": "XCHI", "N": "XNYS", "P": "ARCX", "Q": "XNAS", "T": "XNAS",
    "U": "MEMX", "V": "IEXG", "X": "XPSX", "Y": "BATY", "Z": "BATS",
}  # fmt: skip
"""TAQ's exchange codes -> MIC, of those that the calendars know as US exchanges."""
_OTHER_EXCHANGES = frozenset("CDHILSW")
_NAMES = {
    "DT": "stamp", "DATE": "date", "TIME": "time", "TIMEM": "time", "EX": "exchange", "EXCHANGE": "exchange", "SYMBOL": "symbol",
    "SYMROOT": "symbol", "SYMSUFFIX": "suffix", "COND": "conditions", "TRSCOND": "conditions", "SALECONDITION": "conditions",
    "SIZE": "size", "TRADEVOLUME": "size", "PRICE": "price", "TRADEPRICE": "price", "CORR": "correction", "TRCORR": "correction",
    "TRADECORRECTIONINDICATOR": "correction", "TRSEQNUM": "sequence", "QUSEQNUM": "sequence", "SEQUENCENUMBER": "sequence",
    "TRID": "trade_id", "TRADEID": "trade_id", "BID": "bid_price", "BIDPRICE": "bid_price", "BIDSIZ": "bid_size",
    "BIDSIZE": "bid_size", "OFR": "ask_price", "ASK": "ask_price", "OFFERPRICE": "ask_price", "OFRSIZ": "ask_size",
    "ASKSIZ": "ask_size", "ASKSIZE": "ask_size", "OFFERSIZE": "ask_size", "MODE": "conditions", "QUCOND": "conditions",
    "QUOTECONDITION": "conditions",
}  # fmt: skip
"""Headers, in capitals without blanks and marks -> what stands below."""
_MOST_COLUMNS = 64
_NEW_YORK = ZoneInfo("America/New_York")
_CLOCK = re.compile(r"(\d{1,2}):?(\d\d):?(\d\d)\.?(\d{0,9})\Z")
_DAY = re.compile(r"(\d{4})[-/]?(\d\d)[-/]?(\d\d)\Z")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ]([\d:]+(?:\.\d{1,9})?)(Z|[+-]\d\d:?\d\d)?\Z")
_FILE_DAY = re.compile(r"(?<!\d)((?:19|20)\d{2})(\d\d)(\d\d)(?!\d)")
_FIRST_YEAR, _LAST_YEAR = 1980, 2199
_LONGEST_NUMBER = 18
_REGULAR, _CANCELLED, _CANCELS, _CORRECTS = ("0", "1", "2"), ("7", "8"), ("10", "11"), "12"


@dataclass(frozen=True, slots=True)
class Columns:
    """What a header names: the feed, the mark between fields, and what stands in each."""

    feed: str
    mark: str
    places: Mapping[str, int]
    width: int


@lru_cache(maxsize=64)
def columns_of(header: bytes) -> Columns | None:
    """Return what a header names; None where it is not one of TAQ."""
    text = header.decode("latin-1").strip().removeprefix("ï»¿")
    mark = "|" if text.count("|") > text.count(",") else ","
    names = text.split(mark)
    if len(names) > _MOST_COLUMNS:
        return None
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        known = _NAMES.get(re.sub(r"[^A-Za-z]", "", name).upper())
        if known is not None:
            if known in places:
                return None
            places[known] = place
    if not {"exchange", "symbol"} <= places.keys() or not places.keys() & {"stamp", "time"}:
        return None
    if {"bid_price", "ask_price"} <= places.keys():
        return Columns("quotes", mark, places, len(names))
    return Columns("trades", mark, places, len(names)) if {"price", "size"} <= places.keys() else None


def decode_trades(messages: pa.Table) -> Decoded:
    """Return the trades of TAQ, and cancels and corrections of them."""
    reader = _TaqReader("trades", TRADE_TABLES)
    return read_messages(reader, messages, reader.read)


def decode_quotes(messages: pa.Table) -> Decoded:
    """Return the quotes of each exchange."""
    reader = _TaqReader("quotes", QUOTE_TABLES)
    return read_messages(reader, messages, reader.read)


class _TaqReader(Reader):
    """The rows of one feed of TAQ while they are read."""

    def __init__(self, feed: str, tables: tuple[str, ...]) -> None:
        super().__init__(tables)
        self._feed = feed
        self._file_day: date | None = None
        self._first = 0

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message: its request names the file, and thereby the day of times without one."""
        self.message, self.ordinal = message, 0
        told = json_object(request)
        found = _FILE_DAY.search(str(told.get("file", "")))
        self._file_day = None if found is None else _date(found[1], found[2], found[3])
        first = told.get("first_record")
        self._first = first if isinstance(first, int) else 0

    def read(self, payload: bytes) -> None:
        """Read the records of one message. Raises NumberRefusedError where the header is not of this feed."""
        lines = payload.split(b"\n")
        columns = columns_of(lines[0])
        if columns is None or columns.feed != self._feed:
            raise NumberRefusedError("missing_column", lines[0], f"a header of TAQ {self._feed}")
        for number, line in enumerate(lines[1:], self._first + 1):
            if line.strip():
                self._record(columns, line, number)

    def _record(self, columns: Columns, line: bytes, number: int) -> None:
        try:
            rows = list(self._rows(columns, line))
        except NumberRefusedError as error:
            where = NumberRefusedError(error.rule, f"record {number}: {error.value}", error.expected)
            self.refuse(self._feed_table(), where)
            return
        for table, row in rows:
            self.rows[table].add(self.message, self.ordinal, row)
            self.ordinal += 1

    def _feed_table(self) -> str:
        return TRADES if self._feed == "trades" else QUOTES

    def _rows(self, columns: Columns, line: bytes) -> list[tuple[str, Row]]:
        fields = line.decode("latin-1").rstrip("\r").split(columns.mark)
        if len(fields) != columns.width:
            raise NumberRefusedError("malformed", line[:200].decode("latin-1"), f"{columns.width} fields")
        told = {name: fields[place].strip() for name, place in columns.places.items()}
        common = self._common(told)
        if columns.feed == "quotes":
            return [(QUOTES, common | _sides(told))]
        return _trade_rows(told, common)

    def _common(self, told: Mapping[str, str]) -> Row:
        at, nanos = self._instant(told)
        exchange, suffix, sequence = told["exchange"], told.get("suffix"), told.get("sequence")
        if exchange not in EXCHANGES and exchange not in _OTHER_EXCHANGES:
            raise NumberRefusedError("unknown_exchange", exchange, "an exchange code of TAQ, A to Z")
        if sequence and (not sequence.isdecimal() or not sequence.isascii() or len(sequence) > _LONGEST_NUMBER):
            raise NumberRefusedError("malformed_number", sequence, "a whole number")
        return {
            "symbol": f"{told['symbol']}.{suffix}" if suffix else told["symbol"].replace(" ", "."),
            "mic": EXCHANGES.get(exchange),
            "exchange": "US",
            "currency": "USD",
            "ts_event": at,
            "ts_event_nanos": nanos,
            "venue_session": at.astimezone(_NEW_YORK).date().isoformat(),
            "sequence": int(sequence) if sequence else None,
            "conditions": _codes(told.get("conditions", "")),
        }

    def _instant(self, told: Mapping[str, str]) -> tuple[datetime, int]:
        if "stamp" in told:
            found = _STAMP.match(told["stamp"])
            day = None if found is None else _DAY.match(found[1])
            if found is not None and day is not None:
                return _at(_date(day[1], day[2], day[3]), found[2], found[3], told["stamp"])
            raise NumberRefusedError("timestamp", told["stamp"], "an instant like 2018-01-02T10:01:21.479Z")
        if "date" not in told:
            return _at(self._file_day, told["time"], None, f"{told['time']} in a file that tells no day")
        day = _DAY.match(told["date"])
        return _at(None if day is None else _date(day[1], day[2], day[3]), told["time"], None, f"{told['date']} {told['time']}")


@lru_cache(maxsize=4_096)
def _date(year: str, month: str, day: str) -> date | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year <= _LAST_YEAR else None


@lru_cache(maxsize=4_096)
def _midnight(day: date, zone: str | None) -> datetime:
    """Return the day's midnight as an instant; of New York where no zone is told."""
    if zone is None:
        return datetime.combine(day, time(), _NEW_YORK)
    begun = datetime.combine(day, time(), UTC)
    return begun if zone == "Z" else begun - timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[-2:]))


def _at(day: date | None, clock: str, zone: str | None, told: str) -> tuple[datetime, int]:
    """Return (instant, nanoseconds beyond it). New York changes its clock at 02:00, when no US exchange is open."""
    found = _CLOCK.match(clock.rjust(15, "0") if clock.isdecimal() and len(clock) == 14 else clock)
    if day is None or found is None or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3]) > 59:
        raise NumberRefusedError("timestamp", told, "a day and a time like 09:30:00.123456789 or 093000123456789")
    nanos = int(found[4].ljust(9, "0"))
    length = timedelta(hours=int(found[1]), minutes=int(found[2]), seconds=int(found[3]), microseconds=nanos // 1000)
    return (_midnight(day, zone) + length).astimezone(UTC), nanos % 1000


def _codes(text: str) -> str | None:
    """Return condition codes joined by commas: TAQ writes one character each, blanks where a place has none."""
    return ",".join(text.replace(" ", "")) or None


def _price(text: str) -> Decimal:
    """Return a price; one with more digits than any is an average, rounded half to even. Raises NumberRefusedError."""
    try:
        return exact_decimal(text, PRICE_SCALE)
    except NumberRefusedError as error:
        if error.rule != "excess_digits":
            raise
        return rounded(Digits(text), PRICE_SCALE)


def _sides(told: Mapping[str, str]) -> Row:
    row: Row = {}
    for side in ("bid", "ask"):
        price = _price(told[f"{side}_price"] or "0")
        size = told.get(f"{side}_size")
        if price:
            row |= {f"{side}_price": price, f"{side}_size": exact_decimal(size, SIZE_SCALE) if size else None}
    return row


def _trade_rows(told: Mapping[str, str], common: Row) -> list[tuple[str, Row]]:
    code = told.get("correction", "0").lstrip("0") or "0"
    number = told.get("trade_id")
    named = f"{common['venue_session']}:{told['exchange']}:{number}" if number else None
    priced = {"price": _price(told["price"]), "size": exact_decimal(told["size"], SIZE_SCALE)}
    trade = common | priced | {"trade_id": named}
    if code in _REGULAR:
        return [(TRADES, trade)]
    if code in _CANCELLED:
        return [(TRADES, trade), (TRADE_EVENTS, trade | {"kind": "cancel"})]
    if code in _CANCELS:
        return [(TRADE_EVENTS, trade | {"kind": "cancel"})]
    if code == _CORRECTS:
        return [(TRADE_EVENTS, trade | {"kind": "correction"})]
    raise NumberRefusedError("unknown_correction", told.get("correction"), "0, 1, 2, 7, 8, 10, 11 or 12")
