"""Bars of a CSV message by whole columns (see `csv_plain`); each distinct stamp is placed as `csv_facts` places it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from lake.tables.quantities import PRICE_TYPE, VOLUME_TYPE
from transforms.decode.csv_columns import OHLC
from transforms.decode.csv_mapping import CsvMapping, ohlc_sets
from transforms.decode.csv_plain import WHOLE, Plain, are_numbers, has_plain_numbers, instruments, numbers, plain_lines, strings
from transforms.decode.csv_values import File, known_when, placed
from transforms.decode.decoded import BARS, columns_table
from transforms.numbers import NumberRefusedError

_NUMBERS = {"volume": VOLUME_TYPE, "vwap": PRICE_TYPE, "provider_adjusted_close": PRICE_TYPE} | dict.fromkeys(OHLC, PRICE_TYPE)
_STAMP = pa.timestamp("us", tz="UTC")
_Placed = tuple[datetime, date | None, bool, datetime | None]
"""ts_open, session_date, is_final, known_at of a stamp."""


def is_plain_mapping(mapping: CsvMapping) -> bool:
    """Return whether bars under this mapping may be plain: a record is one bar."""
    return mapping.kind == "bars" and ohlc_sets(mapping) == ((mapping.price_type, ""),) and has_plain_numbers(mapping)


def plain_bars(payload: bytes, file: File, message: int) -> Plain | None:
    """Return the records of a message; None when they must all be read one by one. Raises NumberRefusedError for its header."""
    mapping = file.mapping
    found = plain_lines(payload, mapping) if is_plain_mapping(mapping) else None
    if found is None:
        return None
    texts = found.texts
    told = [name for name in _NUMBERS if name in texts]
    is_good = found.is_whole & texts["time"].is_not_null()
    for name in told:
        is_good &= are_numbers(texts[name], _NUMBERS[name])
    for name in OHLC:
        is_good &= texts[name].is_not_null()
    if "trade_count" in texts:
        is_good &= texts["trade_count"].is_null() | texts["trade_count"].str.contains(WHOLE)
    stamps = texts["time"].filter(is_good.fill_null(value=False)).unique(maintain_order=True)
    places = {text: place for text in stamps.to_list() if (place := _placed(file, text)) is not None}
    good = (is_good & texts["time"].is_in(list(places))).fill_null(value=False).to_numpy()
    kept = np.flatnonzero(good)
    placed_at = [places[text] for text in texts["time"].gather(kept).to_list()]
    arrays: dict[str, pa.Array] = {
        "message_index": pa.array(np.full(len(kept), message, np.int64)),
        "ordinal": pa.array(kept.astype(np.int32)),
        "ts_open": pa.array([place[0] for place in placed_at], _STAMP),
        "session_date": pa.array([place[1] for place in placed_at], pa.date32()),
        "is_final": pa.array([place[2] for place in placed_at], pa.bool_()),
        "known_at": pa.array([place[3] for place in placed_at], _STAMP),
        "delivered_at": pa.repeat(pa.scalar(file.delivered, _STAMP), len(kept)),
    }
    words = {"interval": file.interval, "basis": mapping.basis, "price_type": mapping.price_type}
    arrays |= {name: pa.repeat(pa.scalar(word, pa.string()), len(kept)) for name, word in words.items()}
    arrays |= {name: numbers(texts[name], kept, _NUMBERS[name]) for name in told}
    if "trade_count" in texts:
        arrays["trade_count"] = strings(texts["trade_count"], kept).cast(pa.int64())
    try:
        arrays |= instruments(texts, kept, file)
    except NumberRefusedError:
        return None
    return Plain(columns_table(BARS, arrays), found.others(good), len(found.lines))


def _placed(file: File, text: str) -> _Placed | None:
    """Return where a stamp places a bar; None for one that is refused."""
    try:
        opened, session = placed(file, text)
    except NumberRefusedError:
        return None
    return opened.astimezone(UTC), session, *known_when(file, opened, session)
