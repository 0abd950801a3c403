"""A FIX message as a tree: its fields, and the entries of its groups, by data dictionary. Machine: bytes in, tree out.

The envelope is checked first: BeginString, BodyLength and MsgType lead, CheckSum ends, both numbers are right. A message without
BeginString has no envelope to check. A group's entry begins with the field that began the first one. What a counterparty puts
between stays in its entry; the last entry ends at a field that neither the dictionary, nor an earlier entry, nor the range of
user-defined numbers gives to the group. Counts must be true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from transforms.decode.fix_dictionary import DATA_OF, FIRST_USER_DEFINED, members
from transforms.numbers import NumberRefusedError

SOH, BAR = b"\x01", b"|"
BEGIN, LENGTH, KIND, CHECKSUM = 8, 9, 35, 10
_HAS_DATA = re.compile(rb"[\x01|](?:%s)=" % b"|".join(str(length).encode() for length in sorted(DATA_OF)))
_TAIL = re.compile(rb"[\x01|]10=(\d{1,3})[\x01|]?\s*\Z")
_LONGEST_TAG = 9
_MOST_ENTRIES = 1_000_000

Pairs = list[tuple[int, bytes]]


@dataclass(slots=True)
class Fields:
    """Fields of a message or of one entry, the first of each number; `twice` are the numbers that came again."""

    values: dict[int, bytes] = field(default_factory=dict)
    groups: dict[int, list[Fields]] = field(default_factory=dict)
    twice: set[int] = field(default_factory=set)

    def put(self, tag: int, value: bytes) -> None:
        """Take one more field."""
        if self.values.setdefault(tag, value) is not value:
            self.twice.add(tag)

    def text(self, tag: int) -> str | None:
        """Return a field as text; None where it is absent or empty. Raises NumberRefusedError where it stands twice."""
        value = self.values.get(tag)
        if not value:
            return None
        if tag in self.twice:
            raise NumberRefusedError("repeated_field", f"{tag}={value.decode('latin-1')}", "a field once in its entry")
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def told(self) -> dict[str, object]:
        """Return everything as JSON values, by field number."""
        found: dict[str, object] = {str(tag): value.decode("utf-8", "replace") for tag, value in self.values.items()}
        return found | {str(tag): [entry.told() for entry in entries] for tag, entries in self.groups.items()}


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its MsgType, and its fields and groups."""

    kind: str
    body: Fields


def parse(payload: bytes) -> Message:
    """Return the message in `payload`. Raises NumberRefusedError naming what is wrong with it."""
    mark = SOH if SOH in payload else BAR
    pairs = fields_of(payload, mark)
    if pairs[0][0] == BEGIN:
        check_envelope(payload, pairs, mark)
    kind = next((value for tag, value in pairs[:8] if tag == KIND), None)
    if kind is None:
        raise NumberRefusedError("not_fix", payload[:100], "35=, the kind of the message, among its first fields")
    return Message(kind.decode("latin-1"), _Grouping(pairs, kind.decode("latin-1")).root())


def fields_of(payload: bytes, mark: bytes = SOH) -> Pairs:
    """Return (number, value) of each field; data fields by their lengths. Raises NumberRefusedError."""
    if _HAS_DATA.search(payload) is not None:
        return _fields_with_data(payload, mark)
    parts = payload.strip(b"\r\n").split(mark)
    if not parts[-1]:
        parts.pop()
    pairs = []
    for part in parts:
        tag, equals, value = part.partition(b"=")
        if not equals or not tag.isdigit() or len(tag) > _LONGEST_TAG:
            raise _not_fix(part)
        pairs.append((int(tag), value))
    if not pairs:
        raise _not_fix(payload)
    return pairs


