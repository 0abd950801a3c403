"""What a built bar was made of: the trades or quotes of its feed within its span, looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import read
from lake.tables import table_named
from lake.values import event_id
from quality_checks.building import EVENTS, QUOTES, TRADES
from quality_checks.naming import belonging_now, owned
from transforms.belonging import NAMED_BY

SHOWN = 20
"""Trades shown of a bar; the others stand in the same span."""
_EVENT = ("capture_id", "message_seq", "ordinal")


def inputs_of_built(lake: Lake, bar: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], str]:
    """Return (role, event id, table) of the first inputs of a row of adjusted.built_bars, and how many there are in words."""
    is_trade = bar["price_type"] == "trade"
    table, clock = (TRADES, "ts_event") if is_trade else (QUOTES, "ts_recv")
    names = [*_EVENT, "ts_event", *(["trade_id"] if is_trade else ["ts_recv"])]
    whose = belonging_now(lake)
    where = [Where(name, "=", bar[name]) for name in ("provider", "feed", "session_date")]
    where.append(Where("instrument_id", "in", sorted(whose.sources([bar["instrument_id"]]))))
    wanted = [name for name in table_named(table).column_names if name in {*names, *NAMED_BY}]
    rows = owned(lake, read(lake, table, wanted, where), whose)
    rows = rows.filter(pc.equal(rows["instrument_id"], bar["instrument_id"]))
    if bar["interval"] != "1d":
        at = rows["ts_event"] if is_trade else pc.coalesce(rows["ts_event"], rows["ts_recv"])
        rows = rows.filter(pc.and_(pc.greater_equal(at, _instant(bar["ts_open"])), pc.less(at, _instant(bar["ts_end"]))))
    rows = rows.sort_by([(clock, "ascending"), ("message_seq", "ascending"), ("ordinal", "ascending")])
    role = "trade" if is_trade else "quote"
    found = [(role, name, table) for name in _ids(rows.slice(0, SHOWN))]
    if is_trade and rows.num_rows:
        ids = rows["trade_id"].drop_null().unique().to_pylist() if rows.num_rows <= SHOWN else []
        some = [Where("provider", "=", bar["provider"]), Where("trade_id", "in", ids)]
        found += [("correction", name, EVENTS) for name in _ids(read(lake, EVENTS, list(_EVENT), some))]
    words = f"made of {rows.num_rows:,} {role}s of {bar['provider']} {bar['feed']} within its span"
    return found, words if rows.num_rows <= SHOWN else f"{words}; the first {SHOWN} are shown"


def _instant(value: object) -> pa.Scalar:
    return pa.scalar(value, pa.timestamp("us", tz="UTC"))


def _ids(rows: pa.Table) -> list[str]:
    return [event_id(*place) for place in zip(*(rows[name].to_pylist() for name in _EVENT), strict=True)]
