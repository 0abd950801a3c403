"""One turn of the pipeline: land what the log holds, promote it through the gate, make the adjusted layer anew.

The parts themselves are elsewhere (`ingest.landing`, `quality_checks`); here is only their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.landing import land
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.expiry import SLACK
from lake.log.log import Log
from lake.maintenance.maintaining import Report, maintain
from lake.maintenance.works import WORKS
from lake.runner import Runner
from quality_checks.adjusting import adjust
from quality_checks.building import build
from quality_checks.promotion import PromotionReport, promote, providers_of
from serving.topics.steps import still_wanted

Say = Callable[[str], None]
BUILD_EVERY_S = 20.0
"""Bars are of whole minutes: a running pipeline need not look for them in every turn."""
UPKEEP_REWRITES = 4
"""Most rewrites of data files between two turns."""


@dataclass(slots=True)
class Turn:
    """What one turn did."""

    landed: dict[str, Any] = field(default_factory=dict)
    promoted: dict[str, PromotionReport] = field(default_factory=dict)
    adjusted: dict[str, Any] = field(default_factory=dict)
    built: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> list[str]:
        """Batches that the gate held in this turn."""
        return [hold for report in self.promoted.values() for hold in report.holds]

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return not self.landed.get("messages") and not any(report.messages for report in self.promoted.values())

    def document(self) -> dict[str, object]:
        """Return the turn as JSON values."""
        promoted = {name: report.document() for name, report in self.promoted.items()}
        return {"landed": self.landed, "promoted": promoted, "adjusted": self.adjusted, "built": self.built, "holds": self.holds}


def turn(lake: Lake, log: Log, providers: Sequence[str] = (), say: Say = lambda text: None, *, builds: bool = True) -> Turn:
    """Land and promote everything there is now; safe to repeat after any crash.

    providers   only these are promoted; none: every provider with data
    """
    done = Turn(landed=land(lake, log).document())
    promote_all(lake, done, providers, say, builds=builds)
    return done


def promote_all(
    lake: Lake, done: Turn, providers: Sequence[str], say: Say, runner: Runner | None = None, *, builds: bool = True
) -> None:
    """Promote providers one after the other, then adjust, then build bars; fills `done`.

    runner    where instruments are adjusted and bars built, default: here
    builds    whether bars are built too

    Raises NotFoundError for an unknown provider.
    """
    known = providers_of(lake)
    unknown = sorted(set(providers) - set(known))
    if unknown:
        raise NotFoundError(f"no provider {', '.join(unknown)}; there are {', '.join(known)}")
    for provider in providers or known:
        say(f"promoting {provider}")
        report = promote(lake, provider, told=lambda so_far: say(f"promoting {so_far.provider}: {so_far.messages:,} messages"))
        if report.messages or report.waiting or providers:
            done.promoted[provider] = report
    say("agreeing and adjusting")
    done.adjusted = adjust(lake, runner).document()
    if builds:
        say("building bars")
        done.built = build(lake, runner).document()


def upkeep(lake: Lake, log: Log, *, sweeps: bool, say: Say = lambda text: None) -> Report:
    """Do what upkeep is due between two turns, at most a few rewrites, so that promotions do not wait long.

    sweeps   look for dead files too, which reads every manifest
    """
    works = WORKS if sweeps else tuple(work for work in WORKS if work != "sweep")
    return maintain(
        lake, works=works, log=log, who="pipeline", slack=SLACK, rewrites=UPKEEP_REWRITES, wanted=still_wanted, say=say
    )
