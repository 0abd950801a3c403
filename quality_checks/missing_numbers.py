"""Missing numbers: of feeds that number their events without a hole, those that nobody told while one listened, as gaps.

A gap that a feed told of itself can end too early; whatever the reason, a number between two others that the lake does not
have is missing. Looked for once, from where the look before ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import parse_instant
from lake.scan import read
from quality_checks.gaps import GapLedger, GapStatus, KnownGap
from quality_checks.heard import Heard, Window

_KIND = "numbers"


def look(
    lake: Lake, ledger: GapLedger, key: Heard, windows: Sequence[Window], settled: datetime, now: datetime
) -> list[KnownGap]:
    """Open a gap for each run of numbers that is missing before `settled`; returns those opened now. Safe to repeat.

    windows   when the feed was listened to, in order
    """
    name = f"{key.provider}/{key.feed}/{key.symbol}"
    held = lake.state.document(_KIND, name)
    until, last = (None, None) if held is None else (parse_instant(str(held["until"])), held["last"])
    known = [gap for gap in ledger.under_way() if (gap.provider, gap.feed, gap.symbol) == (key.provider, key.feed, key.symbol)]
    opened = []
    for window in windows:
        start, end = max(window.start, until or window.start), min(window.end, settled)
        if end <= start:
            continue
        numbers = _numbers(lake, key, start, end)
        if last is not None and until is not None and window.start < until:
            numbers = np.union1d(numbers, [last])
        for first_missing, last_missing in _holes(numbers):
            gap = _gap(key, first_missing, last_missing, now)
            if not any(_covers(one, first_missing, last_missing) for one in known) and ledger.open(gap):
                opened.append(gap)
        last, until = (int(numbers[-1]) if len(numbers) else None), end
    if until is not None:
        lake.state.save_document(_KIND, name, {"until": until.isoformat(), "last": last})
    return opened


def _numbers(lake: Lake, key: Heard, start: datetime, end: datetime) -> np.ndarray:
    where = [Where(name, "=", getattr(key, name)) for name in ("provider", "feed", "symbol")]
    rows = read(lake, key.table, ["sequence"], [*where, Where("ts_event", ">=", start), Where("ts_event", "<", end)])
    return np.unique(rows["sequence"].drop_null().to_numpy())


def _holes(numbers: np.ndarray) -> Iterator[tuple[int, int]]:
    for place in np.flatnonzero(np.diff(numbers) > 1):
        yield int(numbers[place]) + 1, int(numbers[place + 1]) - 1


def _covers(gap: KnownGap, first: int, last: int) -> bool:
    """Return whether a gap that nothing has closed yet asks for these numbers, or will once its end is known."""
    if gap.status is GapStatus.FILLED or not (gap.first_missing or "").isdigit():
        return False
    is_before = int(str(gap.first_missing)) <= first
    return is_before and (gap.last_missing is None or int(gap.last_missing) >= last)


def _gap(key: Heard, first: int, last: int, now: datetime) -> KnownGap:
    return KnownGap(
        gap_id=f"numbers-{key.provider}-{key.feed}-{key.symbol}-{first}-{last}",
        provider=key.provider,
        feed=key.feed,
        symbol=key.symbol,
        status=GapStatus.OPEN,
        reason=f"missing numbers: {last - first + 1} between two that were told",
        recorded_at=now,
        first_missing=str(first),
        last_missing=str(last),
        table_name=key.table,
    )
