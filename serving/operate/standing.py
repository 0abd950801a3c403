"""How each provider stands: sessions, calls, latency, quotas, breakers, gaps, cost, keys, clock. Reads state and lake."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ingest import connections
from ingest.breaker import Breakers, Position
from ingest.clock_offset import Offset, widened
from ingest.configured import Configured
from ingest.health import STANDING, Health
from ingest.providers.registry import PROVIDERS
from ingest.quotas import Quotas
from ingest.shipped_plans import plans_of
from ingest.tallies import BUCKETS_MS, BYTES, CALLS, LAST_NS, LISTENED, MESSAGES, RECONNECTS, TOOK, clock_offsets
from lake import tallies
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.tallies import Key
from quality_checks.gaps import newest_gaps
from serving.operate import freshness
from serving.operate.freshness import Fresh, Freshness

_NS = NANOS_PER_SECOND


@dataclass(slots=True)
class GapCounts:
    """Gaps of one provider that nothing has closed, spans to be reconciled apart, and rows that reconciling found missing."""

    open_gaps: int = 0
    open_spans: int = 0
    missed_in_silence: int = 0


class Standings:
    """How the providers of one lake stand; open gaps are counted again when their table has changed. Safe between threads."""

    def __init__(self, lake: Lake, configured: Configured) -> None:
        self._lake, self._configured = lake, configured
        self._gaps: tuple[object, Mapping[str, GapCounts]] = (None, {})

    def gaps(self) -> Mapping[str, GapCounts]:
        """Return what the ledger of gaps counts, by provider."""
        snapshot, kept = self._lake.head("quality.gaps").snapshot_id, self._gaps
        if kept[0] == snapshot:
            return kept[1]
        counts: dict[str, GapCounts] = defaultdict(GapCounts)
        for gap in newest_gaps(self._lake):
            mine = counts[gap.provider]
            mine.open_gaps += not gap.is_final and not gap.is_reconcile
            mine.open_spans += not gap.is_final and gap.is_reconcile
            mine.missed_in_silence += (gap.found_count or 0) if gap.is_reconcile else 0
        self._gaps = snapshot, counts
        return counts

    def quotas(self) -> Quotas:
        """Return the ledger by the plans in force."""
        return Quotas(self._lake.state, plans_of(self._configured.in_force()), self._lake.clock)

    def close_breakers(self, provider: str, who: str, reason: str) -> None:
        """Close every breaker of a provider by a person's word, which is audited; that is told as any other change is."""
        health = Health(self._lake.state, self._lake.clock, watched=self._watched)
        breakers = Breakers(self._lake.state, self._lake.clock, told=health)
        for (_, endpoint), breaker in breakers.standing(provider).items():
            if breaker.position is not Position.CLOSED:
                breakers.reset(provider, endpoint, who, reason)

    def _watched(self) -> tuple[list[str], int]:
        """Return the providers that may be asked, and the fewest that must be active."""
        told = self._configured.in_force()
        usable = [name for name in PROVIDERS if told.provider(name).enabled]
        keyed = [name for name in usable if _keys(name, told.provider(name).key_variables, os.environ)["key"] != "missing"]
        return keyed, told.thresholds.min_active_providers

    def all(self) -> list[dict[str, Any]]:
        """Return every provider that can be asked, is configured, or ever was asked, by name."""
        state, now_ns = self._lake.state, self._lake.clock()
        configuration = self._configured.in_force()
        counted, gaps = tallies.read(state), self.gaps()
        plans = plans_of(configuration)
        quotas = [each.document() for each in self.quotas().standings()]
        breakers, standings = Breakers(state, self._lake.clock).standing(), state.documents(STANDING)
        offsets, sockets = clock_offsets(state), connections.holders(state)
        streams, listened = freshness.under_way(state), freshness.ever_listened(state)
        fresh = freshness.judged(state, configuration, now_ns)
        names = {*PROVIDERS, *configuration.providers, *(key.provider for key in counted)}
        found = []
        for name in sorted(names):
            mine = {key: value for key, value in counted.items() if key.provider == name}
            told = configuration.provider(name)
            found.append(
                {
                    "provider": name,
                    "is_enabled": told.enabled,
                    "standing": standings.get(name, {}).get("standing", "up" if mine else "never asked"),
                    "plan": plans[name].name if name in plans else None,
                    "priority": told.priority,
                    **_keys(name, told.key_variables, os.environ),
                    "sessions": [
                        _session(feed, mine, streams.get((name, feed), []), (name, feed) in listened, fresh, now_ns)
                        for feed in sorted({key.feed for key in mine if key.feed} | {feed for of, feed in streams if of == name})
                    ],
                    "sockets": sockets.get(name, []),
                    "calls": _by_label(mine, CALLS),
                    "latency_s": {f"p{share}": quantile(_by_label(mine, TOOK), share / 100) for share in (50, 95)},
                    "messages": _total(mine, MESSAGES),
                    "bytes": _total(mine, BYTES),
                    "reconnects": _total(mine, RECONNECTS),
                    "quotas": [each for each in quotas if each["provider"] == name],
                    "breakers": [
                        {"endpoint": endpoint, **breaker.document()}
                        for (provider, endpoint), breaker in breakers.items()
                        if provider == name
                    ],
                    **asdict(gaps.get(name, GapCounts())),
                    "usd_this_month": round(sum(float(str(each["usd"])) for each in quotas if each["provider"] == name), 4),
                    "clock": _clock(offsets.get(name), now_ns),
                }
            )
        return found


