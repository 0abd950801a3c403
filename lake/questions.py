"""A question to one table: conditions, what was published and known at a moment, and when rows were published.

It is told in three ways: as bounds that prune a plan, as SQL for DuckDB, as an expression for an Arrow dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pyarrow as pa
import pyarrow.dataset as ds

from lake import as_of as ledger
from lake.as_of import Settled
from lake.catalog import Lake
from lake.conditions import Where, arrow_of, bounds_of, instant_literal, sql_of, text_literal
from lake.errors import InvalidValueError
from lake.heads import Act
from lake.instants import to_ns
from lake.plans import Condition
from lake.tables import PublishedBy, Table
from lake.values import MessageRange

PUBLISHED_AT = "published_at"
INSTANT = pa.timestamp("us", tz="UTC")
REWRITTEN = frozenset({"adjusted.bars_1d"})
"""Tables that are rewritten, not appended to: they cannot tell what they once held; their inputs can."""
AS_PREDICATE = 20
"""With more message ranges (or runs) a join is faster than a predicate (WRITE_RULES.md section 8)."""
_MAKES_ROWS = (Act.APPEND, Act.PUBLISH, Act.RELEASE)


class Question:
    """What to read of one table.

    What was visible is looked up when the question is made: a plan made afterwards has at least those rows.
    Raises InvalidValueError for a naive or future instant, and for a past asked of a rewritten table.
    """

    def __init__(
        self,
        lake: Lake,
        table: Table,
        where: Sequence[Where] = (),
        as_of: datetime | None = None,
        known_as_of: datetime | None = None,
        *,
        wants_published: bool = False,
    ) -> None:
        if table.name in REWRITTEN and (as_of is not None or known_as_of is not None):
            raise InvalidValueError(f"{table.name} is rewritten and holds no past; make it anew from what its inputs were then")
        if known_as_of is not None:
            to_ns(known_as_of)
        self.table = table
        self.visible = None if as_of is None else ledger.visible(lake, table.name, as_of)
        self._known_as_of = known_as_of
        self._conditions = [*where, *self._known_conditions(), *self._visible_conditions()]
        self._published = self._published_rows(lake) if wants_published else None

    def bounds(self) -> list[Condition]:
        """Return what a plan can be pruned by."""
        found = [bounds_of(self.table, condition) for condition in self._conditions]
        if self.visible is not None and self.table.published_by is PublishedBy.MESSAGE:
            captures = tuple(sorted({one.capture_id for one in self.visible.ranges}))
            found.append(Condition("capture_id", "in", captures))
        return [one for one in found if one is not None]

    @property
    def is_past(self) -> bool:
        """True when it asks what was published or known by a moment."""
        return self.visible is not None or self._known_as_of is not None

    def expression(self) -> ds.Expression | None:
        """Return the question as an Arrow expression; None when every row is wanted."""
        found = [arrow_of(self.table, condition) for condition in self._conditions]
        if self._asks_ticks:
            assert self._known_as_of is not None
            instant = pa.scalar(self._known_as_of, INSTANT)
            event, receipt = ds.field("ts_event"), ds.field("ts_recv")
            found.append((event <= instant) | (event.is_null() & (receipt <= instant)))
        if self.visible is not None and self.table.published_by is PublishedBy.MESSAGE:
            found.append(_ranges_expression(self.visible.ranges))
        if self._has_many_runs:
            assert self.visible is not None
            found.append(ds.field("run_id").isin(sorted(self.visible.runs)))
        if not found:
            return None
        whole = found[0]
        for one in found[1:]:
            whole = whole & one
        return whole

    def sql(self, source: str, columns: Sequence[str]) -> tuple[str, dict[str, pa.Table]]:
        """Return (query over the SQL of a source, tables it needs registered) that gives `columns` in that order."""
        needed: dict[str, pa.Table] = {}
        conditions = [sql_of(self.table, condition) for condition in self._conditions]
        joins, after = "", []
        if self._asks_ticks:
            assert self._known_as_of is not None
            conditions.append(f"coalesce(ts_event, ts_recv) <= {instant_literal(self._known_as_of)}")
        if self._has_many_runs:
            assert self.visible is not None
            needed["visible_runs"] = pa.table({"run_id": pa.array(sorted(self.visible.runs), pa.string())})
            conditions.append("run_id IN (SELECT run_id FROM visible_runs)")
        if self.visible is not None and self.table.published_by is PublishedBy.MESSAGE:
            if len(self.visible.ranges) <= AS_PREDICATE:
                conditions.append(_ranges_sql(self.visible.ranges))
            else:
                needed["visible_ranges"] = _ranges_table(self.visible.ranges)
                joins += " ASOF JOIN visible_ranges v ON f.capture_id = v.capture_id AND f.message_seq >= v.first_seq"
                after.append("f.message_seq <= v.last_seq")
        published = "NULL"
        if self._published is not None:
            needed["published"] = self._published
            published, join = self._published_sql()
            joins += join
        elif self.table.published_by is PublishedBy.RECORDED:
            published = "f.recorded_at"
        names = ", ".join(
            f"CAST({published} AS TIMESTAMPTZ) AS {PUBLISHED_AT}" if name == PUBLISHED_AT else f'f."{name}"' for name in columns
        )
        inner = f"SELECT * FROM {source}" + _where(conditions)
        return f"SELECT {names} FROM ({inner}) f{joins}" + _where(after), needed

    @property
    def _asks_ticks(self) -> bool:
        """True when what was known depends on two columns."""
        columns = self.table.column_names
        return self._known_as_of is not None and "known_at" not in columns and "ts_event" in columns

    @property
    def _has_many_runs(self) -> bool:
        """True when what was visible is told by more runs than fit a condition."""
        return self.visible is not None and len(self.visible.runs) > AS_PREDICATE

    def _known_conditions(self) -> list[Where]:
        if self._known_as_of is None or self._asks_ticks:
            return []
        for name in ("known_at", "recorded_at", "ts_recv"):
            if name in self.table.column_names:
                return [Where(name, "<=", self._known_as_of)]
        return []

    def _visible_conditions(self) -> list[Where]:
        if self.visible is None:
            return []
        if self.table.published_by is PublishedBy.RECORDED:
            return [Where("recorded_at", "<=", self.visible.as_of)]
        if self.table.published_by is PublishedBy.RUN and not self._has_many_runs:
            return [Where("run_id", "in", sorted(self.visible.runs))]
        return []

    def _published_rows(self, lake: Lake) -> pa.Table | None:
        if self.table.published_by is PublishedBy.RECORDED:
            return None
        booked = [entry for entry in ledger.ledger(lake, self.table.name) if entry.act in _MAKES_ROWS]
        return published_runs(booked) if self.table.published_by is PublishedBy.RUN else published_ranges(booked)

    def _published_sql(self) -> tuple[str, str]:
        if self.table.published_by is PublishedBy.RUN:
            return "p.published_at", " LEFT JOIN published p ON f.run_id = p.run_id"
        return (
            "CASE WHEN f.message_seq <= p.last_seq THEN p.published_at END",
            " ASOF LEFT JOIN published p ON f.capture_id = p.capture_id AND f.message_seq >= p.first_seq",
        )


def published_runs(booked: Sequence[Settled]) -> pa.Table:
    """Return (run_id, published_at) of one table's ledger entries: the first time of each run."""
    first: dict[str, datetime] = {}
    for entry in booked:
        first[entry.run_id] = min(first.get(entry.run_id, entry.published_at), entry.published_at)
    return pa.table({"run_id": pa.array(first.keys(), pa.string()), PUBLISHED_AT: pa.array(first.values(), INSTANT)})


