"""What goes wrong on a simulated day, and when: every kind that PROVIDERS.md section 0 tells of. Values, pure.

An incident lasts over `[start_ns, end_ns)` of one provider, and concerns what it answers by HTTP or what it pushes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest.simulator.day.tape import Day

HTTP_KINDS = (
    "throttled",
    "server_error",
    "slow",
    "no_answer",
    "truncated",
    "garbled",
    "outage_page",
    "empty_body",
    "error_in_200",
)
"""Refusals, failures and nonsense of answers; `slow` is 11 s late, `no_answer` later than anybody waits. No storm has
`misunderstood` and `forbidden`, answers 400 and 403: they do not pass."""
STREAM_KINDS = ("dropped", "closed", "refused", "mute", "half_mute", "doubled", "truncated", "garbled", "limited")
"""`mute`: the socket lives and says nothing; `half_mute`: one symbol is silent; `limited`: one connection too many."""
PROCESS_KINDS = ("killed", "stopped")
"""What happens to processes of ours: kill -9, and SIGSTOP for a while."""
_INSTANT = frozenset({"dropped", "closed", "killed"})
_SECONDS = (5.0, 90.0)
"""How long what lasts may last; the shortest silences are within the pauses that symbols make: no listener can tell them."""
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that goes wrong; `part` is http, stream or process, `whom` a provider or a process."""

    number: int
    part: str
    kind: str
    whom: str
    start_ns: int
    end_ns: int

    def is_on(self, now_ns: int) -> bool:
        """Whether it is going on."""
        return self.start_ns <= now_ns < self.end_ns

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def storm(
    day: Day, count: int, http: Sequence[str], streams: Sequence[str], processes: Sequence[str], kinds: Iterable[str] = ()
) -> tuple[Incident, ...]:
    """Return `count` incidents of a seeded day, in order of time: each kind of each provider in turn, shuffled.

    kinds   only these; empty: all
    The first and the last twentieth of the day are calm: a feed must have begun, and the last gap must be closable.
    """
    rng = random.Random(f"{day.seed}/storm")  # weather, no secret
    wanted = set(kinds)
    kinds_of = {"http": (HTTP_KINDS, http), "stream": (STREAM_KINDS, streams), "process": (PROCESS_KINDS, processes)}
    choices = [
        (part, kind, whom)
        for part, (each, names) in kinds_of.items()
        for kind in each
        for whom in names
        if not wanted or kind in wanted
    ]
    rng.shuffle(choices)
    length = day.close_ns - day.open_ns
    first, last = day.open_ns + length // 20, day.close_ns - length // 10
    found = []
    for number in range(count if choices else 0):
        part, kind, whom = choices[number % len(choices)]
        start_ns = rng.randrange(first, last)
        seconds = 1.0 if kind in _INSTANT else rng.uniform(*_SECONDS)
        end_ns = min(start_ns + round(seconds * _SECOND_NS), day.close_ns - length // 20)
        found.append(Incident(number, part, kind, whom, start_ns, end_ns))
    return tuple(sorted(found, key=lambda each: each.start_ns))
