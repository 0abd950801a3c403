"""What reconciling a span has come to: what a provider's history tells, against what was heard, counted fact by fact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import read
from lake.values import CaptureKind
from quality_checks.gap_proofs import clock_unit_ns, content_of, facts_told, refused_of, rows_held
from quality_checks.gaps import Fill, GapStatus, KnownGap
from transforms.clocks import as_held

_ALARMING = 0.05
"""Such a share of facts that differ is no correction here and there: the history speaks another language than the feed."""
_FEW = 2


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Counts of one span.

    facts     what the history tells
    agreed    those of them that were heard, or asked for before, in the same words
    missed    those of them that nobody had heard or asked for before, and that stand in the lake now
    absent    those of them that the lake does not have, although the gate did not refuse them
    refused   those of them that the gate refused
    unknown   what stood in the lake and the history does not tell: corrected since, or of another tape
    doubled   what stands in the lake more often than it was heard and than the history tells it
    ends_at   the history's last instant where something was heard after it: it is not whole yet; else None
    """

    facts: int
    agreed: int
    missed: int
    absent: int
    refused: int
    unknown: int
    doubled: int
    ends_at: datetime | None

    @property
    def is_alarming(self) -> bool:
        """Whether feed and history differ so much that asking again does harm."""
        return self.doubled + self.refused > max(_FEW, _ALARMING * self.facts)


def reconciled(lake: Lake, gap: KnownGap, fills: Sequence[Fill]) -> Reconciled:
    """Return the counts of a span by the fills of its last attempt, which have gone through the gate."""
    content, ours = content_of(gap), _asking(lake, gap)
    held = rows_held(lake, gap, fills[-1], ["capture_id"])
    facts = pl.concat([facts_told(lake, gap, fill) for fill in fills])
    told = as_held(facts, held, content, clock_unit_ns(gap.provider, gap.feed))
    own = held.filter(~pl.col("capture_id").is_in(ours))
    counted = _counted(told, content, "told")
    for frame, name in ((held, "held"), (own, "heard")):
        counted = counted.join(_counted(frame, content, name), on=content, how="full", coalesce=True, nulls_equal=True)
    row = counted.fill_null(0).select(
        agreed=pl.min_horizontal("told", "heard").sum(),
        missed=_beyond(pl.min_horizontal("told", "held"), pl.col("heard")),
        absent=_beyond(pl.col("told"), pl.col("held")),
        unknown=_beyond(pl.col("heard"), pl.col("told")),
        doubled=_beyond(pl.col("held"), pl.max_horizontal("told", "heard")),
    )
    counts = row.row(0, named=True)
    refused = sum(refused_of(lake, gap, fill) for fill in fills)
    newest_told, newest_heard = _newest(told, content[0]), _newest(own, content[0])
    is_early = newest_heard is not None and (newest_told is None or newest_told < newest_heard)
    ends_at = (newest_told or gap.gap_start) if is_early else None
    return Reconciled(
        facts=len(told), agreed=counts["agreed"], missed=counts["missed"], absent=max(0, counts["absent"] - refused),
        refused=refused, unknown=counts["unknown"], doubled=counts["doubled"], ends_at=ends_at,
    )  # fmt: skip


def closed(gap: KnownGap, told: Reconciled) -> KnownGap:
    """Return a span by its counts: filled with what was missed, proven empty where nothing was, or open to be asked again."""
    last = gap.fills[-1]
    who = f"{last.provider}/{last.feed}"
    if told.absent:
        return replace(
            gap, status=GapStatus.OPEN, reason=f"{who}: {told.absent} of {told.facts} facts of its history are not in the lake"
        )
    if told.ends_at is not None:
        words = f"{who}: its history ends at {told.ends_at:%Y-%m-%dT%H:%M:%S.%fZ}, before what was heard: not whole yet"
        return replace(gap, status=GapStatus.OPEN, reason=words)
    words = f"{who}: {told.missed} of {told.facts} facts of its history were missed in silence, and came"
    if not told.missed:
        words = (
            f"{who}: nothing was missed: all {told.facts} facts of its history were there"
            if told.facts
            else f"{who}: nothing was told and nothing heard"
        )
    for count, meaning in (
        (told.unknown, "were heard and its history does not tell them"),
        (told.refused, "were refused by the gate"),
        (told.doubled, "stand beside others of the same instant, price and size"),
    ):
        words += f"; {count} {meaning}" if count else ""
    status = GapStatus.FILLED if told.missed else GapStatus.PROVEN_EMPTY
    return replace(gap, status=status, reason=words, missing_count=told.missed, found_count=told.missed)


def _asking(lake: Lake, gap: KnownGap) -> list[str]:
    """Return the captures that asked the questions of a span, also of a worker that died before it told the ledger."""
    where = [
        Where("provider", "=", gap.provider), Where("feed", "=", gap.feed), Where("kind", "=", CaptureKind.BACKFILL.value),
        Where("started_at", ">=", gap.gap_end),
    ]  # fmt: skip
    rows = read(lake, "ops.captures", ["capture_id", "detail"], where).to_pylist()
    asks = {row["capture_id"]: json.loads(row["detail"])["asks"] for row in rows}
    told = {fill.capture_id for fill in gap.fills}
    mine = [asked for name, asked in asks.items() if name in told]
    return sorted(told | {name for name, asked in asks.items() if asked in mine})


def _newest(facts: pl.DataFrame, stamp: str) -> datetime | None:
    newest = facts[stamp].max()
    return newest if isinstance(newest, datetime) else None


def _counted(facts: pl.DataFrame, content: Sequence[str], name: str) -> pl.DataFrame:
    """Return how often each content stands among facts; versions of one bar are one."""
    count = pl.lit(1) if "interval" in content else pl.len()
    return facts.group_by(content).agg(count.cast(pl.Int64).alias(name))


def _beyond(more: pl.Expr, less: pl.Expr) -> pl.Expr:
    return (more - less).clip(lower_bound=0).sum()
