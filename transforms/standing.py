"""Which trades stand, from when until when: reports, and the corrections, cancels and breaks that came after them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FROM, UNTIL = "known_from", "known_until"
"""Columns, microseconds since the epoch, half open: while the market took a row for the trade."""
FOR_EVER = 2**63 - 1
_NAMES = ("feed", "instrument_id", "venue_session")
_MENDED = ("price", "size", "conditions")


def standing(trades: pa.Table, events: pa.Table, known: Iterable[int]) -> pa.Table:
    """Return trades with the time each stands: corrected ones once as reported and once as corrected.

    trades   columns of normalized.trades, trade_id, feed, instrument_id, venue_session among them
    events   rows of normalized.trade_events in force, any order
    known    when each trade was known, microseconds since the epoch

    A trade that a correction names as the new one, and that stands here by itself, is not made a second time. An event whose
    trade is not here changes nothing.
    """
    start = np.fromiter(known, np.int64, trades.num_rows)
    until = np.full(trades.num_rows, FOR_EVER, np.int64)
    named = pc.is_in(trades["trade_id"], value_set=_ids(events))
    rows = np.flatnonzero(np.asarray(named.to_numpy())) if trades.num_rows else np.empty(0, np.int64)
    if not len(rows):
        return _with_times(trades, start, until)
    added: list[dict[str, Any]] = []
    standing_rows = {
        _key(row, row["trade_id"]): int(at) for at, row in zip(rows, trades.take(pa.array(rows)).to_pylist(), strict=True)
    }
    ends, starts = dict[int, int](), dict[int, int]()
    for event in sorted(events.to_pylist(), key=lambda one: (one["known_at"], one["ts_event"], one["kind"])):
        at = standing_rows.pop(_key(event, event["trade_id"]), None)
        if at is None:
            continue
        moment = int(pc.cast(pa.scalar(event["known_at"], pa.timestamp("us", tz="UTC")), pa.int64()).as_py())
        ends[at] = moment
        new_id = event["new_trade_id"] or event["trade_id"]
        if event["kind"] != "correction" or _key(event, new_id) in standing_rows:
            continue
        old = added[at - trades.num_rows] if at >= trades.num_rows else trades.slice(at, 1).to_pylist()[0]
        told = {name: event[f"new_{name}"] for name in _MENDED if event[f"new_{name}"] is not None}
        number = trades.num_rows + len(added)
        added.append({**old, **told, "trade_id": new_id})
        starts[number] = moment
        standing_rows[_key(event, new_id)] = number
    whole = pa.concat_tables([trades, pa.Table.from_pylist(added, schema=trades.schema)])
    start = np.append(start, [starts[trades.num_rows + n] for n in range(len(added))]).astype(np.int64)
    until = np.append(until, np.full(len(added), FOR_EVER, np.int64))
    for at, moment in ends.items():
        until[at] = moment
    return _with_times(whole, start, until)


def _ids(events: pa.Table) -> pa.Array:
    """Return the ids that events name, as the trade concerned or the new one."""
    both = pa.chunked_array([*events["trade_id"].chunks, *events["new_trade_id"].chunks], pa.string())
    return both.drop_null().unique()


def _key(row: dict[str, Any], trade_id: str | None) -> tuple[object, ...]:
    return (*(row[name] for name in _NAMES), trade_id)


def _with_times(trades: pa.Table, start: np.ndarray, until: np.ndarray) -> pa.Table:
    return trades.append_column(FROM, pa.array(start, pa.int64())).append_column(UNTIL, pa.array(until, pa.int64()))
