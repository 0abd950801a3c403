"""What an operator configures: providers and their plans, universes, schedules, thresholds. Values; read from one TOML file.

Settings of the process (places, ports, passwords) are `lake/settings.py`, from the environment, fixed while it runs. This is
what is asked of whom, when and within which limits: it is changed while captures run. It names variables, never a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

AssetClass = Literal["equity", "etf", "crypto", "fx", "option", "future", "index"]
Per = Literal["second", "minute", "5 minutes", "10 minutes", "hour", "day", "month"]
CALENDAR: Mapping[str, Literal["hour", "day", "month"]] = {"hour": "hour", "day": "day", "month": "month"}
"""What a window may last that begins by the clock of a zone."""
COUNTED = ("calls", "symbols", "bytes")
"""What a window may count."""
PER_S: Mapping[str, int] = {
    "second": 1,
    "minute": 60,
    "5 minutes": 300,
    "10 minutes": 600,
    "hour": 3600,
    "day": 86_400,
    "month": 2_592_000,
}
"""Seconds of a rolling window; a month of a plan is 30 days where it rolls."""
Symbol = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S+$")]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Money = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
MAX_SYMBOLS = 50_000


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Window(_Part):
    """So many calls, different symbols or bytes (one of the three) in a stretch of time."""

    calls: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Calls, or weight where endpoints weigh more than one."
    )
    symbols: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Different symbols asked for, in an hour, day or month of a zone."
    )
    bytes: int | None = Field(default=None, ge=1, le=10**15, description="Bytes of answers.")
    per: Per = Field(description="second, minute, 5 minutes, 10 minutes, hour, day or month.")
    zone: str = Field(
        default="", max_length=64, description="Of a calendar window: its day begins at midnight there; none: it rolls."
    )
    endpoints: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        default=(), max_length=64, description="Only calls of these are counted; none: all calls together."
    )

    @property
    def seconds(self) -> int:
        """Length, where it rolls."""
        return PER_S[self.per]


class Provider(_Part):
    """One provider: whether and how it is asked. What is not told here is as shipped."""

    enabled: bool = Field(default=True, description="false: nobody asks it.")
    plan: str = Field(default="", max_length=64, description="Name of the plan paid for; none: the free one, as shipped.")
    windows: tuple[Window, ...] = Field(default=(), max_length=16, description="Limits of the plan; none: as shipped.")
    weights: dict[str, Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]] = Field(
        default={}, description="Weight of a call by endpoint; others weigh 1, or as shipped."
    )
    at_once: int | None = Field(default=None, ge=1, le=1_000, description="Calls under way at the same time.")
    sockets: int | None = Field(
        default=None, ge=1, le=10_000, description="Open at the same time with one key, over all our processes."
    )
    reserve_for_live: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Share of each window that backfill leaves to live work."
    )
    priority: int = Field(default=100, ge=0, le=10_000, description="Who is asked first: the lowest.")
    cost_per_call_usd: Money = Field(default=0.0, description="Price of a call.")
    cost_per_gb_usd: Money = Field(default=0.0, description="Price of a gigabyte.")
    key_variables: tuple[str, ...] = Field(default=(), max_length=4, description="Environment variables that hold its keys.")
    http: str = Field(default="", max_length=512, description="Address; none: the provider's own.")
    stream: str = Field(default="", max_length=512, description="Address of its stream; none: the provider's own.")


class Universe(_Part):
    """A named list of symbols of one asset class, as the providers that are asked for it write them."""

    asset_class: AssetClass = Field(default="equity", description="equity, etf, crypto, fx, option, future or index.")
    symbols: tuple[Symbol, ...] = Field(min_length=1, max_length=MAX_SYMBOLS, description="At least one.")


class Schedule(_Part):
    """What is captured, and when."""

    provider: str = Field(max_length=64, description="Who is asked.")
    universe: str = Field(max_length=64, description="For which symbols.")
    enabled: bool = Field(default=True, description="false: not now.")
    feed: str = Field(default="", max_length=64, description="Feed of the provider; none: its first.")
    data: str = Field(default="", max_length=64, description="Kind of answer, where a feed has several; `stream` is listened to.")
    interval: str = Field(default="1d", max_length=16, pattern=r"^\d+(s|m|h|d|wk|mo)$", description="Of bars.")
    every_s: Seconds = Field(default=900.0, description="Seconds from the start of a poll to the next; of a stream: no meaning.")
    when: Literal["always", "open", "closed"] = Field(default="always", description="Only while the market is open, or closed.")
    calendar: str = Field(default="", max_length=16, description="MIC whose sessions `when` means, like XNYS; crypto needs none.")
    from_time: str = Field(
        "", pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^$", description="Not before this time of the day, UTC (HH:MM)."
    )
    lookback_days: float = Field(
        default=5.0,
        gt=0,
        le=36_525,
        allow_inf_nan=False,
        description="Days before now that a poll asks for: restatements are seen.",
    )

    @property
    def lookback(self) -> timedelta:
        """How far back a poll asks."""
        return timedelta(days=self.lookback_days)

    @property
    def not_before(self) -> time | None:
        """First time of the day, UTC; None: any."""
        return time.fromisoformat(self.from_time) if self.from_time else None


class Thresholds(_Part):
    """When something is slow, stale, wrong or too few."""

    stale_after_s: Seconds = Field(default=60.0, description="Without data for so long, its market open, a feed is stale.")
    slow_answer_s: Seconds = Field(default=10.0, description="An answer slower than this counts as a failure.")
    breaker_failures: int = Field(default=5, ge=1, le=1_000, description="Failures in a row that open a breaker.")
    breaker_wait_s: Seconds = Field(default=30.0, description="Seconds until an open breaker lets one call try.")
    clock_offset_s: Seconds = Field(default=1.0, description="Our clock is surely wrong by more than this: alert.")
    min_active_providers: int = Field(default=3, ge=0, le=100, description="Alert below so many active providers.")
    read_through: bool = Field(default=False, description="Ask a provider when an answer is missing or too old.")
    read_through_timeout_s: Seconds = Field(default=5.0, description="Longest that such a question waits.")
    read_through_open_s: Seconds = Field(default=15.0, description="Lifetime of such an answer while its market is open.")
    read_through_closed_s: Seconds = Field(
        default=3600.0, description="Longest lifetime while it is closed; its opening ends it."
    )


class Reconcile(_Part):
    """Feeds without sequence numbers: what was listened to is asked for again, to find what a silence swallowed."""

    enabled: bool = Field(default=True, description="false: nothing is asked again but gaps that are known.")
    settle_s: Seconds = Field(default=1_200.0, description="So long after a day, or a capture, a provider's history is whole.")
    settle: dict[str, Seconds] = Field(default={"finnhub": 43_200.0}, description="The same of single providers, by name.")
    without: tuple[str, ...] = Field(default=(), max_length=64, description="Providers of which nothing is reconciled.")
    lookback_days: float = Field(
        default=7.0, gt=0, le=3_650, allow_inf_nan=False, description="Days before now of which something is still asked for."
    )

    def settled_s(self, provider: str) -> float:
        """Return after how many seconds a provider's history is whole."""
        return self.settle.get(provider, self.settle_s)


class Configuration(_Part):
    """Everything in the file; frozen."""

    providers: dict[str, Provider] = Field(default={}, description="By name.")
    universes: dict[str, Universe] = Field(default={}, description="By name.")
    schedules: dict[str, Schedule] = Field(default={}, description="By name.")
    thresholds: Thresholds = Field(default_factory=Thresholds, description="When something is slow, stale, wrong or too few.")
    reconcile: Reconcile = Field(default_factory=Reconcile, description="What is asked for again of feeds without numbers.")

    def provider(self, name: str) -> Provider:
        """Return what is configured of a provider; as shipped where nothing is."""
        return self.providers.get(name, _SHIPPED)

    def due(self) -> dict[str, Schedule]:
        """Return the schedules that are in force: enabled, of an enabled provider."""
        return {name: each for name, each in self.schedules.items() if each.enabled and self.provider(each.provider).enabled}


_SHIPPED = Provider()
SECTIONS: Mapping[str, type[_Part]] = {"providers": Provider, "universes": Universe, "schedules": Schedule}
"""The parts of the file that hold named tables."""
SINGLE: Mapping[str, type[_Part]] = {"thresholds": Thresholds, "reconcile": Reconcile}
"""The parts that are one table."""
