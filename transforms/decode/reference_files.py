"""How lists of reference data are read: CSV records one after the other, each giving facts of several tables.

A record that does not fit is refused alone; a list without the columns it needs is refused whole. Ordinals count facts and
refused rows of a message, over all its tables.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa

from transforms.decode.csv_records import parted
from transforms.decode.decoded import Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at, json_object
from transforms.numbers import NumberRefusedError

Record = Mapping[str, str | None]
"""Column (lower case) -> text without blanks around it; None where empty or left out."""
_CREATED = re.compile(rb"File Creation Time: (\d{8}) ?(\d\d):(\d\d)")
_NEW_YORK = ZoneInfo("America/New_York")
_FIRST, _LAST = date(1500, 1, 1), date(2199, 12, 31)
_MONTHS = {
    name: number + 1
    for number, name in enumerate(
        ("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER")
    )
}


@dataclass(frozen=True, slots=True)
class ListFile:
    """What is known of a list beside its records. `stem` is its file's name without endings, empty when not known."""

    stem: str
    delivered: datetime | None


@dataclass(frozen=True, slots=True)
class Fact:
    """One row for a table."""

    table: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Refused:
    """One row that a table does not get, and why; without a table, the list's first."""

    table: str | None
    error: NumberRefusedError


Read = Callable[[ListFile, Record], Iterable[Fact | Refused]]
"""(file, record) -> facts and refused rows; none: the record holds no fact by design. May raise NumberRefusedError."""


@dataclass(slots=True)
class Collected:
    """Facts and refusals of many messages while they are collected."""

    tables: Sequence[str]
    rows: dict[str, Rows] = field(default_factory=dict)
    refused: Refusals = field(default_factory=Refusals)
    skipped: int = 0
    _message: int = -1
    _ordinal: int = 0

    def take(self, message: int, file: ListFile, found: Iterator[Fact | Refused]) -> None:
        """Add what one record gives; where reading it raises, it is refused from there on."""
        if message != self._message:
            self._message, self._ordinal = message, 0
        before = self._ordinal
        try:
            for one in found:
                if isinstance(one, Fact):
                    values = {"delivered_at": file.delivered, **one.values}
                    self.rows.setdefault(one.table, Rows(one.table)).add(message, self._ordinal, values)
                    self._ordinal += 1
                else:
                    self._refuse(message, one.table or self.tables[0], one.error)
        except NumberRefusedError as error:
            self._refuse(message, self.tables[0], error)
        self.skipped += self._ordinal == before

    def _refuse(self, message: int, table: str, error: NumberRefusedError) -> None:
        self.refused.add(message, self._ordinal, table, error.rule, error.value, error.expected)
        self._ordinal += 1

    def decoded(self, messages: int) -> Decoded:
        """Return the outcome for so many messages."""
        tables = {name: self.rows.get(name, Rows(name)).to_table() for name in self.tables}
        return decoded(tables, self.refused, messages, self.skipped)


def read_files(
    messages: pa.Table, tables: Sequence[str], read: Callable[[ListFile, bytes], Iterator[Iterator[Fact | Refused]]]
) -> Decoded:
    """Return what each message gives. `read` yields its records' facts; it raises NumberRefusedError to refuse the message."""
    collected = Collected(tables)
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for message, payload in enumerate(payloads(messages)):
        file = _file(payload, headers[message], requests[message])
        try:
            for found in read(file, payload):
                collected.take(message, file, found)
        except NumberRefusedError as error:
            collected.refused.add_message(message, error.rule, error.value, error.expected)
    return collected.decoded(messages.num_rows)


def decode_lists(messages: pa.Table, tables: Sequence[str], needed: Sequence[Sequence[str]], read: Read) -> Decoded:
    """Return the facts of CSV lists with a header line.

    tables   the tables filled; a record refused as a whole counts to the first
    needed   sets of columns (lower case): the header must have all of one of them
    """

    def records(file: ListFile, payload: bytes) -> Iterator[Iterator[Fact | Refused]]:
        for record in csv_records(payload, needed):
            yield refused_record(record) if isinstance(record, NumberRefusedError) else iter(read(file, record))

    return read_files(messages, tables, records)


