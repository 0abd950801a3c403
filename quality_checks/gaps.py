"""The gap ledger: what may be missing, how far its filling is, who was asked. Shell over mutable state and history.

A gap is opened by a feed (a capture writes the row of quality.gaps) or by looking (quality_checks/missing.py). What is under way
stands in state, one document a gap; each step is put there together with the row that tells it, then the row goes to the log.
A row that a crash left untold is told by the next `refresh`, under the same key, so that it lands once. State is found again
from the history where it was lost; a closed gap leaves it once its closing has landed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.log.history import append_history
from lake.log.log import Log
from lake.scan import read
from lake.tables import rows, table_named

GAPS = "quality.gaps"
RECONCILE = "reconcile-"
"""How the id of a gap begins that is a span to be reconciled: nothing is known to be missing in it."""
_KIND = "gap"
_SEEN = "gaps_seen"
_MICROSECOND = timedelta(microseconds=1)
_TOLD = (
    *("gap_id", "provider", "feed", "symbol", "status", "reason", "first_missing", "last_missing", "capture_id", "table_name"),
    *("interval", "gap_start", "gap_end", "missing_count", "found_count", "attempts", "next_attempt_at", "worker"),
)
"""Columns of a row that are fields of a gap by the same name."""


class GapStatus(StrEnum):
    """How far a gap is."""

    OPEN = "open"
    FILLING = "filling"
    """Providers were asked; what they told is on its way through the gate."""
    FILLED = "filled"
    PROVEN_EMPTY = "proven_empty"
    UNFILLABLE = "unfillable"


FINAL = frozenset({GapStatus.FILLED, GapStatus.PROVEN_EMPTY, GapStatus.UNFILLABLE})


@dataclass(frozen=True, slots=True)
class Fill:
    """One capture that was made to fill a gap, and what the provider's last word was.

    attempt   the gap's attempt that it belongs to
    unit      number of the question in the attempt, from 0
    """

    capture_id: str
    provider: str
    feed: str
    symbol: str
    messages: int
    verdict: str
    attempt: int
    unit: int
    detail: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class KnownGap:
    """One gap as the ledger has it; fields are the columns of quality.gaps, but for these.

    fills   what was captured for it
    tried   whom it was asked of since it last waited, as PROVIDER/FEED
    rounds  how often everybody was asked
    """

    gap_id: str
    provider: str
    feed: str
    symbol: str
    status: GapStatus
    reason: str
    recorded_at: datetime
    first_missing: str | None = None
    last_missing: str | None = None
    capture_id: str | None = None
    table_name: str | None = None
    interval: str | None = None
    gap_start: datetime | None = None
    gap_end: datetime | None = None
    missing_count: int | None = None
    found_count: int | None = None
    attempts: int | None = None
    next_attempt_at: datetime | None = None
    worker: str | None = None
    fills: tuple[Fill, ...] = ()
    tried: tuple[str, ...] = ()
    rounds: int = 0

    @property
    def is_final(self) -> bool:
        """Whether nothing more is done about it."""
        return self.status in FINAL

    @property
    def is_reconcile(self) -> bool:
        """Whether it is a span of a feed without numbers, asked for again to find what a silence swallowed."""
        return self.gap_id.startswith(RECONCILE)

    @property
    def channel(self) -> str:
        """The feed's own channel, as a capture wrote it before the reason; empty where there is none."""
        channel, colon, _ = self.reason.partition(": ")
        return channel if colon and self.worker is None else ""

    @property
    def is_filled_by_own(self) -> bool:
        """Whether its own provider's answer filled it: who told stands before the reason (`gap_verdicts.py`)."""
        return self.status is GapStatus.FILLED and self.reason.startswith(f"{self.provider}/")

    def row(self) -> dict[str, Any]:
        """Return the row of quality.gaps that tells where it stands."""
        told = {name: getattr(self, name) for name in _TOLD}
        captures = ",".join(fill.capture_id for fill in self.fills) or None
        return {**told, "status": self.status.value, "filled_by": captures, "recorded_at": self.recorded_at}


Step = Callable[[KnownGap], KnownGap | None]
"""What is to become of a gap, by how it stands now; None: nothing. Pure: it may be called more than once."""


