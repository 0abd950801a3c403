"""Waivers: a factor that is taken for an error is let through by a person, for one instrument, ex-date and ratio, with a reason.

A split whose price factor is above 10 blocks its instrument (transforms/factors.py): far more often a feed's error than real. A
real one, like a 1:20 reverse split, waits here until somebody who looked says so. The decision is kept in the lake's state and in
the audit log. It is an input of the adjustment like the tables are: its time stands in the position, so a rebuild gives the same,
and it holds for the ratio that was looked at only: a feed that tells another one blocks the instrument again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_MICRO, to_datetime
from transforms.factor_rows import Blocked

INPUT = "state.factor_waivers"
"""Its name in the positions of adjusted tables."""
PREFIX = "factor-"
FACTORS = "adjusted.factors"
_KIND, _BLOCKED = "factor_waiver", "blocked_factors"
_NANOS_PER_MS = 1_000 * NANOS_PER_MICRO


@dataclass(frozen=True, slots=True)
class Waiver:
    """A decision about one factor: the ratio it was taken for, and whether it holds (False: taken back)."""

    instrument_id: int
    ex_date: date
    ratio_old: int
    ratio_new: int
    is_allowed: bool
    reason: str
    who: str
    at_ms: int

    def document(self) -> dict[str, object]:
        """Return the waiver as JSON values."""
        return {
            "id": name_of(self.instrument_id, self.ex_date),
            "instrument_id": self.instrument_id, "ex_date": self.ex_date.isoformat(),
            "ratio_old": self.ratio_old, "ratio_new": self.ratio_new, "is_allowed": self.is_allowed,
            "reason": self.reason, "who": self.who, "at_ms": self.at_ms,
        }  # fmt: skip

    def __str__(self) -> str:
        """Return it in words, for `explain`."""
        at = to_datetime(self.at_ms * _NANOS_PER_MS).isoformat(timespec="seconds")
        verb = "let through" if self.is_allowed else "no longer let through"
        return f"factor of {self.ratio_new} for {self.ratio_old} {verb} by {self.who} at {at}: {self.reason}"


def name_of(instrument_id: int, ex_date: date) -> str:
    """Return what the quality desk calls a blocked factor: `factor-9090215904647546179-2020-09-21`."""
    return f"{PREFIX}{instrument_id}-{ex_date.isoformat()}"


def parsed(name: str) -> tuple[int, date]:
    """Return (instrument_id, ex_date) of such a name. Raises InvalidValueError."""
    number, _, day = name.removeprefix(PREFIX).partition("-")
    try:
        return int(number), date.fromisoformat(day)
    except ValueError as error:
        raise InvalidValueError(f"{name!r} is not factor-INSTRUMENT-EX_DATE: {error}") from error


def blocked(lake: Lake) -> list[Blocked]:
    """Return the factors that block their instruments now, as the last adjustment found them."""
    kept = lake.state.documents(_BLOCKED)
    return [Blocked.of(document) for _, documents in sorted(kept.items()) for document in documents["factors"]]


def keep_blocked(lake: Lake, instruments: Iterable[int], found: Iterable[Blocked]) -> list[int]:
    """Keep what blocks these instruments in place of what blocked them; return every instrument that waits, ordered.

    To be called under the leases of the adjusted tables.
    """
    by_instrument: dict[int, list[Blocked]] = {}
    for one in found:
        by_instrument.setdefault(one.instrument_id, []).append(one)
    kept = {int(key): bool(document["factors"]) for key, document in lake.state.documents(_BLOCKED).items()}
    for instrument_id in instruments:
        now = [one.document() for one in by_instrument.get(instrument_id, [])]
        if now or kept.get(instrument_id):
            lake.state.save_document(_BLOCKED, str(instrument_id), {"factors": now})
            kept[instrument_id] = bool(now)
    return sorted(instrument_id for instrument_id, waits in kept.items() if waits)


def decide(lake: Lake, name: str, reason: str, *, is_allowed: bool = True, who: str = "operator") -> Waiver:
    """Let a blocked factor through, or take that back; the next adjustment follows. Returns the decision.

    Raises NotFoundError when no such factor blocks (or was let through), InvalidValueError without a reason, or when the factor
    can never be applied: its ratio is no ratio.
    """
    if not reason.strip():
        raise InvalidValueError("a waiver needs a reason; it is kept in the audit log and told by `tickhouse explain`")
    instrument_id, ex_date = parsed(name)
    with lake.state.lease(FACTORS):
        ratio_old, ratio_new = _ratio_of(lake, instrument_id, ex_date, is_allowed=is_allowed)
        last = last_decision_ms(lake)
        at_ms = max(lake.clock() // _NANOS_PER_MS, 0 if last is None else last + 1)
        waiver = Waiver(instrument_id, ex_date, ratio_old, ratio_new, is_allowed, reason, who, at_ms)
        key = f"{instrument_id}/{ex_date.isoformat()}"
        before = lake.state.document(_KIND, key) or {"decisions": []}
        lake.state.save_document(_KIND, key, {"decisions": [*before["decisions"], waiver.document()]})
        lake.state.audit(who, "release factor" if is_allowed else "reject factor", reason, waiver.document())
    return waiver


def _ratio_of(lake: Lake, instrument_id: int, ex_date: date, *, is_allowed: bool) -> tuple[int, int]:
    name = name_of(instrument_id, ex_date)
    if not is_allowed:
        holding = waiver_of(lake, instrument_id, ex_date)
        if holding is None or not holding.is_allowed:
            raise NotFoundError(f"{name} was not let through")
        return holding.ratio_old, holding.ratio_new
    waiting = [one for one in blocked(lake) if (one.instrument_id, one.ex_date) == (instrument_id, ex_date)]
    if not waiting:
        raise NotFoundError(f"{name} blocks nothing; `tickhouse holds` lists what does")
    ratios = [(one.ratio_old, one.ratio_new) for one in waiting if one.is_ratio]
    if not ratios:
        raise InvalidValueError(f"{name}: {waiting[0].value} can never be applied; it waits for a correction of its feed")
    return ratios[0]


def waiver_of(lake: Lake, instrument_id: int, ex_date: date) -> Waiver | None:
    """Return the last decision about a factor, or None."""
    document = lake.state.document(_KIND, f"{instrument_id}/{ex_date.isoformat()}")
    return None if document is None else _waiver(document["decisions"][-1])


def allowed_at(lake: Lake, at_ms: int) -> dict[tuple[int, date], Fraction]:
    """Return the ratios (new shares per old) that are let through by decisions up to a moment, by instrument and ex-date."""
    found: dict[tuple[int, date], Fraction] = {}
    for decision in _decisions(lake):
        key = (decision.instrument_id, decision.ex_date)
        if decision.at_ms <= at_ms and decision.is_allowed:
            found[key] = Fraction(decision.ratio_new, decision.ratio_old)
        elif decision.at_ms <= at_ms:
            found.pop(key, None)
    return found


def last_decision_ms(lake: Lake) -> int | None:
    """Return when the last decision was taken, in milliseconds since the epoch, or None."""
    return max((decision.at_ms for decision in _decisions(lake)), default=None)


def decided_between(lake: Lake, after_ms: int, until_ms: int) -> set[int]:
    """Return the instruments of decisions with after_ms < at <= until_ms."""
    return {decision.instrument_id for decision in _decisions(lake) if after_ms < decision.at_ms <= until_ms}


def _decisions(lake: Lake) -> list[Waiver]:
    documents = lake.state.documents(_KIND).values()
    return sorted((_waiver(one) for document in documents for one in document["decisions"]), key=lambda waiver: waiver.at_ms)


def _waiver(document: Mapping[str, object]) -> Waiver:
    return Waiver(
        int(str(document["instrument_id"])), date.fromisoformat(str(document["ex_date"])), int(str(document["ratio_old"])),
        int(str(document["ratio_new"])), bool(document["is_allowed"]), str(document["reason"]), str(document["who"]),
        int(str(document["at_ms"])),
    )  # fmt: skip