def refused_record(error: NumberRefusedError) -> Iterator[Fact | Refused]:
    """Return what a record gives that is none: its refusal, counted to the list's first table."""
    return iter((Refused(None, error),))


def _file(payload: bytes, headers: str | None, request: str | None) -> ListFile:
    name = json_object(request).get("file")
    stem = re.split(r"[/\\]", name)[-1].partition(".")[0] if isinstance(name, str) and name.isprintable() else ""
    return ListFile(stem[:64], _created(payload) or delivered_at(headers, request))


def _created(payload: bytes) -> datetime | None:
    """Return when the list says that it was made (Nasdaq's symbol directory, New York time), None when it does not."""
    found = _CREATED.search(payload[-400:])
    if found is None:
        return None
    try:
        day = datetime.strptime(found[1].decode(), "%m%d%Y").replace(hour=int(found[2]), minute=int(found[3]), tzinfo=_NEW_YORK)
        return day.astimezone(UTC) if _FIRST <= day.date() <= _LAST else None
    except (ValueError, OverflowError):
        return None


def csv_records(payload: bytes, needed: Sequence[Sequence[str]]) -> Iterator[Record | NumberRefusedError]:
    """Yield the records of a CSV list, or why one is none; lines that begin with # and empty ones are none by design.

    A record may end early: what is missing is None. Raises NumberRefusedError when the header does not fit.
    """
    lines = csv.reader(io.StringIO(payload.decode("utf-8-sig", "surrogateescape"), newline=""))
    try:
        header = [name.strip().lower() for name in next(lines, [])]
    except csv.Error as error:
        raise NumberRefusedError("malformed", payload[:200], f"a header line ({error})") from error
    if not any(set(columns) <= set(header) for columns in needed) or len(set(header)) != len(header):
        wanted = " or ".join(", ".join(columns) for columns in needed)
        raise NumberRefusedError("missing_column", ",".join(header), f"a header with {wanted}")
    for values in parted(lines):
        if isinstance(values, NumberRefusedError):
            yield values
        elif any(value.strip() for value in values) and not values[0].startswith("#"):
            yield _record(header, values)


def _record(header: Sequence[str], values: Sequence[str]) -> Record | NumberRefusedError:
    line = ",".join(values)
    if any("\udc80" <= char <= "\udcff" for char in line):
        return NumberRefusedError("encoding", line, "text in UTF-8")
    if len(values) > len(header):
        return NumberRefusedError("column_count", line, f"at most {len(header)} columns")
    found: dict[str, str | None] = dict.fromkeys(header)
    found.update({name: value.strip() or None for name, value in zip(header, values, strict=False)})
    return found


def day_told(text: str | None, name: str) -> date | None:
    """Return a day written 2017-12-31, 20171231 or DECEMBER 2017 (its first), None where nothing stands. Raises."""
    if text is None:
        return None
    month, _, year = text.upper().partition(" ")
    try:
        if month in _MONTHS and year.isdigit():
            found = date(int(year), _MONTHS[month], 1)
        else:
            found = date.fromisoformat(text)
    except ValueError as error:
        raise NumberRefusedError("malformed_date", text, f"{name}: a date like 2017-12-31") from error
    if not _FIRST <= found <= _LAST:
        raise NumberRefusedError("malformed_date", text, f"{name}: a date from {_FIRST} to {_LAST}")
    return found


def midnight(day: date) -> datetime:
    """Return the first instant of a UTC day: when a fact that begins on it is taken to be known."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def needed_text(record: Record, name: str) -> str:
    """Return the text of a column. Raises NumberRefusedError when nothing stands there."""
    found = record.get(name)
    if found is None:
        raise NumberRefusedError("missing_value", None, name)
    return found
