"""Who a name has meant since when: identity keys over time, from changes of symbols and joins of instruments.

A listing's identity key, like `listing:US/META`, names whoever has the symbol. A change on day d (FB is called META) hands
META from d on to the instrument that was FB until then, which keeps its first identity, `listing:US/FB`, for good. Whoever
has FB from d on is another instrument: `listing:US/FB@2022-06-09`. Same rows, same ids, in any order of arrival.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.values import instrument_id_of
from transforms.calendars import US_MICS
from transforms.instruments import Instrument, us_symbol

_BEGINNING = date.min
_REPEATED_WITHIN = timedelta(days=7)
"""Two feeds may date one change some days apart; the later telling is the same change."""
_LONGEST_CHAIN = 16
_EVENT_DAYS = ("start_date", "ts_event", "ts_open", "known_at", "ex_date", "ts_recv")


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """On `day` the instrument called `old` within `scope` (US, or a MIC) is called `new`; None: listed no more."""

    scope: str
    day: date
    old: str
    new: str | None


@dataclass(frozen=True, slots=True, order=True)
class Join:
    """What `identity` names in [start, end) is `joined`."""

    identity: str
    start: date
    end: date | None
    joined: str


@dataclass(frozen=True, slots=True)
class Era:
    """From `start` on a name means `identity`."""

    start: date
    identity: str


@dataclass(frozen=True)
class SymbolEras:
    """The eras of every name that ever changed its meaning, oldest first; a name without an entry means itself."""

    eras: Mapping[str, tuple[Era, ...]] = field(default_factory=dict)

    def __contains__(self, identity: str) -> bool:
        return identity in self.eras

    def at(self, identity: str, day: date | None) -> str:
        """Return the identity that a name means on `day`; without a day, what it means last."""
        eras = self.eras.get(identity)
        if eras is None:
            return identity
        return eras[-1 if day is None else bisect_right(eras, day, key=lambda era: era.start) - 1].identity

    def numbers(self, identity: str, days: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
        """Return the number of the era of each day in `eras[identity]`; NaT gives the last."""
        starts = np.array([np.datetime64(era.start, "D") for era in self.eras[identity]])
        found = np.searchsorted(starts, days, side="right") - 1
        return np.where(np.isnat(days), len(starts) - 1, found)

    def instrument(self, identity: str, number: int) -> Instrument:
        """Return the instrument of an era."""
        found = self.eras[identity][number].identity
        return Instrument(instrument_id_of(found), found, found.startswith("provider:"))


NO_CHANGES = SymbolEras()


def listing_identity(scope: str, symbol: str) -> str:
    """Return the identity key of whoever has `symbol` within `scope`."""
    if scope in US_MICS or scope == "US":
        return f"listing:US/{us_symbol(symbol)}"
    if scope.startswith("provider:"):
        return f"{scope}/{symbol}"
    return f"listing:{scope}/{symbol.upper()}"


@lru_cache(maxsize=16)
def symbol_eras(changes: frozenset[Change], joins: frozenset[Join]) -> SymbolEras:
    """Return the eras that follow from all changes and joins, whatever order they are told in."""
    renamed = _renamed(changes)
    by_identity: dict[str, list[Join]] = {}
    for join in sorted(joins):
        by_identity.setdefault(join.identity, []).append(join)
    names = {*renamed, *by_identity}
    return SymbolEras({name: tuple(_joined(renamed.get(name, (Era(_BEGINNING, name),)), by_identity)) for name in names})


def _renamed(changes: Iterable[Change]) -> dict[str, list[Era]]:
    """Return the eras by changes alone. Changes of one day happen at once: A to B and B to C leaves two instruments."""
    eras: dict[str, list[Era]] = {}
    last_told: dict[tuple[str, str | None], date] = {}
    by_day: dict[date, list[tuple[str, str | None]]] = {}
    for change in sorted(changes, key=lambda one: (one.day, one.scope, one.old, one.new or "")):
        old = listing_identity(change.scope, change.old)
        new = None if change.new is None else listing_identity(change.scope, change.new)
        told = last_told.get((old, new))
        if old == new or (told is not None and change.day - told <= _REPEATED_WITHIN):
            continue
        last_told[old, new] = change.day
        by_day.setdefault(change.day, []).append((old, new))
    for day, pairs in sorted(by_day.items()):
        holders = {old: _now(eras, old) for old, _ in pairs}
        taken: dict[str, str] = {}
        for old, new in pairs:
            if new is not None:
                taken.setdefault(new, holders[old])
        for old, _ in pairs:
            taken.setdefault(old, f"{old}@{day.isoformat()}")
        for name, identity in taken.items():
            eras.setdefault(name, [Era(_BEGINNING, name)]).append(Era(day, identity))
    return eras


def _now(eras: Mapping[str, list[Era]], name: str) -> str:
    return eras[name][-1].identity if name in eras else name


def _joined(eras: Iterable[Era], joins: Mapping[str, list[Join]]) -> Iterator[Era]:
    """Yield eras with every identity followed through its joins, cut where a join begins or ends."""
    found = list(eras)
    for _ in range(_LONGEST_CHAIN):
        cut: list[Era] = []
        for number, era in enumerate(found):
            end = found[number + 1].start if number + 1 < len(found) else date.max
            cut += _cut(era, end, joins.get(era.identity, ()))
        if cut == found:
            break
        found = cut
    yield from found


def _cut(era: Era, end: date, joins: Iterable[Join]) -> Iterator[Era]:
    """Yield one era, cut by the joins of its identity; of overlapping joins the one that begins first wins."""
    at = era.start
    for join in joins:
        start, stop = max(at, join.start), min(end, join.end or date.max)
        if start >= stop:
            continue
        if start > at:
            yield Era(at, era.identity)
        yield Era(start, join.joined)
        at = stop
    if at < end:
        yield Era(at, era.identity)


def naming_days(columns: Mapping[str, pa.Array], arrival: pa.Array, *, is_entry_dated: bool) -> npt.NDArray[np.datetime64]:
    """Return for each row the day as of which its symbol is to be read; NaT: the newest meaning.

    columns          candidate columns of one table
    arrival          when each row was delivered, null where that is not known
    is_entry_dated   the feed writes symbols as of its own dates, not as of the delivery

    Providers answer about history under today's symbol, so the delivery decides; without one (imported ticks) the event does.
    """
    told = [columns[name] for name in _EVENT_DAYS if name in columns]
    order = told if is_entry_dated else [arrival, *told]
    days = [one.cast(pa.timestamp("us")).cast(pa.date32(), safe=False) for one in order]
    found = pc.coalesce(*days) if days else pa.nulls(len(arrival), pa.date32())
    return np.asarray(pl.Series("day", pl.from_arrow(found)).to_numpy()).astype("datetime64[D]")
