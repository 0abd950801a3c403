"""The chains of corporate actions: which versions were in force at a moment, and which of them count.

An action is a chain of versions that share (instrument, provider, feed, action_key), ordered by known_at. At a moment the
newest version known by then is in force, unless it is rescinded. Several providers tell of the same event: versions in force
with the same kind and ex_date are one event, and the provider that knew its terms first is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction

import numpy as np
import pyarrow as pa

from lake.values import event_id
from transforms.exact import unscaled

SPLIT, CASH_DIVIDEND = "split", "cash_dividend"
RESCINDED, CONFIRMED = "rescinded", "confirmed"

Chain = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """One row of normalized.corporate_actions; `amount_e9` is in units of 1e-9 of the currency."""

    instrument_id: int
    provider: str
    feed: str
    action_key: str
    kind: str
    ex_date: date
    ratio_old: int | None
    ratio_new: int | None
    amount_e9: int | None
    currency: str | None
    share_basis: str | None
    status: str
    mic: str | None
    known_at: datetime
    delivered_at: datetime | None
    capture_id: str
    message_seq: int
    ordinal: int

    @property
    def chain(self) -> Chain:
        """What the revisions of one action share."""
        return self.instrument_id, self.provider, self.feed, self.action_key

    @property
    def event_id(self) -> str:
        """The name of the row."""
        return event_id(self.capture_id, self.message_seq, self.ordinal)

    @property
    def terms(self) -> tuple[object, ...]:
        """What the action does: two versions with equal terms do the same."""
        if self.kind == SPLIT:
            return self.kind, self.ex_date, self.ratio
        return self.kind, self.ex_date, self.amount_e9, self.currency, self.share_basis

    @property
    def ratio(self) -> Fraction | None:
        """New shares per old share of a split; None where it is not told or impossible."""
        if self.ratio_old is None or self.ratio_new is None or self.ratio_old <= 0 or self.ratio_new <= 0:
            return None
        return Fraction(self.ratio_new, self.ratio_old)


@dataclass(frozen=True, slots=True)
class Event:
    """What is believed of one (instrument, kind, ex_date): the versions of the believed provider, and the others."""

    believed: tuple[Version, ...]
    agreeing: tuple[Version, ...]
    conflicting: tuple[Version, ...]

    @property
    def status(self) -> str:
        """Confirmed as soon as anybody who agrees confirms."""
        if any(version.status == CONFIRMED for version in (*self.believed, *self.agreeing)):
            return CONFIRMED
        return self.believed[0].status


def versions_of(actions: pa.Table) -> list[Version]:
    """Return every version, ordered by (known_at, capture_id, message_seq, ordinal); any order of rows gives the same.

    actions   effective rows of normalized.corporate_actions: one a (provider, feed, action_key, known_at)
    """
    names = [name for name in Version.__dataclass_fields__ if name != "amount_e9"]
    columns = [actions[name].to_pylist() for name in names]
    amounts = unscaled(actions["amount"])
    found = [
        Version(**dict(zip(names, values, strict=True)), amount_e9=amount)
        for *values, amount in zip(*columns, amounts, strict=True)
    ]
    return sorted(found, key=lambda version: (version.known_at, version.capture_id, version.message_seq, version.ordinal))


def in_force(versions: Iterable[Version], known_by: datetime | None = None) -> list[Version]:
    """Return the version of each chain in force at `known_by` (None: by everything known), without rescinded ones.

    versions   as `versions_of` gives them

    The `known_at` of a returned version is when its chain first told the same terms: a revision of a record date makes no
    provider later.
    """
    newest: dict[Chain, Version] = {}
    first: dict[tuple[Chain, tuple[object, ...]], datetime] = {}
    for version in versions:
        if known_by is not None and version.known_at > known_by:
            break
        newest[version.chain] = version
        first.setdefault((version.chain, version.terms), version.known_at)
    return [
        replace(version, known_at=first[version.chain, version.terms])
        for version in newest.values()
        if version.status != RESCINDED
    ]


def events_of(active: Iterable[Version]) -> dict[tuple[str, date], Event]:
    """Return what is believed of each (kind, ex_date) among the versions in force of one instrument.

    The feed that knew first is believed (then by name); all its actions of that day count, each once. Another feed agrees
    when it tells the same: the same ratio, or the same sum of amounts on the same share basis.
    """
    by_event: dict[tuple[str, date], dict[tuple[str, str], list[Version]]] = {}
    for version in active:
        feeds = by_event.setdefault((version.kind, version.ex_date), {})
        feeds.setdefault((version.provider, version.feed), []).append(version)
    return {key: _event(feeds) for key, feeds in by_event.items()}


def _event(feeds: Mapping[tuple[str, str], list[Version]]) -> Event:
    ranked = sorted(feeds.items(), key=lambda item: (min(version.known_at for version in item[1]), item[0]))
    believed = sorted(ranked[0][1], key=lambda version: (version.known_at, version.action_key))
    conflicting: list[Version] = []
    agreeing: list[Version] = []
    if believed[0].kind == SPLIT and len(believed) > 1:  # one feed that names one split twice: the first stands
        for other in believed[1:]:
            (agreeing if other.ratio == believed[0].ratio else conflicting).append(other)
        believed = believed[:1]
    for _, versions in ranked[1:]:
        (agreeing if _told(versions) == _told(believed) else conflicting).extend(versions)
    return Event(tuple(believed), tuple(agreeing), tuple(conflicting))


def _told(versions: list[Version]) -> tuple[object, ...]:
    """Return what versions of one feed say together, to compare feeds by."""
    if versions[0].kind == SPLIT:
        return (versions[0].ratio,)
    total = sum(version.amount_e9 or 0 for version in versions)
    return total, versions[0].share_basis, versions[0].currency


@dataclass(frozen=True)
class SplitHistory:
    """The splits of one instrument by best knowledge, by ex_date; `shares_after[i]` is the product of splits i and later."""

    ex_dates: tuple[date, ...]
    ratios: tuple[Fraction, ...]
    versions: tuple[Version, ...]

    def between(self, after: date, until: date) -> Fraction:
        """Return new shares per old share over every split with after < ex_date <= until."""
        product = Fraction(1)
        for ex_date, ratio in zip(self.ex_dates, self.ratios, strict=True):
            if after < ex_date <= until:
                product *= ratio
        return product

    def ratios_until(self, sessions: np.ndarray, until: date) -> tuple[np.ndarray, list[Fraction]]:
        """Return (index, ratios): ratios[index[i]] undoes the splits with sessions[i] < ex_date <= until."""
        edges = [ex_date for ex_date in self.ex_dates if ex_date <= until]
        index = np.searchsorted(np.array(edges, "datetime64[D]"), sessions, side="right")
        return index, [self.between(date.min if n == 0 else edges[n - 1], until) for n in range(len(edges) + 1)]


NO_SPLITS = SplitHistory((), (), ())


def split_histories(actions: pa.Table) -> dict[int, SplitHistory]:
    """Return the splits of each instrument by best knowledge: everything known, nothing rescinded, each event once."""
    by_instrument: dict[int, list[Version]] = {}
    for version in in_force(versions_of(actions)):
        if version.kind == SPLIT and version.ratio is not None:
            by_instrument.setdefault(version.instrument_id, []).append(version)
    histories = {}
    for instrument_id, versions in by_instrument.items():
        events = sorted(events_of(versions).items(), key=lambda item: item[0][1])
        believed = [event.believed[0] for _, event in events]
        ratios = tuple(version.ratio for version in believed if version.ratio is not None)
        histories[instrument_id] = SplitHistory(tuple(version.ex_date for version in believed), ratios, tuple(believed))
    return histories
