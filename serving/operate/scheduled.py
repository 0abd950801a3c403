"""What the configuration schedules, as values: which symbols, whether it is time, what is due, when it was begun last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.configuration import AssetClass, Configuration, Schedule
from lake.instants import NANOS_PER_SECOND, to_datetime
from lake.state import State
from serving.operate.asking import Wanted
from serving.operate.providers import Task
from transforms.market_hours import hours_at

KIND = "schedule"
"""Kind of the documents in state, by name: when it was begun last, since when without a break, and how that ended."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One schedule with the symbols of its universe."""

    name: str
    schedule: Schedule
    symbols: tuple[str, ...]
    asset_class: AssetClass

    @property
    def is_stream(self) -> bool:
        """Whether it is listened to; the word `stream`, or a feed that does nothing else."""
        return Task(self.schedule.provider, self.schedule.feed, self.schedule.data or None).is_stream

    def is_time(self, now: datetime) -> bool:
        """Return whether it may run at an aware instant: by the time of the day, and by its market's hours."""
        told, first = self.schedule, self.schedule.not_before
        if first is not None and now.astimezone(UTC).time() < first:
            return False
        if told.when == "always":
            return True
        return hours_at(now, told.calendar or None, self.asset_class).is_open == (told.when == "open")

    def wanted(self, now: datetime) -> Wanted:
        """Return what is captured when it runs at an instant."""
        told = self.schedule
        start = None if self.is_stream else now - told.lookback
        end = None if self.is_stream else now
        return Wanted(told.provider, told.feed or None, self.symbols, told.interval, start, end, told.data or None)


def planned(configuration: Configuration) -> dict[str, Planned]:
    """Return the schedules that are in force, each with its symbols."""
    return {
        name: Planned(name, each, universe.symbols, universe.asset_class)
        for name, each in configuration.due().items()
        if (universe := configuration.universes.get(each.universe)) is not None
    }


def due(plans: Mapping[str, Planned], begun_ns: Mapping[str, int], now_ns: int) -> list[Planned]:
    """Return the polls that are to be made now, the longest overdue first; one begun in the future counts as never begun."""
    found = []
    for name, plan in plans.items():
        passed_ns = now_ns - begun_ns[name] if name in begun_ns else None
        is_due = passed_ns is None or passed_ns < 0 or passed_ns >= plan.schedule.every_s * NANOS_PER_SECOND
        if is_due and not plan.is_stream and plan.is_time(to_datetime(now_ns)):
            found.append(plan)
    return sorted(found, key=lambda plan: begun_ns.get(plan.name, 0))


def begun(state: State) -> dict[str, int]:
    """Return when each schedule was begun last."""
    return {name: int(document["begun_ns"]) for name, document in state.documents(KIND).items()}


def polled_since(state: State) -> dict[str, int]:
    """Return since when each schedule is followed without a break."""
    return {name: int(document.get("since_ns", document["begun_ns"])) for name, document in state.documents(KIND).items()}
