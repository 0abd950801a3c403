"""Factors: the effect of each corporate action on the prices and volumes before it, along the knowledge timeline.

    split        price old/new, volume new/old                       known when announced
    dividend     price 1 - D*new/(P*old), volume 1                   known at the ex-date (or its announcement, if later)

P is the as-traded close of the last session before ex_date, at most ten sessions back; D the sum of that day's amounts as
paid, in the bars' currency; new:old a split of the same day, which comes first. Source: CORPORATEACTIONS.md section 2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from itertools import groupby
from types import MappingProxyType

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms import calendars
from transforms.actions import (
    CASH_DIVIDEND,
    NO_SPLITS,
    RESCINDED,
    SPLIT,
    Event,
    SplitHistory,
    Version,
    events_of,
    in_force,
    split_histories,
    versions_of,
)
from transforms.as_traded import DEFAULT_ZONE, dividend_as_paid, exchange_zones
from transforms.calendars import Venue
from transforms.exact import times, unscaled
from transforms.factor_rows import ACTIONS, Effect, Factors, Outcome, Refusal, as_tables
from transforms.fx import MINOR_UNITS
from transforms.steps import Finding

HIGHEST_FACTOR = Fraction(10)
"""A factor above is taken for an error, as is one of 0 or less: never applied, and the instrument waits for a person."""

NOTHING_ALLOWED: Mapping[tuple[int, date], Fraction] = MappingProxyType({})

_STALE_SESSIONS = 10
_DUPLICATE_DAYS = 10

Cell = tuple[str, date]


@dataclass(frozen=True, slots=True)
class _Close:
    """One version of an agreed daily close: what P is taken from."""

    session: date
    known_at: datetime
    close_e9: int
    currency: str | None
    row: int


class _Closes:
    """The versions of the agreed daily closes of one instrument, by session; made into objects where they are looked at.

    frame    rows of the instrument ordered by session_date and known_at, with their numbers as `row` and closes in units of 1e-9
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self._sessions, starts = np.unique(frame["session"].to_numpy().astype("datetime64[D]"), return_index=True)
        self._edges: list[int] = [*starts.tolist(), frame.height]
        self._made: dict[int, list[_Close]] = {}

    def before(self, ex_date: date) -> int:
        """Return how many sessions lie before a date."""
        return int(np.searchsorted(self._sessions, np.datetime64(ex_date, "D")))

    def versions(self, place: int) -> list[_Close]:
        """Return the versions of the close of a session, by its number, in the order they became known."""
        if place not in self._made:
            start, end = self._edges[place : place + 2]
            self._made[place] = [_Close(*row) for row in self._frame[start:end].iter_rows()]
        return self._made[place]


@dataclass(frozen=True, slots=True)
class _History:
    """What the factors of one instrument are computed from."""

    instrument_id: int
    splits: SplitHistory
    zone: str
    venue: Venue
    closes: _Closes
    allowed: Mapping[tuple[int, date], Fraction]

    def lets_through(self, ex_date: date, ratio: Fraction) -> bool:
        """Return whether a person let this split through."""
        return self.allowed.get((self.instrument_id, ex_date)) == ratio


def factors(
    agreed: pa.Table,
    actions: pa.Table,
    *,
    run_id: str,
    recorded_at: datetime,
    highest: Fraction = HIGHEST_FACTOR,
    allowed: Mapping[tuple[int, date], Fraction] = NOTHING_ALLOWED,
) -> Factors:
    """Return the factors of instruments, every revision.

    agreed     effective rows of adjusted.agreed_bars of the instruments, any order; only daily bars count
    actions    effective rows of normalized.corporate_actions of the same instruments, any order
    highest    factors above are impossible
    allowed    ratios of splits, new shares per old, that a person let through all the same, by (instrument, ex_date)

    A row is written at each known_at at which the believed effect of an (ex_date, kind) changes. An action that was rescinded,
    or whose ex-date moved away, leaves a row with status `rescinded` and factors of 1. Facts known later change no earlier row.
    """
    daily = agreed.filter(pc.equal(agreed["interval"], "1d"))
    zones = exchange_zones(actions)
    venues = _venues(actions)
    closes = _closes(daily, actions)
    nothing = _Closes(pl.DataFrame(schema={"session": pl.Date}))
    histories = split_histories(actions)
    outcome = Outcome()
    for instrument_id, group in groupby(sorted(versions_of(actions), key=_by_instrument), key=_by_instrument):
        zone = zones.get(instrument_id, DEFAULT_ZONE)
        history = _History(
            instrument_id,
            histories.get(instrument_id, NO_SPLITS),
            zone,
            venues.get(instrument_id) or calendars.venue_of(None, zone),
            closes.get(instrument_id, nothing),
            allowed,
        )
        versions = list(group)
        for part in _independent(versions):
            _walk(part, history, highest, outcome)
        outcome.findings += _possible_duplicates(versions)
    return as_tables(outcome, daily, run_id, recorded_at)


