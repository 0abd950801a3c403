"""Levels: the last published price of each instrument, which the contracts' check `price_level` compares with.

One small document a (table, provider) in the lake's state, so that a batch costs no reading of main. It is derived: where it
is missing it is made from the newest session on main. It is written after a publication; a crash between the two leaves the
price before it, which serves as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import newest_session, read

BEFORE = pa.schema(
    [
        pa.field("instrument_id", pa.int64()),
        pa.field("price", pa.decimal128(20, 10)),
        pa.field("ts_event", pa.timestamp("us", tz="UTC")),
    ]
)
"""The view `before` of a contract: one row an instrument. A price has a digit more than columns have, for the mid of a quote."""

_KIND = "levels"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ORDER = ("ts_event", "ts_event_nanos", "capture_id", "message_seq", "ordinal")
_COLUMNS = {
    "normalized.trades": ("instrument_id", *_ORDER, "price"),
    "normalized.quotes": ("instrument_id", *_ORDER, "ts_recv", "bid_price", "ask_price"),
}


def no_levels(table: str) -> pa.Table | None:
    """Return `before` when nothing is known; None for a table without levels, whose contract then cannot name it."""
    return BEFORE.empty_table() if table in _COLUMNS else None


def known_levels(lake: Lake, table: str, provider: str) -> pa.Table | None:
    """Return the last published price of each instrument in the schema BEFORE; None for a table without levels."""
    if table not in _COLUMNS:
        return None
    document = lake.state.document(_KIND, f"{table}/{provider}")
    if document is None:
        return _levels_of_main(lake, table, provider)
    return pa.Table.from_pylist(
        [
            {"instrument_id": int(key), "price": Decimal(price), "ts_event": _EPOCH + timedelta(microseconds=at_us)}
            for key, (price, at_us) in document.items()
        ],
        schema=BEFORE,
    )


def keep_levels(lake: Lake, table: str, provider: str, levels: pa.Table | None) -> None:
    """Save what `known_levels` returns from now on. To be called after a publication, under the table's lease."""
    if levels is None:
        return
    times = pc.cast(levels["ts_event"], pa.int64()).to_pylist()
    columns = (levels["instrument_id"].to_pylist(), levels["price"].to_pylist(), times)
    found = {str(key): [format(price, "f"), at_us] for key, price, at_us in zip(*columns, strict=True)}
    lake.state.save_document(_KIND, f"{table}/{provider}", found)


def newer_levels(levels: pa.Table | None, table: str, rows: pa.Table) -> pa.Table | None:
    """Return `levels` with the prices of `rows` that are as new or newer by ts_event; None for a table without levels.

    The last row of an instrument counts; a narrow quote by its mid, at ts_recv where its feed has no venue clock.
    """
    if levels is None or table not in _COLUMNS:
        return None
    found = rows.select(list(_COLUMNS[table]))
    at, price = found["ts_event"], found["price"] if "price" in found.column_names else _both_sides(found)
    if "ts_recv" in found.column_names:
        at = pc.coalesce(at, found["ts_recv"])
    placed = pa.table(
        {**{name: found[name] for name in ("instrument_id", *_ORDER)}, "ts_event": at, "price": price.cast(BEFORE[1].type)}
    )
    last = _last_of_each(placed.filter(pc.greater(placed["price"], Decimal(0))), _ORDER)
    if "price" not in found.column_names:
        mids = pa.array([both / 2 for both in last["price"].to_pylist()], BEFORE[1].type)
        last = last.set_column(1, BEFORE[1], mids)
    return _last_of_each(pa.concat_tables([levels, last]), ("ts_event",))


def _both_sides(quotes: pa.Table) -> pa.ChunkedArray:
    """Return bid + ask of narrow quotes; null of a stub (one side, or an offer beyond twice the bid), which tells no price."""
    bid, ask = quotes["bid_price"], quotes["ask_price"]
    is_narrow = pc.less_equal(ask, pc.add(bid, bid))
    return pc.if_else(is_narrow, pc.add(bid, ask), pa.scalar(None, pc.add(bid, ask).type))


def _last_of_each(rows: pa.Table, order: Sequence[str]) -> pa.Table:
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in rows.column_names})
    last = frame.sort(order, maintain_order=True).unique("instrument_id", keep="last", maintain_order=True)
    return last.select(BEFORE.names).sort("instrument_id").to_arrow().cast(BEFORE)


def _levels_of_main(lake: Lake, table: str, provider: str) -> pa.Table | None:
    session = newest_session(lake, table, provider)
    nothing = no_levels(table)
    if session is None:
        return nothing
    where = [Where("provider", "=", provider), Where("session_date", "=", session)]
    return newer_levels(nothing, table, read(lake, table, _COLUMNS[table], where))
