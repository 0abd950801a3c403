"""The lines of a CSV message by whole columns: what plain trades, quotes and bars are read from alike.

Plain is what nearly every file is: no quotes, digits with a point. A record that is not, and a message whose mapping asks for
more, is read by `csv_facts`, so that both ways say the same of any bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.tables.definition import arrow_type
from lake.tables.quantities import PRICE_TYPE, SIZE_TYPE, VOLUME_TYPE
from lake.values import NumberKind
from transforms.decode.csv_mapping import CsvMapping
from transforms.decode.csv_records import headed
from transforms.decode.csv_values import File, who

FORMS = {
    PRICE_TYPE: r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$",
    SIZE_TYPE: r"^-?[0-9]{1,10}(\.[0-9]{1,8})?$",
    VOLUME_TYPE: r"^-?[0-9]{1,18}(\.[0-9]{1,8})?$",
}
WHOLE = r"^[0-9]{1,18}$"
_NOT_PLAIN = re.compile(rb'["\x00-\x09\x0b-\x1f\x7f-\xff]')
_WHO = ("symbol", "venue", "currency")


@dataclass(frozen=True, slots=True)
class Plain:
    """Plain records as rows of their table, and the numbers (from 0, of all) and lines of the others.

    count   records of the message
    """

    rows: pa.Table
    others: list[tuple[int, str]]
    count: int


@dataclass(frozen=True, slots=True)
class Lines:
    """Records of a message: our column -> texts, null for a mark of what is missing; which have as many columns as the header."""

    lines: pl.Series
    texts: Mapping[str, pl.Series]
    is_whole: pl.Series

    def others(self, good: npt.NDArray[np.bool_]) -> list[tuple[int, str]]:
        """Return number and line of the records that are not good."""
        return [(int(number), self.lines[int(number)]) for number in np.flatnonzero(~good)]


def has_plain_numbers(mapping: CsvMapping) -> bool:
    """Return whether lines and numbers under this mapping may be plain."""
    return (
        mapping.numbers == NumberKind.EXACT
        and mapping.price_exponent == mapping.volume_exponent == 0
        and (mapping.decimal_mark, mapping.thousands_mark) == (".", "")
        and mapping.delimiter.isascii()
        and mapping.delimiter not in "\t0123456789.+- "
        and not mapping.wide
        and all(len(places) == 1 or name == "time" for name, places in mapping.columns.items())
    )


def with_plain_ends(payload: bytes) -> bytes:
    """Return a message with line feeds for the ends of its lines, where nothing is quoted and no other ends stand in it."""
    if b"\r" not in payload or b'"' in payload or payload.count(b"\r") != payload.count(b"\r\n"):
        return payload
    return payload.replace(b"\r\n", b"\n")


def plain_lines(payload: bytes, mapping: CsvMapping) -> Lines | None:
    """Return the records of a message; None where its bytes are not plain. Raises NumberRefusedError for its header."""
    if _NOT_PLAIN.search(payload):
        return None
    layout, rest = headed(payload.decode("ascii"), mapping)
    lines = pl.Series("line", rest.split("\n"), pl.String)
    lines = lines.filter(lines != "")
    fields = lines.str.split_exact(mapping.delimiter, layout.width).struct.unnest()
    is_whole = fields[f"field_{layout.width - 1}"].is_not_null() & fields[f"field_{layout.width}"].is_null()
    marks = list(mapping.null_marks)
    texts = {}
    for name, places in layout.places.items():
        parts = [_without(fields[f"field_{place}"].str.strip_chars(" "), marks) for place in places]
        texts[name] = parts[0] if len(parts) == 1 else _joined(parts)
    return Lines(lines, texts, is_whole)


def _without(texts: pl.Series, marks: list[str]) -> pl.Series:
    """Return texts with null for the marks of what is missing."""
    return pl.DataFrame({"text": texts}).select(pl.when(~pl.col("text").is_in(marks)).then(pl.col("text")))["text"]


def _joined(parts: list[pl.Series]) -> pl.Series:
    """Return texts joined by spaces, empty ones left out; null where one is null."""
    frame = pl.DataFrame({str(number): part for number, part in enumerate(parts)})
    is_told = ~pl.any_horizontal(pl.all().is_null())
    told = pl.concat_str(
        [pl.when(pl.col(name) != "").then(pl.col(name)) for name in frame.columns], separator=" ", ignore_nulls=True
    )
    return frame.select(pl.when(is_told).then(told))[:, 0]


def are_numbers(texts: pl.Series, kind: str) -> pl.Series:
    """Return which texts are null or plain numbers of a type."""
    return texts.is_null() | texts.str.contains(FORMS[kind])


def numbers(texts: pl.Series, kept: npt.NDArray[np.int64], kind: str) -> pa.Array:
    """Return the kept texts, all null or plain, as numbers of a type."""
    return strings(texts, kept).cast(arrow_type(kind))


def strings(column: pl.Series, kept: npt.NDArray[np.int64]) -> pa.Array:
    """Return the kept texts."""
    return column.gather(kept).to_arrow().cast(pa.string())


def instruments(texts: Mapping[str, pl.Series], kept: npt.NDArray[np.int64], file: File) -> dict[str, pa.Array]:
    """Return symbol, currency and hints of the kept records: each distinct instrument is looked at once."""
    told = [name for name in _WHO if name in texts]
    if not told or not len(kept):
        one = who(file, {}) if len(kept) else {}
        return {name: pa.repeat(pa.scalar(value, pa.string()), len(kept)) for name, value in one.items()}
    frame = pl.DataFrame({name: texts[name].gather(kept) for name in told})
    distinct = frame.unique(maintain_order=True).with_row_index("at")
    place = frame.join(distinct, on=told, how="left", nulls_equal=True, maintain_order="left")["at"].to_arrow()
    found = [who(file, record) for record in distinct.drop("at").iter_rows(named=True)]
    return {name: pa.array([one[name] for one in found], pa.string()).take(place) for name in found[0]}
