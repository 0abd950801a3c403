"""CSV files read by a mapping: bars, actions, trades, quotes, books, rates, levels. A message is the header and a run of records.

The mapping (`transforms/decode/csv_mapping.py`) travels in the message's request. Numbers are exact digits unless it says
float_image. A record that does not fit is refused alone, with its number in the file; the rest goes on.
"""

from __future__ import annotations

import pyarrow as pa

from lake.errors import InvalidValueError
from transforms.decode.csv_bars import plain_bars
from transforms.decode.csv_facts import READ
from transforms.decode.csv_mapping import CsvMapping, parse_mapping
from transforms.decode.csv_plain import with_plain_ends
from transforms.decode.csv_records import Record, alone, records
from transforms.decode.csv_ticks import PLAIN_KINDS, plain_ticks
from transforms.decode.csv_values import File, file_of
from transforms.decode.decoded import BOOK_EVENTS, Decoded, decoded, texts
from transforms.decode.delivery import json_object
from transforms.decode.readers import Reader, read_messages
from transforms.numbers import NumberRefusedError

_PLAIN = {"bars": plain_bars} | dict.fromkeys(PLAIN_KINDS, plain_ticks)
"""How the plain records of a kind are read by columns."""


class _CsvReader(Reader):
    """The records of one kind."""

    def __init__(self, kind: str, requests: list[str | None]) -> None:
        self.kind = kind
        self.table, self.facts_of = READ[kind]
        self.requests = requests
        self.plain: list[pa.Table] = []
        super().__init__((self.table,))

    def read(self, payload: bytes) -> None:
        """Append what the records of a message say."""
        asked = json_object(self.requests[self.message])
        mapping = self._mapping(asked.get("mapping"))
        file = file_of(mapping, asked.get("file"), self.delivered)
        told = asked.get("first_record")
        first = told if isinstance(told, int) and not isinstance(told, bool) else 0
        payload = with_plain_ends(payload)
        read_plain = _PLAIN.get(self.kind)
        plain = None if read_plain is None else read_plain(payload, file, self.message)
        if plain is None:
            for number, record in enumerate(records(payload, mapping)):
                self._add(file, record, first + number + 1)
            return
        self.plain.append(plain.rows)
        for ordinal, line in plain.others:
            self.ordinal = ordinal
            for record in records(alone(payload, line, mapping), mapping):
                self._add(file, record, first + ordinal + 1)

    def decoded(self, messages: int) -> Decoded:
        """Return everything read, in the order of the messages."""
        rows = self.rows[self.table].to_table()
        if self.plain:
            whole = pa.concat_tables([*self.plain, rows])
            rows = whole.sort_by([("message_index", "ascending"), ("ordinal", "ascending")]) if rows.num_rows else whole
        return decoded({self.table: rows}, self.refused, messages, self.skipped)

    def _add(self, file: File, record: Record | NumberRefusedError, number: int) -> None:
        """Append the facts of a record, which has an ordinal also without facts; a refusal names its number in the file."""
        before = self.ordinal
        try:
            if isinstance(record, NumberRefusedError):
                raise record
            for fact in self.facts_of(file, record):
                if isinstance(fact, NumberRefusedError):
                    self._refuse(fact, number)
                else:
                    numbered = {"event_index": number - 1} if self.table == BOOK_EVENTS else {}  # of levels in a file, in order
                    self.rows[self.table].add(self.message, self.ordinal, fact | numbered)
                    self.ordinal += 1
        except NumberRefusedError as error:
            self._refuse(error, number)
        if self.ordinal == before:
            self.skipped += 1
            self.ordinal += 1

    def _refuse(self, error: NumberRefusedError, number: int) -> None:
        self.refuse(self.table, NumberRefusedError(error.rule, f"record {number}: {error.value}", error.expected))

    def _mapping(self, document: object) -> CsvMapping:
        try:
            mapping = parse_mapping(document)
        except InvalidValueError as error:
            raise NumberRefusedError("invalid_mapping", document, str(error)) from error
        if mapping.kind != self.kind:
            raise NumberRefusedError("invalid_mapping", mapping.kind, f"a mapping of kind {self.kind}, as the feed is")
        return mapping


def decode(kind: str, messages: pa.Table) -> Decoded:
    """Return the facts of CSV messages whose mapping is of `kind`."""
    reader = _CsvReader(kind, list(texts(messages, "request")))
    read_messages(reader, messages, reader.read)
    return reader.decoded(messages.num_rows)