def _by_instrument(version: Version) -> int:
    return version.instrument_id


def _venues(actions: pa.Table) -> dict[int, Venue]:
    """Return the venue whose sessions count for each instrument, by the smallest MIC that its actions name."""
    mics: dict[int, str] = {}
    for instrument_id, mic in zip(actions["instrument_id"].to_pylist(), actions["mic"].to_pylist(), strict=True):
        if mic is not None:
            mics[instrument_id] = min(mic, mics.get(instrument_id, mic))
    return {instrument_id: calendars.venue_of(mic, "UTC") for instrument_id, mic in mics.items()}


def _closes(daily: pa.Table, actions: pa.Table) -> dict[int, _Closes]:
    """Return the agreed closes of each instrument that has actions."""
    names = ("session_date", "known_at", "currency", "instrument_id")
    frame = pl.DataFrame({name: pl.from_arrow(daily[name]) for name in names}).with_columns(
        row=pl.int_range(pl.len()), close_e9=pl.Series(pl.from_arrow(_units(daily["close"])))
    )
    wanted = pl.Series(pl.from_arrow(actions["instrument_id"])).unique().to_list()
    kept = frame.filter(pl.col("instrument_id").is_in(wanted) & pl.col("close_e9").is_not_null())
    ordered = kept.sort("instrument_id", "session_date", "known_at", maintain_order=True)
    parts = ordered.partition_by("instrument_id", as_dict=True, maintain_order=True)
    columns = list(_Close.__dataclass_fields__)
    return {
        int(str(instrument_id)): _Closes(part.rename({"session_date": "session"}).select(columns))
        for (instrument_id,), part in parts.items()
    }


def _units(column: pa.ChunkedArray) -> pa.Array:
    """Return prices as integers of 1e-9."""
    return pa.array(unscaled(column), pa.int64())


def _independent(versions: list[Version]) -> list[list[Version]]:
    """Return the versions in parts that have no ex-date in common: an action that moved joins the dates it stood on."""
    part_of: dict[object, int] = {}
    parts: dict[int, list[Version]] = {}
    for number, version in enumerate(versions):
        keys = (version.chain, version.ex_date)
        met = sorted({part_of[key] for key in keys if key in part_of})
        home = met[0] if met else number
        for other in met[1:]:
            parts[home] += parts.pop(other)
            part_of.update({key: home for key, part in part_of.items() if part == other})
        parts.setdefault(home, []).append(version)
        part_of.update(dict.fromkeys(keys, home))
    return [sorted(part, key=lambda v: (v.known_at, v.capture_id, v.message_seq, v.ordinal)) for part in parts.values()]


def _walk(versions: list[Version], history: _History, highest: Fraction, outcome: Outcome) -> None:
    """Add the effects of some versions along known_at, and what is refused or contradictory in the end."""
    told: dict[Cell, Effect] = {}
    refused: dict[Cell, Refusal] = {}
    events: dict[Cell, Event] = {}
    for moment in _moments(versions, history):
        events = events_of(in_force(versions, moment))
        refused = {}
        for cell, event in sorted(events.items()):
            effect = _effect(event, events.get((SPLIT, cell[1])), moment, history, highest)
            if isinstance(effect, Refusal):
                refused[cell] = effect
            elif effect is not None and effect != told.get(cell):
                told[cell] = effect
                outcome.effects.append((history.instrument_id, moment, effect))
        for cell in sorted(set(told) - set(events)):
            if told[cell].status != RESCINDED:
                told[cell] = _rescinded(told[cell], versions, moment)
                outcome.effects.append((history.instrument_id, moment, told[cell]))
    outcome.refusals += refused.values()
    outcome.findings += [_conflict(cell, event) for cell, event in sorted(events.items()) if event.conflicting]


def _moments(versions: list[Version], history: _History) -> list[datetime]:
    """Return when something may change: a version, an ex-date of a dividend, a close before it that came or changed late."""
    moments = {version.known_at for version in versions}
    for ex_date in {version.ex_date for version in versions if version.kind == CASH_DIVIDEND}:
        begin = calendars.local_instant(ex_date, history.zone)
        moments.add(begin)
        place = history.closes.before(ex_date)
        for number in range(max(0, place - _STALE_SESSIONS - 1), place):
            moments.update(close.known_at for close in history.closes.versions(number) if close.known_at > begin)
    return sorted(moments)


