"""Trades and quotes of a CSV message by whole columns (see `csv_plain`): times counted from 1970 or from midnight."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from lake.instants import EPOCH
from lake.tables.quantities import PRICE_TYPE, SIZE_TYPE
from transforms.decode.csv_mapping import EPOCHS, CsvMapping
from transforms.decode.csv_plain import WHOLE, Plain, are_numbers, has_plain_numbers, instruments, numbers, plain_lines, strings
from transforms.decode.csv_values import File, day_of
from transforms.decode.decoded import QUOTES, TRADES, columns_table
from transforms.numbers import NumberRefusedError

PLAIN_KINDS = {"trades": TRADES, "quotes": QUOTES}
_NUMBERS = {"price": PRICE_TYPE, "size": SIZE_TYPE}
_DAY_MS = 24 * 3_600_000
_FIRST_US, _LAST_US = (int((datetime(year, 1, 2, tzinfo=UTC) - EPOCH) / timedelta(microseconds=1)) for year in (1800, 2199))
_TEXTS = ("trade_id", "conditions")
_STAMP = pa.timestamp("us", tz="UTC")


def is_plain_mapping(mapping: CsvMapping) -> bool:
    """Return whether records under this mapping may be plain."""
    has_times = mapping.time_format in EPOCHS or mapping.time_format == "ms_of_day"
    return mapping.kind in PLAIN_KINDS and has_times and len(mapping.columns["time"]) == 1 and has_plain_numbers(mapping)


def plain_ticks(payload: bytes, file: File, message: int) -> Plain | None:
    """Return the records of a message; None when they must all be read one by one. Raises NumberRefusedError for its header."""
    mapping = file.mapping
    found = plain_lines(payload, mapping) if is_plain_mapping(mapping) else None
    if found is None:
        return None
    texts = found.texts
    at, nanos, is_timed = _instants(texts["time"], file)
    if at is None:
        return None
    columns = {name: _NUMBERS[name.rpartition("_")[2]] for name in texts if name.endswith(("price", "size"))}
    is_good = found.is_whole & is_timed & _is_whole_record(texts, mapping)
    for name, kind in columns.items():
        is_good &= are_numbers(texts[name], kind)
    good = is_good.fill_null(value=False).to_numpy()
    kept = np.flatnonzero(good)
    arrays: dict[str, pa.Array] = {
        "message_index": pa.array(np.full(len(kept), message, np.int64)),
        "ordinal": pa.array(kept.astype(np.int32)),
        "ts_event": pa.array(at[kept], pa.int64()).cast(_STAMP),
        "ts_event_nanos": pa.array(nanos[kept], pa.int32()),
    }
    arrays |= {name: numbers(texts[name], kept, kind) for name, kind in columns.items()}
    arrays |= {name: strings(texts[name], kept) for name in _TEXTS if name in texts}
    if "sequence" in texts:
        arrays["sequence"] = strings(texts["sequence"], kept).cast(pa.int64())
    if "side" in texts:
        arrays["side"] = strings(texts["side"].replace_strict(dict(mapping.sides), default=None, return_dtype=pl.String), kept)
    try:
        arrays |= instruments(texts, kept, file)
    except NumberRefusedError:
        return None
    return Plain(columns_table(PLAIN_KINDS[mapping.kind], arrays), found.others(good), len(found.lines))


def _is_whole_record(texts: Mapping[str, pl.Series], mapping: CsvMapping) -> pl.Series:
    """Return which records have what their kind needs, and words that the mapping knows."""
    if mapping.kind == "quotes":
        sides = [texts[name].is_not_null() for name in ("bid_price", "ask_price") if name in texts]
        is_whole = sides[0] if len(sides) == 1 else sides[0] | sides[1]
    else:
        is_whole = texts["price"].is_not_null() & texts["size"].is_not_null()
    if "sequence" in texts:
        is_whole &= texts["sequence"].is_null() | texts["sequence"].str.contains(WHOLE)
    if "side" in texts:
        is_whole &= texts["side"].is_null() | texts["side"].is_in(list(mapping.sides))
    return is_whole


def _instants(texts: pl.Series, file: File) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int32], pl.Series]:
    """Return microseconds since 1970, nanoseconds beyond them, and which are plain; None where a clock was put on that day."""
    form = file.mapping.time_format
    is_plain = (texts.str.contains(WHOLE) & texts.is_not_null()).fill_null(value=False)
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