class GapLedger:
    """The ledger of one lake. `who` is named in the rows that it writes."""

    def __init__(self, lake: Lake, log: Log, who: str) -> None:
        self._lake, self._log, self._who = lake, log, who

    def refresh(self) -> None:
        """Learn what captures opened and closed, as far as it has landed, and tell what a crash left untold."""
        for gap_id, document in self._lake.state.documents(_KIND).items():
            if document["untold"]:
                self._tell(gap_id)
        head = str(self._lake.head(GAPS).snapshot_id)
        if (self._lake.state.document(_SEEN, GAPS) or {}).get("snapshot") == head:
            return
        known = self._lake.state.documents(_KIND)
        for gap in newest_gaps(self._lake):
            if gap.gap_id in known or not gap.is_final:
                self._lake.state.change_document(_KIND, gap.gap_id, partial(_learned, told=gap))
        self._lake.state.save_document(_SEEN, GAPS, {"snapshot": head})

    def under_way(self) -> list[KnownGap]:
        """Return the gaps that are not closed, and those whose closing has not landed, by id."""
        return [_gap_of(document) for document in self._lake.state.documents(_KIND).values()]

    def gap(self, gap_id: str) -> KnownGap | None:
        """Return a gap that is under way; None when there is none of that id."""
        document = self._lake.state.document(_KIND, gap_id)
        return None if document is None else _gap_of(document)

    def open(self, gap: KnownGap) -> bool:
        """Open a gap, unless one of its id was ever opened; returns whether it was opened now. Durable on return."""
        now = to_datetime(self._lake.clock())
        opened = replace(gap, recorded_at=now, worker=gap.worker or self._who)
        if read(self._lake, GAPS, ["gap_id"], [Where("gap_id", "=", gap.gap_id)]).num_rows:
            return False
        is_new: list[bool] = []

        def put(held: dict[str, Any] | None) -> Mapping[str, object] | None:
            is_new[:] = [held is None]
            return _document(opened, [opened.row()]) if held is None else held

        self._lake.state.change_document(_KIND, gap.gap_id, put)
        self._lake.steps.reached("gap.stepped")
        if is_new[0]:
            self._tell(gap.gap_id)
        return is_new[0]

    def step(self, gap_id: str, step: Step) -> KnownGap | None:
        """Let a gap take a step, in one transaction, and tell it; returns how it stands then, None when it is not under way.

        A gap that is closed takes no more steps.
        """
        now = to_datetime(self._lake.clock())

        def move(held: dict[str, Any] | None) -> Mapping[str, object] | None:
            if held is None:
                return None
            before = _gap_of(held)
            after = None if before.is_final else step(before)
            if after is None or after == before:
                return held
            at = max(now, before.recorded_at + _MICROSECOND)
            stepped = replace(after, recorded_at=at, worker=self._who)
            is_told = stepped.status is not before.status or stepped.attempts != before.attempts
            return _document(stepped, [*held["untold"], *([stepped.row()] if is_told else [])])

        after = self._lake.state.change_document(_KIND, gap_id, move)
        self._lake.steps.reached("gap.stepped")
        if after is None:
            return None
        if after["untold"]:
            self._tell(gap_id)
        return _gap_of(after)

    def _tell(self, gap_id: str) -> None:
        document = self._lake.state.document(_KIND, gap_id)
        if document is None or not document["untold"]:
            return
        told = [_instants(row) for row in document["untold"]]
        names = table_named(GAPS).column_names
        append_history(self._log, GAPS, rows(table_named(GAPS), {name: [row.get(name) for row in told] for name in names}))
        self._lake.steps.reached("gap.told")
        self._lake.state.change_document(_KIND, gap_id, partial(_without, told=document["untold"]))


def newest_gaps(lake: Lake, where: Sequence[Where] = ()) -> list[KnownGap]:
    """Return every gap of quality.gaps that satisfies `where`, each as its newest row tells it, oldest first."""
    found: dict[str, dict[str, Any]] = {}
    for row in read(lake, GAPS, where=where).to_pylist():
        before = found.get(row["gap_id"])
        if before is None or _rank(row) > _rank(before):
            found[row["gap_id"]] = row
    gaps = [_of_row(row) for row in found.values()]
    return sorted(gaps, key=lambda gap: (gap.recorded_at, gap.gap_id))


def why_asked(lake: Lake, capture_id: str, since: datetime) -> list[tuple[KnownGap, str]]:
    """Return the gaps that a capture was made to fill as they stand, each with the reason for which it was opened.

    since   when the capture began: by then a gap was open, and its filling is told after it
    """
    found = {
        gap.gap_id: gap
        for gap in map(_gap_of, lake.state.documents(_KIND).values())
        if any(fill.capture_id == capture_id for fill in gap.fills)
    }
    told = read(lake, GAPS, where=[Where("recorded_at", ">=", since)]).to_pylist()
    for row in sorted((row for row in told if capture_id in (row["filled_by"] or "").split(",")), key=_rank):
        found[row["gap_id"]] = _of_row(row)
    reasons = {}
    for gap_id, gap in found.items():
        steps = read(lake, GAPS, where=[Where("gap_id", "=", gap_id)]).to_pylist()
        reasons[gap_id] = min(steps, key=_rank)["reason"] if steps else gap.reason
    return [(gap, reasons[gap_id]) for gap_id, gap in sorted(found.items())]


def _rank(row: Mapping[str, Any]) -> tuple[datetime, int, bool]:
    return row["recorded_at"], row["attempts"] or 0, row["status"] != GapStatus.OPEN


def _of_row(row: Mapping[str, Any]) -> KnownGap:
    told = {name: row[name] for name in _TOLD if name not in ("status", "symbol")}
    return KnownGap(**told, symbol=row["symbol"] or "", status=GapStatus(row["status"]), recorded_at=row["recorded_at"])


def _learned(held: dict[str, Any] | None, told: KnownGap) -> Mapping[str, object] | None:
    """Return the document of a gap by its newest row that landed: a feed's own word closes it; closed and landed, it leaves."""
    if held is None:
        return None if told.is_final else _document(told, [])
    if held["untold"] or not told.is_final:
        return held
    return None


def _without(held: dict[str, Any] | None, told: Sequence[Mapping[str, Any]]) -> Mapping[str, object] | None:
    return None if held is None else {**held, "untold": [row for row in held["untold"] if row not in told]}


def _document(gap: KnownGap, untold: Iterable[Mapping[str, Any]]) -> Mapping[str, object]:
    return {"gap": msgspec.to_builtins(gap), "untold": [msgspec.to_builtins(row) for row in untold]}


def _gap_of(document: Mapping[str, Any]) -> KnownGap:
    return msgspec.convert(document["gap"], KnownGap)


def _instants(row: Mapping[str, Any]) -> dict[str, Any]:
    stamps = ("recorded_at", "gap_start", "gap_end", "next_attempt_at")
    return {name: datetime.fromisoformat(value) if name in stamps and value else value for name, value in row.items()}