def _fields_with_data(payload: bytes, mark: bytes) -> Pairs:
    pairs: Pairs = []
    at = 0
    while at < len(payload):
        equals = payload.find(b"=", at)
        tag = payload[at:equals]
        if equals < 0 or not tag.isdigit() or len(tag) > _LONGEST_TAG:
            if not payload[at:].strip(b"\r\n"):
                break
            raise _not_fix(payload[at : at + 100])
        end = payload.find(mark, equals)
        if pairs and DATA_OF.get(pairs[-1][0]) == int(tag):
            end = equals + 1 + _counted(pairs[-1][1], len(payload))
            if payload[end : end + 1] != mark:
                raise NumberRefusedError(
                    "data_length", payload[at : at + 100], f"{pairs[-1][1]!r} bytes of data, then a field's end"
                )
        end = len(payload) if end < 0 else end
        pairs.append((int(tag), payload[equals + 1 : end]))
        at = end + 1
    return pairs


def _not_fix(part: bytes) -> NumberRefusedError:
    return NumberRefusedError("not_fix", part[:100], "fields of the form number=value")


def _counted(text: bytes, most: int) -> int:
    if not text.isdigit() or len(text) > _LONGEST_TAG or int(text) > most:
        raise NumberRefusedError("malformed_number", text, f"a whole number up to {most}")
    return int(text)


def check_envelope(payload: bytes, pairs: Pairs, mark: bytes = SOH) -> None:
    """Raise NumberRefusedError unless length and sum are those of the message."""
    tail = _TAIL.search(payload, max(len(payload) - 16, 0))
    if tail is None or pairs[-1][0] != CHECKSUM:
        raise NumberRefusedError("truncated", payload[-100:], "10=, the CheckSum, at the end")
    if [tag for tag, _ in pairs[1:3]] != [LENGTH, KIND]:
        raise NumberRefusedError("not_fix", payload[:100], "8=, 9= and 35= first")
    end = tail.start() + 1
    length = end - payload.index(mark, payload.index(mark) + 1) - 1
    if pairs[1][1] != b"%d" % length and (not pairs[1][1].isdigit() or int(pairs[1][1][:_LONGEST_TAG]) != length):
        raise NumberRefusedError("body_length", pairs[1][1], str(length))
    found = sum(payload[:end])
    if mark != SOH:
        found += payload.count(mark, 0, end) * (SOH[0] - mark[0])
    if int(tail[1]) != found % 256 or len(tail[1]) != 3:
        raise NumberRefusedError("checksum", tail[1], f"{found % 256:03d}")


class _Grouping:
    """Puts the fields of one message into its tree."""

    def __init__(self, pairs: Pairs, kind: str) -> None:
        self._pairs, self._kind, self._at = pairs, kind, 0

    def root(self) -> Fields:
        """Return the whole message."""
        found = Fields()
        while self._at < len(self._pairs):
            self._take(found, frozenset())
        return found

    def _take(self, into: Fields, stops: frozenset[int]) -> None:
        tag, value = self._pairs[self._at]
        self._at += 1
        into.put(tag, value)
        belongs = members(self._kind, tag)
        if belongs is not None and tag not in into.groups:
            into.groups[tag] = self._entries(_counted(value, _MOST_ENTRIES), tag, belongs, stops)

    def _entries(self, count: int, counter: int, belongs: frozenset[int], stops: frozenset[int]) -> list[Fields]:
        if count == 0 or self._at == len(self._pairs):
            return self._all([], count, counter)
        first = self._pairs[self._at][0]
        if first in stops or first == CHECKSUM:
            return self._all([], count, counter)
        entries: list[Fields] = []
        seen: set[int] = set()
        inner = stops | {first}
        while self._at < len(self._pairs) and self._pairs[self._at][0] == first:
            entry = Fields()
            self._take(entry, inner)
            is_last = len(entries) + 1 >= count
            while self._at < len(self._pairs):
                tag = self._pairs[self._at][0]
                is_outside = is_last and tag < FIRST_USER_DEFINED and tag not in belongs and tag not in seen
                if tag in inner or tag == CHECKSUM or is_outside:
                    break
                self._take(entry, inner)
            seen.update(entry.values)
            entries.append(entry)
        return self._all(entries, count, counter)

    @staticmethod
    def _all(entries: list[Fields], count: int, counter: int) -> list[Fields]:
        if len(entries) != count:
            raise NumberRefusedError("entry_count", f"{counter}={count}", f"{len(entries)}, the entries that are there")
        return entries