def _effect(
    event: Event, same_day: Event | None, moment: datetime, history: _History, highest: Fraction
) -> Effect | Refusal | None:
    """Return what an event does as known at `moment`; None while that cannot be known yet, or changes no session."""
    first = event.believed[0]
    if first.kind == SPLIT:
        ratio = first.ratio
        if ratio is None or not (0 < 1 / ratio <= highest or history.lets_through(first.ex_date, ratio)):
            return _impossible(event, f"{first.ratio_old}:{first.ratio_new}", highest)
        return Effect(
            SPLIT, first.ex_date, event.status, 1 / ratio, ratio, "split_ratio", ratio.denominator, ratio.numerator,
            versions=event.believed, compared=event.agreeing,
        )  # fmt: skip
    if moment < calendars.local_instant(first.ex_date, history.zone):
        return None
    reference = _reference(first.ex_date, moment, history)
    if reference is None:
        return None
    if calendars.sessions_between(reference.session, first.ex_date, history.venue) > _STALE_SESSIONS:
        return Refusal(
            "no_reference_close", str(reference.session), f"a close at most {_STALE_SESSIONS} sessions before", event.believed
        )
    return _dividend_effect(event, same_day, reference, history, highest)


def _dividend_effect(
    event: Event, same_day: Event | None, reference: _Close, history: _History, highest: Fraction
) -> Effect | Refusal:
    """Return the effect of the cash dividends of one day."""
    total = 0
    for version in event.believed:
        amount = dividend_as_paid(version, history.splits, history.zone)
        if amount is None:
            return Refusal("unknown_share_basis", str(version.share_basis), "as_paid, or a known delivery", event.believed)
        scale = _currency_scale(version.currency, reference.currency)
        if scale is None:
            return Refusal("currency_mismatch", str(version.currency), f"{reference.currency}", event.believed)
        total += times([amount], scale)[0] or 0
    ratio = None if same_day is None else same_day.believed[0].ratio
    if reference.close_e9 <= 0 or total < 0:
        return _impossible(event, f"amount {total}e-9 at close {reference.close_e9}e-9", highest)
    price = 1 - Fraction(total, reference.close_e9) * (ratio or 1)
    if not 0 < price <= highest:
        return _impossible(event, f"amount {total}e-9 at close {reference.close_e9}e-9", highest)
    splits = same_day.believed if ratio is not None and same_day is not None else ()
    return Effect(
        CASH_DIVIDEND, event.believed[0].ex_date, event.status, price, Fraction(1), "prev_close",
        None if ratio is None else ratio.denominator, None if ratio is None else ratio.numerator,
        total, reference.close_e9, reference.session,
        versions=(*event.believed, *splits), compared=event.agreeing, ref_row=reference.row,
    )  # fmt: skip


def _reference(ex_date: date, moment: datetime, history: _History) -> _Close | None:
    """Return the newest version, known by `moment`, of the last close before `ex_date`; None where there is none."""
    for place in range(history.closes.before(ex_date) - 1, -1, -1):
        known = [close for close in history.closes.versions(place) if close.known_at <= moment]
        if known:
            return known[-1]
    return None


def _currency_scale(of: str | None, to: str | None) -> Fraction | None:
    """Return what an amount is multiplied by to be in the bars' unit (1 where one is not told); None: another currency."""
    if of is None or to is None or of == to:
        return Fraction(1)
    (major, parts), (wanted, wanted_parts) = (MINOR_UNITS.get(code, (code, 1)) for code in (of, to))
    return Fraction(wanted_parts, parts) if major == wanted else None


def _impossible(event: Event, value: str, highest: Fraction) -> Refusal:
    return Refusal("impossible_factor", value, f"a price factor in (0, {highest}]", event.believed, is_blocking=True)


def _rescinded(before: Effect, versions: list[Version], moment: datetime) -> Effect:
    """Return the effect that takes `before` back, in the name of the version that did."""
    chain = before.versions[0].chain
    told = [version for version in versions if version.chain == chain and version.known_at <= moment]
    return Effect(before.kind, before.ex_date, RESCINDED, Fraction(1), Fraction(1), before.method, versions=(told[-1],))


def _conflict(cell: Cell, event: Event) -> Finding:
    first = event.believed[0]
    told = {f"{v.provider}/{v.feed}": [str(part) for part in v.terms] for v in (first, *event.conflicting)}
    detail = json.dumps({"kind": cell[0], "ex_date": str(cell[1]), "believed": f"{first.provider}/{first.feed}", "told": told})
    return Finding(
        event.conflicting[0].event_id,
        "action_conflict",
        "error",
        ACTIONS,
        event.conflicting[0].provider,
        first.instrument_id,
        detail,
    )


def _possible_duplicates(versions: list[Version]) -> list[Finding]:
    """Return a finding for each split that another provider tells with the same ratio a few days apart: both are applied."""
    splits = sorted((v for v in in_force(versions) if v.kind == SPLIT), key=lambda v: (v.ex_date, v.provider))
    return [
        Finding(
            later.event_id, "possible_duplicate_action", "error", ACTIONS, later.provider, later.instrument_id,
            f"{later.provider} and {one.provider} tell the same ratio for {later.ex_date} and {one.ex_date}",
        )
        for number, one in enumerate(splits)
        for later in splits[number + 1 :]
        if later.provider != one.provider
        and later.ratio == one.ratio
        and 0 < (later.ex_date - one.ex_date).days <= _DUPLICATE_DAYS
    ]  # fmt: skip
