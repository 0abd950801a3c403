"""How far our clock is off, told from providers' Date headers as bounds that hold, not as a guess. A machine.

A provider wrote its Date between our asking and its answer's arrival, and means a second that had begun by then and may have
ended for `LAG_NS`, where a server keeps the line. So each answer bounds (theirs - ours) from both sides; bounds of many
answers are cut with each other, and widen with time as clocks drift. Answers out of a cache say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from email.utils import parsedate_to_datetime

from lake.instants import NANOS_PER_SECOND, to_ns

LAG_NS = NANOS_PER_SECOND
"""For so long a server may write the same Date: some keep the line and renew it once a second."""
DRIFT_PPM = 100
"""Clocks of computers drift less than this apart."""
_LONGEST_CALL_NS = 60 * NANOS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Bounds:
    """Theirs - ours lies in [low_ns, high_ns]."""

    low_ns: int
    high_ns: int

    def cut(self, other: Bounds) -> Bounds | None:
        """Return what both allow; None when they contradict each other."""
        low, high = max(self.low_ns, other.low_ns), min(self.high_ns, other.high_ns)
        return Bounds(low, high) if low <= high else None

    @property
    def surely_ns(self) -> int:
        """By how much our clock is wrong at least; 0 when it may be right."""
        return max(0, self.low_ns, -self.high_ns)


@dataclass(frozen=True, slots=True)
class Offset:
    """What is known of one provider's clock.

    at_ns    our time of the answer that was taken last
    doubt    an answer that contradicts all before it: another like it, and a clock was set
    """

    bounds: Bounds
    at_ns: int
    samples: int = 1
    doubt: Bounds | None = None

    def learned(self, sample: Bounds, at_ns: int) -> Offset:
        """Return what is known after one more answer."""
        now = widened(self.bounds, at_ns - self.at_ns)
        cut = now.cut(sample)
        if cut is not None:
            return Offset(cut, at_ns, self.samples + 1)
        again = None if self.doubt is None else self.doubt.cut(sample)
        if again is not None:
            return Offset(again, at_ns, 2)
        return replace(self, bounds=now, at_ns=at_ns, doubt=sample)

    def document(self) -> dict[str, object]:
        """Return it in JSON values, as `offset_of` reads it."""
        return asdict(self)


def offset_of(document: Mapping[str, object]) -> Offset:
    """Return what `Offset.document` told."""
    bounds, doubt = document["bounds"], document["doubt"]
    assert isinstance(bounds, Mapping)
    at_ns, samples = int(str(document["at_ns"])), int(str(document["samples"]))
    return Offset(Bounds(**bounds), at_ns, samples, Bounds(**doubt) if isinstance(doubt, Mapping) else None)


def sample_of(headers: Mapping[str, str], asked_ns: int, answered_ns: int) -> Bounds | None:
    """Return what one answer says; None where it has no Date of its own, or took too long to say anything.

    headers   names in lower case
    """
    told, age = headers.get("date", ""), headers.get("age", "0").strip()
    if not told or age != "0" or not 0 <= answered_ns - asked_ns <= _LONGEST_CALL_NS:
        return None
    try:
        begun = parsedate_to_datetime(told)
    except (ValueError, TypeError, OverflowError):
        return None
    if begun.tzinfo is None:
        return None
    begun_ns = to_ns(begun)
    return Bounds(begun_ns - answered_ns, begun_ns + NANOS_PER_SECOND + LAG_NS - asked_ns)


def widened(bounds: Bounds, passed_ns: int) -> Bounds:
    """Return the bounds after so much time, or before: clocks drift."""
    drift = abs(passed_ns) * DRIFT_PPM // 1_000_000
    return Bounds(bounds.low_ns - drift, bounds.high_ns + drift)


def agreed(offsets: Iterable[Offset], now_ns: int) -> Bounds | None:
    """Return the bounds that most providers share (Marzullo): one wrong clock among several is outvoted; None without any."""
    found = [widened(each.bounds, now_ns - each.at_ns) for each in offsets]
    edges = sorted([(each.low_ns, 0) for each in found] + [(each.high_ns, 1) for each in found])
    best, count, shared = 0, 0, None
    for number, (at, is_end) in enumerate(edges):
        count += -1 if is_end else 1
        if not is_end and count > best:
            best, shared = count, Bounds(at, edges[number + 1][0])
    return shared