def quantile(classes: Mapping[str, int], share: float) -> float | None:
    """Return the seconds below which `share` of the calls took, as Prometheus reckons it within a class; None without calls.

    classes   calls by the upper edge of their class in milliseconds, those beyond the last one under `more`
    """
    total = sum(classes.values())
    if not total:
        return None
    wanted, below, lower = share * total, 0, 0
    for edge in BUCKETS_MS:
        count = classes.get(str(edge), 0)
        if count and below + count >= wanted:
            return round((lower + (edge - lower) * (wanted - below) / count) / 1_000, 6)
        below, lower = below + count, edge
    return BUCKETS_MS[-1] / 1_000


def _keys(name: str, configured: Iterable[str], environment: Mapping[str, str]) -> dict[str, object]:
    known = PROVIDERS.get(name)
    variables = tuple(configured) or (known.key_variables if known is not None else ())
    missing = [each for each in variables if not environment.get(each)]
    return {"key": "not needed" if not variables else "missing" if missing else "present", "key_variables": list(variables)}


def _session(
    feed: str,
    mine: Mapping[Key, int],
    live: Sequence[Mapping[str, Any]],
    is_stream: bool,
    fresh: Iterable[Fresh],
    now_ns: int,
) -> dict[str, object]:
    """Return how one feed stands that ever brought a message; of a stream, whether a capture is under way."""
    of = next((key.provider for key in mine), "")
    last_ns = mine.get(Key(LAST_NS, of, feed))
    judged = [one for one in fresh if (one.provider, one.feed) == (of, feed)]
    heard = next((one for one in judged if one.way == LISTENED), None)
    return {
        "feed": feed,
        "is_stream": is_stream,
        "is_listening": bool(live),
        "is_stale": any(one.freshness is Freshness.STALE for one in judged),
        "stale": [f"{one.way}: {one.words()}" for one in judged if one.freshness is Freshness.STALE],
        "data_age_s": None if heard is None or heard.age_s is None else round(heard.age_s, 3),
        "capture_id": live[0].get("capture_id") if live else None,
        "messages": mine.get(Key(MESSAGES, of, feed), 0),
        "reconnects": mine.get(Key(RECONNECTS, of, feed), 0),
        "held_bytes": sum(int(each.get("held_bytes", 0)) for each in live),
        "last_message_at": None if last_ns is None else to_datetime(last_ns),
        "last_message_age_s": None if last_ns is None else round(max(now_ns - last_ns, 0) / _NS, 3),
    }


def _clock(offset: Offset | None, now_ns: int) -> dict[str, object] | None:
    if offset is None:
        return None
    now = widened(offset.bounds, now_ns - offset.at_ns)
    return {
        "low_s": now.low_ns / _NS,
        "high_s": now.high_ns / _NS,
        "surely_wrong_by_s": now.surely_ns / _NS,
        "samples": offset.samples,
    }


def _by_label(mine: Mapping[Key, int], name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in mine.items():
        if key.name == name:
            found[key.label] = found.get(key.label, 0) + value
    return found


def _total(mine: Mapping[Key, int], name: str) -> int:
    return sum(value for key, value in mine.items() if key.name == name)
