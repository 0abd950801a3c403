"""The records of a CSV message: its lines parted into our columns, or the reason why a line is none.

A message is the file's lines before its header, the header, and a run of records; without a header it is records alone.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from transforms.decode.csv_mapping import CsvMapping
from transforms.numbers import NumberRefusedError

_UNDECODED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Record:
    """One record: our column -> text (None for a null mark), and what stands in the wide columns, by their names."""

    values: Mapping[str, str | None]
    wide: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where our columns stand: a time is all of its places joined, of others the first that is not null counts."""

    places: Mapping[str, tuple[int, ...]]
    wide: tuple[tuple[str, int], ...]
    width: int


def records(payload: bytes, mapping: CsvMapping) -> Iterator[Record | NumberRefusedError]:
    """Yield each record, or why it is none. Raises NumberRefusedError when the header does not fit the mapping."""
    if payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NumberRefusedError("encoding", payload[:40], f"text in {mapping.encoding}; the file is UTF-16: save it as UTF-8")
    text = payload.decode(mapping.encoding, "surrogateescape").removeprefix("\ufeff")
    has_undecoded = _UNDECODED.search(text) is not None
    lines = csv.reader(io.StringIO(_beyond(text, mapping), newline=""), delimiter=mapping.delimiter)
    layout = _layout(_header(lines, mapping), mapping)
    for values in parted(lines):
        if isinstance(values, NumberRefusedError):
            yield values
            continue
        line = mapping.delimiter.join(values)
        if has_undecoded and _UNDECODED.search(line):
            yield NumberRefusedError("encoding", line, f"text in {mapping.encoding}")
        elif len(values) != layout.width:
            yield NumberRefusedError("column_count", line, f"{layout.width} columns")
        else:
            yield _record(values, layout, mapping)


def parted(lines: Iterator[list[str]]) -> Iterator[list[str] | NumberRefusedError]:
    """Yield the values of each record of a csv.reader, or why it is none; an empty line is none and no matter."""
    while True:
        try:
            values = next(lines, None)
        except csv.Error as error:
            yield NumberRefusedError("malformed", str(error), "a record of comma-separated values")
            continue
        if values is None:
            return
        if values:
            yield values


def alone(payload: bytes, line: str, mapping: CsvMapping) -> bytes:
    """Return a message of the same head and one record, `line`."""
    head = payload.split(b"\n", mapping.skip_lines + (mapping.header != "none"))[:-1]
    return b"\n".join([*head, line.encode(mapping.encoding)])


def headed(text: str, mapping: CsvMapping) -> tuple[Layout, str]:
    """Return where the columns stand, and the text behind the header, of a text without quotes. Raises as `records` does."""
    first, _, rest = _beyond(text, mapping).partition("\n")
    if mapping.header == "none":
        return _layout(None, mapping), first + "\n" + rest
    return _layout(_header(iter([first.split(mapping.delimiter)]), mapping), mapping), rest


def _beyond(text: str, mapping: CsvMapping) -> str:
    """Return a message without the lines before its header."""
    for _ in range(mapping.skip_lines):
        text = text.partition("\n")[2]
    return text


def _header(lines: Iterator[list[str]], mapping: CsvMapping) -> list[str] | None:
    """Return the names of the columns, None where the mapping counts them."""
    try:
        names = next(lines, []) if mapping.header != "none" else []
    except csv.Error as error:
        raise NumberRefusedError("malformed", str(error), "a header line") from error
    return [name.strip() for name in names] if mapping.header == "names" else None


def _layout(header: list[str] | None, mapping: CsvMapping) -> Layout:
    places: dict[str, tuple[int, ...]] = {}
    for ours, theirs in mapping.columns.items():
        places[ours] = tuple(place - 1 if isinstance(place, int) else _place(header or [], place) for place in theirs)
    if header is None:
        return Layout(places, (), mapping.width or 0)
    if any(place >= len(header) for found in places.values() for place in found):
        raise NumberRefusedError("missing_column", ", ".join(header), f"the columns that the mapping numbers, of {len(header)}")
    used = {place for found in places.values() for place in found}
    wide = tuple((name, place) for place, name in enumerate(header) if name and place not in used) if mapping.wide else ()
    return Layout(places, wide, len(header))


def _place(header: list[str], name: str) -> int:
    if header.count(name) != 1:
        rule = "ambiguous_column" if name in header else "missing_column"
        raise NumberRefusedError(rule, ", ".join(header), f"one column {name!r}{_hint(header)}")
    return header.index(name)


def _hint(header: list[str]) -> str:
    """Return what may be wrong with a header of one column."""
    others = [mark for mark in ";\t|," if len(header) == 1 and mark in header[0]]
    return f"; is the delimiter {others[0]!r}? Say so in the mapping" if others else ""


def _record(values: list[str], layout: Layout, mapping: CsvMapping) -> Record:
    marks = mapping.null_marks
    texts = [None if (text := value.strip()) in marks else text for value in values]
    found: dict[str, str | None] = {}
    for ours, places in layout.places.items():
        if len(places) == 1:
            found[ours] = texts[places[0]]
        elif ours == "time":
            parts = [texts[place] for place in places]
            found[ours] = None if None in parts else " ".join(part for part in parts if part)
        else:
            found[ours] = next((texts[place] for place in places if texts[place] is not None), None)
    return Record(found, tuple((name, texts[place]) for name, place in layout.wide))
