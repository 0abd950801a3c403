"""What an answer of a provider means: one word, told from status, headers and body together (PROVIDERS.md section 0.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The meaning of one answer; the status alone is never trusted."""

    OK = "OK"
    EMPTY_VALID = "EMPTY_VALID"
    """Nothing happened in the window asked: a valid answer without rows."""
    THROTTLED = "THROTTLED"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    AUTH = "AUTH"
    NOT_ENTITLED = "NOT_ENTITLED"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    """The window is too long or too old: split it or ask elsewhere."""
    BAD_REQUEST = "BAD_REQUEST"
    UPSTREAM_5XX = "UPSTREAM_5XX"
    MALFORMED = "MALFORMED"
    """The body is not what the provider's contract says, or came incomplete."""
    NO_ANSWER = "NO_ANSWER"
    """No status at all: refused connection, timeout, connection lost before the head."""
    NOT_ASKED = "NOT_ASKED"
    """We did not call: a quota or a breaker gave no leave. The one verdict that is ours and not the provider's."""


RETRYABLE = frozenset({Verdict.THROTTLED, Verdict.UPSTREAM_5XX, Verdict.MALFORMED, Verdict.NO_ANSWER})
"""Verdicts worth the same question again; they, and only they, feed a circuit breaker."""

REFUSED = frozenset({Verdict.AUTH, Verdict.NOT_ENTITLED, Verdict.QUOTA_EXHAUSTED, Verdict.NOT_ASKED})
"""Verdicts that every further question of the same feed would get too, for now at least."""


LONGEST_WAIT_S = 3 * 86_400.0
"""The longest that any provider is known to shut somebody out (Binance's bans)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A verdict with what belongs to it: seconds to wait where told, and the provider's own words.

    Whoever asks for more than LONGEST_WAIT_S (a reset in milliseconds, say) is waited for so long: then one call tells more.
    """

    verdict: Verdict
    detail: str = ""
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        told = self.retry_after_s
        if told is not None and not 0.0 <= told <= LONGEST_WAIT_S:
            object.__setattr__(self, "retry_after_s", LONGEST_WAIT_S if told > 0.0 else None)


def seconds_told(text: str) -> float | None:
    """Return the seconds of a Retry-After header; None for a date, which none of our providers sends, and anything else."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip()) else None


_TROUBLE = re.compile(
    r"maintenance|temporar|unavailable|try again|timed? ?out|internal (server )?error|overload|something went wrong",
    re.IGNORECASE,
)


def error_told(words: str) -> Reading:
    """Return what an error in words means that no code explains: trouble of the provider's own, or a question it does not take.

    A service that is down answers 200 and says so in the body (PROVIDERS.md 0.1): a question given up for that is data lost.
    """
    return Reading(Verdict.UPSTREAM_5XX if _TROUBLE.search(words) else Verdict.BAD_REQUEST, words)