def published_ranges(booked: Sequence[Settled]) -> pa.Table:
    """Return disjoint (capture_id, first_seq, last_seq, published_at) of one table's ledger entries.

    A message that stands in several ranges has the first of their times.
    """
    by_capture: dict[str, list[tuple[int, int, datetime]]] = {}
    for entry in booked:
        for one in entry.ranges:
            by_capture.setdefault(one.capture_id, []).append((one.first_seq, one.last_seq, entry.published_at))
    found = [(capture, *part) for capture, ranges in by_capture.items() for part in _disjoint(ranges)]
    columns = zip(*found, strict=True) if found else ((), (), (), ())
    types = {"capture_id": pa.string(), "first_seq": pa.int64(), "last_seq": pa.int64(), PUBLISHED_AT: INSTANT}
    return pa.table({name: pa.array(column, types[name]) for name, column in zip(types, columns, strict=True)})


def _disjoint(ranges: list[tuple[int, int, datetime]]) -> list[tuple[int, int, datetime]]:
    """Return the same numbers in ranges that do not overlap, each with the earliest time, in order."""
    edges = sorted({first for first, _, _ in ranges} | {last + 1 for _, last, _ in ranges})
    ordered = sorted(ranges)
    if all(one[1] < other[0] for one, other in pairwise(ordered)):
        return ordered
    found = []
    for start, end in pairwise(edges):
        times = [at for first, last, at in ranges if first <= start and end - 1 <= last]
        if times:
            found.append((start, end - 1, min(times)))
    return found


def _ranges_table(ranges: Sequence[MessageRange]) -> pa.Table:
    return pa.table(
        {
            "capture_id": pa.array([one.capture_id for one in ranges], pa.string()),
            "first_seq": pa.array([one.first_seq for one in ranges], pa.int64()),
            "last_seq": pa.array([one.last_seq for one in ranges], pa.int64()),
        }
    )


def _ranges_sql(ranges: Sequence[MessageRange]) -> str:
    parts = [
        f"(capture_id = {text_literal(one.capture_id)} AND message_seq BETWEEN {one.first_seq} AND {one.last_seq})"
        for one in ranges
    ]
    return f"({' OR '.join(parts)})" if parts else "false"


def _ranges_expression(ranges: Sequence[MessageRange]) -> ds.Expression:
    found = ds.scalar(False)
    for one in ranges:
        seq = ds.field("message_seq")
        found = found | ((ds.field("capture_id") == one.capture_id) & (seq >= one.first_seq) & (seq <= one.last_seq))
    return found


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
