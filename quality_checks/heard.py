"""What was listened to: of each symbol of a push feed from when to when, by what captures noted. Reads the lake and the state.

A capture notes what it is to bring when it begins, and the next of its job until when the one before it listened; the last one
keeps that in its job. What a capture that was killed was to bring is known as well as any other's.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import parse_instant, to_datetime
from lake.scan import read
from lake.values import CaptureKind
from quality_checks.gap_bounds import BARS, table_of

JOINED = timedelta(minutes=15)
"""A shorter pause between two captures is listened to as well: a restart is no end."""
JOBS = "stream:"
"""How the names of jobs begin that tell how captures of push feeds stand."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that one feed was to bring of one symbol: rows of a table; of bars, of one length."""

    provider: str
    feed: str
    table: str
    symbol: str
    interval: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, `[start, end)`."""

    start: datetime
    end: datetime


def heard(lake: Lake, since: datetime) -> dict[Heard, list[Window]]:
    """Return when each thing was listened to after `since`, as far as it landed: windows in order, apart by more than `JOINED`.

    A capture whose end nobody noted (of an older version, or its state is lost) is left out.
    """
    where = [Where("kind", "=", CaptureKind.LIVE.value)]
    captures = read(lake, "ops.captures", ["capture_id", "provider", "feed", "started_at", "detail"], where).to_pylist()
    details = {row["capture_id"]: json.loads(row["detail"] or "{}") for row in captures}
    ends = _ends(lake, details.values())
    found: dict[Heard, list[Window]] = defaultdict(list)
    for row in captures:
        end = ends.get(row["capture_id"])
        start = row["started_at"].astimezone(UTC)
        if end is not None and end > since and end > start:
            for key in _keys(row["provider"], row["feed"], details[row["capture_id"]]):
                found[key].append(Window(max(start, since), end))
    return {key: joined(windows, JOINED) for key, windows in found.items()}


def _ends(lake: Lake, details: Iterable[Mapping[str, Any]]) -> dict[str, datetime]:
    """Return until when captures listened."""
    ends = {
        detail["before"]["capture_id"]: parse_instant(detail["before"]["until"]) for detail in details if detail.get("before")
    }
    jobs = lake.state.jobs(JOBS).values()
    return ends | {job["capture_id"]: to_datetime(job["told_at_ns"]) for job in jobs if job.get("told_at_ns")}


def _keys(provider: str, feed: str, detail: Mapping[str, Any]) -> list[Heard]:
    """Return what a capture was to bring."""
    found = []
    for channel, symbols in detail.get("wanted", {}).items():
        table = table_of(channel)
        interval = ("1d" if "daily" in channel else "1m") if table == BARS else None
        found += [Heard(provider, feed, table, symbol, interval) for symbol in symbols if table is not None]
    return found


def joined(windows: Iterable[Window], apart: timedelta = timedelta(0)) -> list[Window]:
    """Return the union of windows, in order; those that lie no more than `apart` from each other become one."""
    found: list[Window] = []
    for each in sorted(windows, key=lambda one: (one.start, one.end)):
        if found and each.start - found[-1].end <= apart:
            found[-1] = Window(found[-1].start, max(found[-1].end, each.end))
        else:
            found.append(each)
    return found


def without(window: Window, taken: Sequence[Window]) -> list[Window]:
    """Return what is left of a window without those that are taken."""
    left, start = [], window.start
    for each in joined(taken):
        if each.end <= start or each.start >= window.end:
            continue
        if each.start > start:
            left.append(Window(start, each.start))
        start = each.end
    return [*left, Window(start, window.end)] if start < window.end else left
