"""Questions about rates between currencies: one pair over time or at its newest, and views of all pairs in SQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.scan import Where
from serving.answers import Answered, newest, page, range_of, snapshots_of, told
from serving.bars import in_force
from transforms import fx

RATES = "normalized.fx_rates"
VIEW_DOCS = {
    "fx.latest": "The newest rate between any two currencies of each source, with the rates it was made of.",
    "fx.to_eur": "One unit of each currency in euros, at each instant that a source told.",
    "fx.to_usd": "One unit of each currency in US dollars, at each instant that a source told.",
}


@dataclass(frozen=True, slots=True)
class FxQuestion:
    """A pair; without start and end, the last instant of each source. `amount` is of the base currency."""

    base: str
    quote: str
    start: date | datetime | None = None
    end: date | datetime | None = None
    amount: Decimal | None = None
    provider: str | None = None
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    limit: int = 1_000
    offset: int = 0


def rates(lake: Lake, question: FxQuestion) -> Answered:
    """Return the rates between two currencies by time, each with the rates it was made of.

    Raises InvalidValueError for a code or range that is none, NotFoundError where no source tells a rate in that range.
    """
    snapshots = snapshots_of(lake, RATES)
    codes = [fx.currency_of(code)[0] for code in (question.base, question.quote)]
    where = range_of(question.start, question.end, "ts_event")
    if question.provider is not None:
        where.append(Where("provider", "=", question.provider))
    known = fx.newest(fx.about(in_force(lake, RATES, where, question.as_of, question.known_as_of), codes))
    is_ranged = question.start is not None or question.end is not None
    found = fx.cross_rates(known, question.base, question.quote, question.amount)
    if not found.num_rows:
        raise NotFoundError(f"no source tells a rate between {question.base} and {question.quote} there; see {RATES} in SQL")
    rows, more = page(found if is_ranged else fx.last_rates(found), question.limit, question.offset)
    metadata = told(lake, snapshots, newest(rows, "known_at"), "as_told", question.as_of, question.known_as_of, **more)
    return Answered(rows, metadata)


def _view(quotes: tuple[str, ...] | None) -> Callable[[Lake, datetime | None, datetime | None], pa.Table]:
    def view(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
        known = fx.newest(in_force(lake, RATES, (), as_of, known_as_of))
        if quotes is None and known.num_rows:
            last = known.group_by(["provider", "feed", "rate_kind"]).aggregate([("ts_event", "max")])
            known = known.filter(pc.is_in(known["ts_event"], value_set=last["ts_event_max"].combine_chunks()))
        return fx.all_crosses(known, quotes)

    return view


VIEWS = {"fx.latest": _view(None), "fx.to_eur": _view(("EUR",)), "fx.to_usd": _view(("USD",))}
"""Name in SQL -> what it shows at the instants asked for; VIEW_DOCS says what."""
