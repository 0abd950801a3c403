"""How long to wait before asking again: full jitter under a doubling ceiling (PROVIDERS.md section 0.8)."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how patiently; `attempts` counts the first one."""

    attempts: int = 5
    first_s: float = 0.5
    ceiling_s: float = 60.0

    def wait_s(self, attempt: int, rng: random.Random, retry_after_s: float | None = None) -> float | None:
        """Return seconds to wait after failed attempt number `attempt` (from 1), or None to give up.

        Never less than the provider asks for; one that asks for more than the ceiling is given up: come back later.
        """
        if attempt >= self.attempts or (retry_after_s is not None and retry_after_s > self.ceiling_s):
            return None
        jittered = rng.uniform(0.0, min(self.ceiling_s, self.first_s * 2.0 ** (attempt - 1)))
        return max(jittered, retry_after_s or 0.0)
