"""What an attempt to fill a gap has come to: filled, proven empty, or open for the next to be asked; by counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lake.catalog import Lake
from quality_checks.gap_bounds import BARS, NUMBERED
from quality_checks.gap_proofs import Told, bars_missing, numbers_found, told_by
from quality_checks.gaps import Fill, GapStatus, KnownGap
from quality_checks.missing import is_closed

_ANSWERED = ("OK", "EMPTY_VALID")


def judged(lake: Lake, gap: KnownGap, fills: Sequence[Fill]) -> KnownGap:
    """Return a gap after an attempt whose fills (at least one) have gone through the gate.

    Numbers: every one must be there. Bars: every one that the calendar counts, or two providers agree that there is none.
    Others: every fact of the answers must stand in the lake, or in quarantine; an empty answer needs a second one.
    """
    last = fills[-1]
    who = f"{last.provider}/{last.feed}"
    if last.verdict not in _ANSWERED:
        return replace(gap, status=GapStatus.OPEN, reason=f"{who}: {last.verdict} {last.detail}".rstrip())
    answers = [told_by(lake, gap, fill) for fill in fills]
    told = Told(sum(answer.facts for answer in answers), sum(answer.absent for answer in answers))
    if told.absent:
        words = f"{who}: {told.absent} of {told.facts} facts of its answers are not in the lake"
        return replace(gap, status=GapStatus.OPEN, reason=words)
    if not told.facts and is_closed(lake, gap):
        return replace(gap, status=GapStatus.PROVEN_EMPTY, reason=f"{who}: nothing in it; no session was held", found_count=0)
    if (gap.provider, gap.table_name) in NUMBERED and gap.missing_count is not None and last.provider == gap.provider:
        return _by_numbers(lake, gap, who)
    if gap.table_name == BARS:
        missing = bars_missing(lake, gap, last)
        if missing is not None:
            return _by_calendar(gap, who, told.facts, missing)
    if told.facts:
        reason = f"{who}: all {told.facts} facts of its answers are in the lake"
        return replace(gap, status=GapStatus.FILLED, reason=reason, found_count=told.facts)
    return _empty(gap, who, "nothing in it")


def _by_numbers(lake: Lake, gap: KnownGap, who: str) -> KnownGap:
    found = numbers_found(lake, gap)
    is_whole = found == gap.missing_count
    reason = f"{who}: {found} of {gap.missing_count} numbers are in the lake"
    return replace(gap, status=GapStatus.FILLED if is_whole else GapStatus.OPEN, reason=reason, found_count=found)


def _by_calendar(gap: KnownGap, who: str, facts: int, missing: int) -> KnownGap:
    expected = gap.missing_count
    found = facts if expected is None else max(0, expected - missing)
    counted = replace(gap, found_count=found)
    if missing == 0:
        return replace(counted, status=GapStatus.FILLED, reason=f"{who}: every bar that the calendar expects is in the lake")
    return _empty(counted, who, f"no bar for {missing} that the calendar expects")


def _empty(gap: KnownGap, who: str, words: str) -> KnownGap:
    """Return a gap about which an answer told less than was expected: a second provider's word proves it."""
    agreeing = sorted({f"{fill.provider}/{fill.feed}" for fill in gap.fills if fill.verdict in _ANSWERED})
    if len({name.partition("/")[0] for name in agreeing}) > 1:
        status = GapStatus.FILLED if gap.found_count else GapStatus.PROVEN_EMPTY
        return replace(gap, status=status, reason=f"{' and '.join(agreeing)}: {words}")
    return replace(gap, status=GapStatus.OPEN, reason=f"{who}: {words}, and nobody else says so yet")
