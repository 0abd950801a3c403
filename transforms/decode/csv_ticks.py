"""Trades and quotes of a CSV message by whole columns: the records that are plain, the rest left to be read one by one.

Plain is what nearly every tick file is: no quotes, digits with a point, times counted from 1970 or from midnight. A record
that is not, and a message whose mapping asks for more, is read by `csv_facts`, so that both ways say the same of any bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.instants import EPOCH
from lake.tables.definition import arrow_type
from lake.tables.quantities import PRICE_TYPE, SIZE_TYPE
from lake.values import NumberKind
from transforms.decode.csv_mapping import EPOCHS, CsvMapping
from transforms.decode.csv_records import headed
from transforms.decode.csv_values import File, day_of, who
from transforms.decode.decoded import QUOTES, TRADES, columns_table
from transforms.numbers import NumberRefusedError

PLAIN_KINDS = {"trades": TRADES, "quotes": QUOTES}
_NUMBERS = {"price": PRICE_TYPE, "size": SIZE_TYPE}
_NUMBER_FORMS = {PRICE_TYPE: r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$", SIZE_TYPE: r"^-?[0-9]{1,10}(\.[0-9]{1,8})?$"}
_WHOLE = r"^[0-9]{1,18}$"
_NOT_PLAIN = re.compile(rb'["\x00-\x09\x0b-\x1f\x7f-\xff]')
_DAY_MS = 24 * 3_600_000
_FIRST_US, _LAST_US = (int((datetime(year, 1, 2, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1)) for year in (1800, 2199))
_WHO = ("symbol", "venue", "currency")
_TEXTS = ("trade_id", "conditions")
_STAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Plain records as rows of their table, and the numbers (from 0, of all) and lines of the others.

    count   records of the message
    """

    rows: pa.Table
    others: list[tuple[int, str]]
    count: int


def is_plain_mapping(mapping: CsvMapping) -> bool:
    """Return whether records under this mapping may be plain."""
    return (
        mapping.kind in PLAIN_KINDS
        and mapping.numbers == NumberKind.EXACT
        and mapping.price_exponent == mapping.volume_exponent == 0
        and (mapping.decimal_mark, mapping.thousands_mark) == (".", "")
        and (mapping.time_format in EPOCHS or mapping.time_format == "ms_of_day")
        and mapping.delimiter.isascii()
        and mapping.delimiter not in "\t0123456789.+- "
        and all(len(places) == 1 for places in mapping.columns.values())
    )


def plain_ticks(payload: bytes, file: File, message: int) -> Ticks | None:
    """Return the records of a message; None when they must all be read one by one. Raises NumberRefusedError for its header."""
    mapping = file.mapping
    if _NOT_PLAIN.search(payload) or not is_plain_mapping(mapping):
        return None
    layout, rest = headed(payload.decode("ascii"), mapping)
    lines = pl.Series("line", rest.split("\n"), pl.String)
    lines = lines.filter(lines != "")
    fields = lines.str.split_exact(mapping.delimiter, layout.width).struct.unnest()
    is_good = fields[f"field_{layout.width - 1}"].is_not_null() & fields[f"field_{layout.width}"].is_null()
    marks = list(mapping.null_marks)
    texts = {name: _without(fields[f"field_{places[0]}"].str.strip_chars(" "), marks) for name, places in layout.places.items()}
    at, nanos, is_timed = _instants(texts["time"], file)
    if at is None:
        return None
    columns = {name: texts[name] for name in texts if name.endswith(("price", "size"))}
    for name, column in columns.items():
        is_good &= column.is_null() | column.str.contains(_NUMBER_FORMS[_NUMBERS[name.rpartition("_")[2]]])
    is_good &= is_timed & _is_whole_record(texts, mapping)
    good = is_good.fill_null(value=False).to_numpy()
    kept = np.flatnonzero(good)
    arrays: dict[str, pa.Array] = {
        "message_index": pa.array(np.full(len(kept), message, np.int64)),
        "ordinal": pa.array(kept.astype(np.int32)),
        "ts_event": pa.array(at[kept], pa.int64()).cast(_STAMP),
        "ts_event_nanos": pa.array(nanos[kept], pa.int32()),
    }
    for name, column in columns.items():
        arrays[name] = _arrow(column, kept).cast(arrow_type(_NUMBERS[name.rpartition("_")[2]]))
    arrays |= {name: _arrow(texts[name], kept) for name in _TEXTS if name in texts}
    if "sequence" in texts:
        arrays["sequence"] = _arrow(texts["sequence"], kept).cast(pa.int64())
    if "side" in texts:
        arrays["side"] = _arrow(texts["side"].replace_strict(dict(mapping.sides), default=None, return_dtype=pl.String), kept)
    try:
        arrays |= _instruments(texts, kept, file)
    except NumberRefusedError:
        return None
    table = PLAIN_KINDS[mapping.kind]
    others = [(int(number), lines[int(number)]) for number in np.flatnonzero(~good)]
    return Ticks(columns_table(table, arrays), others, len(lines))


