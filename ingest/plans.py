"""Plans: how much of a provider may be asked for, in which windows, at which price. Values; `quotas.py` keeps to them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.asks import Request
from ingest.configuration import CALENDAR, Provider
from ingest.configuration import Window as ConfiguredWindow
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_SECOND

Calendar = Literal["", "hour", "day", "month"]
Purpose = Literal["live", "backfill"]
Counts = Literal["weight", "symbols", "bytes"]
_WEIGHT: Counts = "weight"
STREAM = "stream"
"""Endpoint of the request that opens a socket."""
_SLICES = 64
"""A rolling window is kept in so many slices: what is spent comes back at most one slice later than it could."""


@dataclass(frozen=True, slots=True)
class Window:
    """So much in a stretch of time.

    limit      calls (times their weight), different symbols, or bytes
    seconds    length of a window that rolls: no stretch of this length may hold more
    calendar   hour, day or month that begins by the clock of `zone`, instead
    endpoints  those it is about; none: all together
    """

    limit: int
    seconds: float = 0.0
    calendar: Calendar = ""
    zone: str = "UTC"
    counts: Counts = "weight"
    endpoints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise InvalidValueError(f"window {self.name}: no time zone {self.zone!r}") from error
        if self.limit < 1 or (self.seconds > 0.0) == bool(self.calendar):
            raise InvalidValueError(f"window {self.name}: expected a limit above 0, and seconds or a calendar word")
        if self.counts == "symbols" and not self.calendar:
            raise InvalidValueError(f"window {self.name}: symbols are counted by the calendar, not in a window that rolls")

    @property
    def name(self) -> str:
        """What tells it from other windows of a plan, whatever its limit."""
        length = f"{self.calendar} in {self.zone}" if self.calendar else f"{self.seconds:g} s"
        counted = "" if self.counts == "weight" else f"{self.counts} a "
        return counted + length + (f" of {', '.join(self.endpoints)}" if self.endpoints else "")

    def is_about(self, endpoint: str) -> bool:
        """Return whether calls of an endpoint are counted."""
        return not self.endpoints or endpoint in self.endpoints

    @property
    def slice_ns(self) -> int:
        """Length of a slice of a rolling window, by which its spending is kept."""
        return max(1, round(self.seconds * NANOS_PER_SECOND / _SLICES))

    @property
    def length_ns(self) -> int:
        """Length of a rolling window."""
        return round(self.seconds * NANOS_PER_SECOND)

    def period_ns(self, at_ns: int) -> tuple[int, int]:
        """Return [start, end) of the calendar period that holds an instant."""
        return _period(self.calendar, self.zone, at_ns // NANOS_PER_SECOND)


@lru_cache(maxsize=4096)
def _period(calendar: Calendar, zone: str, at_s: int) -> tuple[int, int]:
    local = datetime.fromtimestamp(at_s, ZoneInfo(zone))
    if calendar == "hour":  # by the zone's offset: some begin at the half hour
        offset_s = round((local.utcoffset() or timedelta()).total_seconds())
        start_s = (at_s + offset_s) // 3600 * 3600 - offset_s
        return start_s * NANOS_PER_SECOND, (start_s + 3600) * NANOS_PER_SECOND
    start = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if calendar == "month":
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    else:
        end = start + timedelta(days=1)
    return int(start.astimezone(UTC).timestamp()) * NANOS_PER_SECOND, int(end.astimezone(UTC).timestamp()) * NANOS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Told:
    """Headers in which a provider tells how much of one window is left, or used; header names in lower case.

    reset   when it is whole again: seconds since the epoch, or (`is_reset_in`) from now
    """

    window: str
    limit: str = ""
    remaining: str = ""
    used: str = ""
    reset: str = ""
    is_reset_in: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What one key of a provider may spend.

    weights      of calls by endpoint, or by `endpoint?param=value`; others weigh 1
    at_once      calls under way at the same time
    sockets      open at the same time, of one key; of each of its feeds where `is_socket_of_feed`; None: no limit is known
    live_share   of each window, that backfill leaves to live work
    cool_down_s  how long nobody asks after a throttle that tells no time; doubled by each one more, to the ceiling
    margin_s     our clock and the provider's may differ by so much where a day or month ends
    max_call_s   a call that nobody told the end of is over by then
    """

    name: str
    windows: tuple[Window, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    at_once: int | None = None
    sockets: int | None = None
    is_socket_of_feed: bool = False
    live_share: float = 0.2
    cool_down_s: float = 60.0
    cool_down_ceiling_s: float = 3600.0
    margin_s: float = 2.0
    max_call_s: float = 120.0
    told: tuple[Told, ...] = ()
    usd_per_call: float = 0.0
    usd_per_gb: float = 0.0

    def weight(self, request: Request) -> int:
        """Return what a request weighs: connecting a stream nothing, where the plan does not say otherwise."""
        what = request.what
        for name, value in request.params:
            found = self.weights.get(f"{what}?{name}={value}")
            if found is not None:
                return found
        return self.weights.get(what, 0 if what == STREAM else 1)

    def windows_about(self, endpoint: str) -> tuple[Window, ...]:
        """Return the windows in which calls of an endpoint are counted."""
        return tuple(window for window in self.windows if window.is_about(endpoint))

    def limit(self, window: Window, purpose: Purpose) -> int:
        """Return how much of a window is for live work, or for backfill."""
        return window.limit - (int(window.limit * self.live_share) if purpose == "backfill" else 0)

    def batch(self, endpoint: str, weight: int) -> tuple[int, float]:
        """Return (calls, seconds) that one process may reserve at once: one call, but for plans of many calls a second."""
        windows = [each for each in self.windows_about(endpoint) if each.counts == "weight"]
        rolling = [each for each in windows if each.seconds]
        weight = max(weight, 1)
        rate = min((each.limit / each.seconds for each in rolling), default=1_000.0) / weight
        if rate < 5.0 or any(window.counts == "symbols" for window in self.windows):
            return 1, 1.0
        fair = min((each.limit // (20 * weight) for each in windows), default=100)
        return max(1, min(fair, 100)), min([1.0, *(each.seconds / 8 for each in rolling)])


UNLIMITED = Plan("unlimited", cool_down_s=0.0, live_share=0.0)
"""Nothing is limited, everything is counted."""


def configured(shipped: Sequence[Plan], told: Provider) -> Plan:
    """Return the plan of a provider by its configuration: what is not told there is as shipped.

    shipped   plans of the provider, the free one first. Raises InvalidValueError for a plan that is unknown and not described.
    """
    plan = next((each for each in shipped if each.name == told.plan), shipped[0] if shipped else UNLIMITED)
    if told.plan and plan.name != told.plan:
        if not told.windows:
            known = ", ".join(each.name for each in shipped) or "none"
            raise InvalidValueError(f"no plan {told.plan!r} is shipped; there are {known}, or tell its windows")
        plan = replace(plan, name=told.plan)
    windows = tuple(_window(each) for each in told.windows) or plan.windows
    return replace(
        plan,
        windows=windows,
        weights={**plan.weights, **{name: max(1, round(weight)) for name, weight in told.weights.items()}},
        at_once=plan.at_once if told.at_once is None else told.at_once,
        sockets=plan.sockets if told.sockets is None else told.sockets,
        live_share=plan.live_share if told.reserve_for_live is None else told.reserve_for_live,
        usd_per_call=told.cost_per_call_usd or plan.usd_per_call,
        usd_per_gb=told.cost_per_gb_usd or plan.usd_per_gb,
    )


def _window(told: ConfiguredWindow) -> Window:
    limit, counts = told.calls or 0, _WEIGHT
    if told.symbols is not None:
        limit, counts = told.symbols, "symbols"
    elif told.bytes is not None:
        limit, counts = told.bytes, "bytes"
    if told.zone and told.per in CALENDAR:
        return Window(limit, calendar=CALENDAR[told.per], zone=told.zone, counts=counts, endpoints=told.endpoints)
    return Window(limit, float(told.seconds), counts=counts, endpoints=told.endpoints)


def key_name(keys: Sequence[str]) -> str:
    """Return what a provider's key is called in the ledger: a fingerprint from which nobody gets the key; keyless: `none`."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:12] if any(keys) else "none"
