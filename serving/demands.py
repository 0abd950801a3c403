"""What a client demands of an answer beside the question: that it is fresh enough, and good enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lake.errors import DemandError

NO_SCORES = "quality scores are not computed yet; gate runs, quarantine and findings are, under /quality"


@dataclass(frozen=True, slots=True)
class Demands:
    """Demands on one answer; an answer that does not meet them is refused, never given silently.

    max_age_s     seconds between `fresh` and now, at most
    min_quality   0 to 1, at least
    """

    max_age_s: float | None = None
    min_quality: float | None = None

    def check(self, metadata: Mapping[str, object], now: datetime) -> None:
        """Raise DemandError when an answer with this metadata does not meet the demands; what is unknown meets none."""
        if self.max_age_s is not None:
            fresh = metadata.get("fresh")
            if not isinstance(fresh, datetime):
                raise DemandError(f"max_age {self.max_age_s:g} s: nothing tells how fresh this answer is; ask without max_age")
            age_s = (now - fresh).total_seconds()
            if age_s > self.max_age_s:
                raise DemandError(f"the newest row is of {fresh.isoformat()}, {age_s:.0f} s ago; demanded: {self.max_age_s:g} s")
        if self.min_quality is not None:
            score = metadata.get("quality_score")
            if not isinstance(score, int | float):
                raise DemandError(f"min_quality {self.min_quality:g} cannot be proven: {NO_SCORES}; ask without min_quality")
            if score < self.min_quality:
                raise DemandError(f"quality {score:g}; demanded: {self.min_quality:g}")
