"""The question "bars": agreed bars of one instrument, as traded or adjusted, as published or known at an instant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.instants import to_datetime
from lake.scan import PUBLISHED_AT, Where
from lake.tables import table_named
from lake.values import Basis, event_id
from serving.answers import Answered, newest, range_of, within
from serving.instruments import Instrument, ids_of, instrument_named, own_rows
from transforms import adjust, agree
from transforms.adjust import Adjustment
from transforms.calendars import parse_interval
from transforms.revisions import effective

__all__ = ["Adjustment", "BarsQuestion", "bars", "bars_1d_at", "in_force"]

AGREED, FACTORS, ACTIONS = "adjusted.agreed_bars", "adjusted.factors", "normalized.corporate_actions"
BASES = {Adjustment.NONE: Basis.AS_TRADED, Adjustment.SPLITS: Basis.SPLIT_ADJUSTED, Adjustment.ALL: Basis.FULLY_ADJUSTED}
_PRICES = ("open", "high", "low", "close")
_VIEW_RUN = "view"


@dataclass(frozen=True, slots=True)
class BarsQuestion:
    """What is asked. `start` and `end` are half open: dates select session dates, instants select `ts_open`.

    provider   the answer that this provider's bars alone would give; None: the agreed bars
    """

    symbol: str
    interval: str = "1d"
    start: date | datetime | None = None
    end: date | datetime | None = None
    adjustment: Adjustment = Adjustment.NONE
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    provider: str | None = None


def bars(lake: Lake, question: BarsQuestion) -> Answered:
    """Return bars in order of time, prices and volumes on the basis asked for, with the factors applied.

    A factor applies to sessions strictly before its ex_date, and only when that session has come in the view asked for.
    Raises NotFoundError when nothing has the symbol, or it has no bars of this interval in the view; InvalidValueError for an
    interval, range or instant that is none, and for a symbol of several instruments.
    """
    parse_interval(question.interval)
    range_of(question.start, question.end, "ts_open")
    instrument = instrument_named(lake, question.symbol, as_of=question.as_of)
    snapshots = {name: str(lake.head(name).snapshot_id) for name in _read_tables(question)}
    return view_of(lake, question, instrument, _agreed(lake, instrument, question), snapshots)


def view_of(
    lake: Lake, question: BarsQuestion, instrument: Instrument, agreed: pa.Table, snapshots: dict[str, str], **more: object
) -> Answered:
    """Return the answer that every version of an instrument's agreed bars gives: its newest versions, adjusted, in the range.

    more   metadata beside and instead of the usual
    """
    mine = agreed.filter(pc.equal(agreed["interval"], question.interval))
    if not mine.num_rows:
        raise _nothing(instrument, question, agreed)
    where = [Where("instrument_id", "=", instrument.instrument_id)]
    factors = in_force(lake, FACTORS, where, question.as_of, question.known_as_of)
    last = {instrument.instrument_id: pc.max(agreed["session_date"]).as_py()}
    by = ("instrument_id", "session_date") if question.interval == "1d" else ("instrument_id", "ts_open")
    whole = adjust.back_adjust(adjust.newest_versions(mine, by), factors, question.adjustment, last)
    view = within(_columns(whole, question.adjustment), question.start, question.end).sort_by("ts_open")
    metadata = _metadata(lake, question, instrument, snapshots, view)
    if question.adjustment is not Adjustment.NONE:
        metadata["unapplied_actions"] = _unapplied(lake, instrument, question)
    return Answered(view, metadata | more)


def in_force(lake: Lake, table: str, where: Sequence[Where], as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return the effective rows of a table in a view: of each key the version published last, of those that count in it.

    A bar that belongs to another instrument by then counts there, and here no more.
    """
    found = versions(lake, table, where, as_of, known_as_of)
    return found.filter(pc.is_null(found["moved_to"])) if "moved_to" in found.column_names else found