def _without(texts: pl.Series, marks: list[str]) -> pl.Series:
    """Return texts with null for the marks of what is missing."""
    return pl.DataFrame({"text": texts}).select(pl.when(~pl.col("text").is_in(marks)).then(pl.col("text")))["text"]


def _arrow(column: pl.Series, kept: npt.NDArray[np.int64]) -> pa.Array:
    return column.gather(kept).to_arrow().cast(pa.string())


def _is_whole_record(texts: dict[str, pl.Series], mapping: CsvMapping) -> pl.Series:
    """Return which records have what their kind needs, and words that the mapping knows."""
    if mapping.kind == "quotes":
        sides = [texts[name].is_not_null() for name in ("bid_price", "ask_price") if name in texts]
        is_whole = sides[0] if len(sides) == 1 else sides[0] | sides[1]
    else:
        is_whole = texts["price"].is_not_null() & texts["size"].is_not_null()
    if "sequence" in texts:
        is_whole &= texts["sequence"].is_null() | texts["sequence"].str.contains(_WHOLE)
    if "side" in texts:
        is_whole &= texts["side"].is_null() | texts["side"].is_in(list(mapping.sides))
    return is_whole


def _instants(texts: pl.Series, file: File) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int32], pl.Series]:
    """Return microseconds since 1970, nanoseconds beyond them, and which are plain; None where a clock was put on that day."""
    form = file.mapping.time_format
    is_plain = (texts.str.contains(_WHOLE) & texts.is_not_null()).fill_null(value=False)
    units = pl.DataFrame({"t": texts, "p": is_plain}).select(pl.when("p").then("t"))["t"].cast(pl.Int64).fill_null(0).to_numpy()
    nanos = np.zeros(len(units), np.int32)
    if form == "ms_of_day":
        try:
            day = day_of(file.mapping, file.groups.get("date"), "the file's date")
        except NumberRefusedError:
            return None, nanos, is_plain
        edges = [datetime.combine(day + timedelta(days=n), time(), file.stamp_zone) for n in (0, 1)]
        if edges[0].utcoffset() != edges[1].utcoffset():
            return None, nanos, is_plain
        at = units * 1_000 + int((edges[0] - EPOCH) / timedelta(microseconds=1))
        return at, nanos, is_plain & pl.Series(units <= _DAY_MS)
    if form == "epoch_ns":
        at, nanos = units // 1_000, (units % 1_000).astype(np.int32)
        return at, nanos, is_plain & pl.Series(at < _LAST_US)
    is_near = units < _LAST_US // EPOCHS[form]
    return np.where(is_near, units, 0) * EPOCHS[form], nanos, is_plain & pl.Series(is_near)


def _instruments(texts: dict[str, pl.Series], kept: npt.NDArray[np.int64], file: File) -> dict[str, pa.Array]:
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