def versions(lake: Lake, table: str, where: Sequence[Where], as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return what `in_force` returns, and bars that moved to another instrument."""
    definition = table_named(table)
    names = list(definition.column_names)
    found = scan.read(lake, table, [*names, PUBLISHED_AT], where, as_of=as_of, known_as_of=known_as_of, tells_dropped=True)
    return effective(definition, found).select(names)


def facts_in_force(
    lake: Lake, table: str, instrument: Instrument, where: Sequence[Where], as_of: datetime | None, known_as_of: datetime | None
) -> pa.Table:
    """Return the effective normalized rows of one instrument in a view, whatever instrument they were filed under."""
    definition = table_named(table)
    names = [*definition.column_names, PUBLISHED_AT]
    filed = [Where("instrument_id", "in", ids_of(lake, instrument, as_of)), *where]
    found = scan.read(lake, table, names, filed, as_of=as_of, known_as_of=known_as_of, tells_dropped=True)
    return effective(definition, own_rows(lake, found, instrument, as_of))


def bars_1d_at(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return adjusted.bars_1d as it would have been answered then: made anew from the agreed bars and factors of then."""
    agreed = in_force(lake, AGREED, [Where("interval", "=", "1d")], as_of, known_as_of)
    return adjust.bars_1d(agreed, in_force(lake, FACTORS, (), as_of, known_as_of), run_id=_VIEW_RUN)


def _read_tables(question: BarsQuestion) -> tuple[str, ...]:
    if question.provider is None:
        return (AGREED, FACTORS)
    return ("normalized.bars", ACTIONS, FACTORS)


def _agreed(lake: Lake, instrument: Instrument, question: BarsQuestion) -> pa.Table:
    """Return every version of the agreed bars in the view, of all intervals; of one provider they are agreed anew."""
    if question.provider is None:
        where = [Where("instrument_id", "=", instrument.instrument_id)]
        return in_force(lake, AGREED, where, question.as_of, question.known_as_of)
    of = [Where("provider", "=", question.provider)]
    own = facts_in_force(lake, "normalized.bars", instrument, of, question.as_of, question.known_as_of)
    return agreed_anew(lake, instrument, own.select(table_named("normalized.bars").column_names), question.as_of)


def agreed_anew(lake: Lake, instrument: Instrument, own: pa.Table, as_of: datetime | None = None) -> pa.Table:
    """Return the agreed bars that rows of normalized.bars of one instrument would give alone."""
    # Undoing a provider's split adjustment takes every split known today: it is about the delivery, not about the market.
    actions = facts_in_force(lake, ACTIONS, instrument, (), as_of, None).select(table_named(ACTIONS).column_names)
    now = to_datetime(lake.clock())
    return agree.agreed_bars(own, actions, run_id=_VIEW_RUN, recorded_at=now, priority=lake.settings.provider_priority).rows


def _nothing(instrument: Instrument, question: BarsQuestion, agreed: pa.Table) -> Exception:
    there = sorted(set(agreed["interval"].to_pylist()))
    view = "".join(
        f" {name} {value if isinstance(value, str) else value.isoformat()}"
        for name, value in (("of", question.provider), ("as of", question.as_of), ("known as of", question.known_as_of))
        if value is not None
    )
    known = f"; there are {', '.join(there)}" if there else ""
    return NotFoundError(f"no {question.interval} bars of {instrument.symbol} ({instrument.identity}){view}{known}")


def _columns(view: pa.Table, adjustment: Adjustment) -> pa.Table:
    """Return the answer's columns: one set of prices, on the basis asked for."""
    is_adjusted = adjustment is not Adjustment.NONE
    one = pa.repeat(pa.scalar(1, pa.int64()), view.num_rows).cast(view["split_factor"].type)
    price_factor = {Adjustment.NONE: one, Adjustment.SPLITS: view["split_factor"], Adjustment.ALL: view["all_factor"]}
    columns = {
        "session_date": view["session_date"],
        "ts_open": view["ts_open"],
        **{name: view[f"adj_{name}" if is_adjusted else name] for name in (*_PRICES, "volume")},
        "price_factor": price_factor[adjustment],
        "volume_factor": view["volume_factor"] if is_adjusted else one,
        **{name: view[name] for name in ("currency", "symbol", "provider", "feed", "is_final", "known_at")},
        **{name: view[name] for name in ("agreed_by", "disagreed_by")},
    }
    return pa.table(columns)


def _unapplied(lake: Lake, instrument: Instrument, question: BarsQuestion) -> list[dict[str, object]]:
    """Return the actions in the view that gave no factor, with the reason: an adjusted answer must not hide them."""
    refused = scan.read(lake, "quality.quarantine", where=[Where("table_name", "=", FACTORS)], as_of=question.as_of)
    if not refused.num_rows:
        return []
    actions = facts_in_force(lake, ACTIONS, instrument, (), question.as_of, question.known_as_of)
    ids = zip(*(actions[name].to_pylist() for name in ("capture_id", "message_seq", "ordinal")), strict=True)
    own = {event_id(*parts) for parts in ids}
    names = ("event_id", "rule", "value", "expected")
    return [{name: row[name] for name in names} for row in refused.to_pylist() if row["event_id"] in own]


def _metadata(
    lake: Lake, question: BarsQuestion, instrument: Instrument, snapshots: dict[str, str], view: pa.Table
) -> dict[str, object]:
    return {
        "instrument": instrument.document(),
        "interval": question.interval,
        "adjustment": question.adjustment.value,
        "basis": BASES[question.adjustment].value,
        "snapshots": snapshots,
        "fresh": newest(view, "known_at"),
        "completeness": None,
        "quality_score": None,
        "source": "lake",
        "status": "confirmed",
        "answered_at": to_datetime(lake.clock()),
        "as_of": question.as_of,
        "known_as_of": question.known_as_of,
        "provider": question.provider,
    }
