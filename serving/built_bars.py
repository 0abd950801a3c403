"""The question "bars built here": from a feed's own trades or quotes, of any length, as traded.

Minutes and days are published (`adjusted.built_bars`). Other minutes and hours are made of minutes when asked, weeks and
months of days: the same as bars of the trades. Shorter bars are made of the trades or quotes themselves, of few sessions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.scan import Where, read
from quality_checks.building import QUOTES, TRADES, facts_of, venues_of
from quality_checks.naming import belonging_now
from serving.answers import Answered, newest, range_of, snapshots_of, told, within
from serving.bars import Adjustment, BarsQuestion, bars, in_force
from serving.choices import BarSource
from serving.instruments import Instrument, ids_of, instrument_named
from transforms.bar_runs import words
from transforms.bar_spans import Interval, interval_of, spans
from transforms.bars import SCHEMA, bars_of_bars
from transforms.built_bars import BUILT, built_bars
from transforms.calendars import Venue
from transforms.steps import BUILT_FROM, step_named

PRICE_TYPES = ("trade", "bid", "ask", "mid")
MOST_SESSIONS = 5
"""Of bars below a minute, which are made of every trade."""
_MINUTE_US = 60_000_000
_MARGIN = timedelta(days=35)
"""A month begins so far before its last session."""
_FEED = ("provider", "feed")
_COLUMNS = (
    *("session_date", "ts_open", "ts_end", "open", "high", "low", "close", "volume", "trade_count", "quote_count"),
    *("dollar_volume", "vwap", "currency", "symbol", "provider", "feed", "price_type", "is_final", "known_at"),
)


@dataclass(frozen=True, slots=True)
class BuiltQuestion:
    """What is asked. `[start, end)`: dates select session dates, instants `ts_open`; without both every bar there is."""

    symbol: str
    interval: str = "1m"
    start: date | datetime | None = None
    end: date | datetime | None = None
    price_type: str = "trade"
    provider: str | None = None
    as_of: datetime | None = None
    known_as_of: datetime | None = None


def asked_bars(lake: Lake, question: BarsQuestion, source: BarSource, price_type: str = "trade") -> Answered:
    """Return agreed bars, or bars built here, as `source` says; see `serving.bars.bars` and `built`.

    Raises InvalidValueError also for built bars that are to be adjusted.
    """
    if source is BarSource.AGREED:
        return bars(lake, question)
    if question.adjustment is not Adjustment.NONE:
        raise InvalidValueError(f"adjustment {question.adjustment.value} of built bars: they are as traded, expected none")
    bounds, views = (question.start, question.end), (question.as_of, question.known_as_of)
    return built(lake, BuiltQuestion(question.symbol, question.interval, *bounds, price_type, question.provider, *views))


def built(lake: Lake, question: BuiltQuestion) -> Answered:
    """Return bars in order of (ts_open, provider, feed), each feed's own, of every version the one known last.

    Raises InvalidValueError for an interval or price type that is none, and for bars below a minute of more sessions than
    MOST_SESSIONS; NotFoundError when nothing has the symbol, or nothing was built of it.
    """
    meant = interval_of(question.interval)
    range_of(question.start, question.end, "ts_open")
    if question.price_type not in PRICE_TYPES:
        raise InvalidValueError(f"price type {question.price_type!r}: expected one of {', '.join(PRICE_TYPES)}")
    instrument = instrument_named(lake, question.symbol, as_of=question.as_of)
    venue = venues_of(lake, [instrument.instrument_id])[instrument.instrument_id]
    if 0 < meant.step_us < _MINUTE_US or meant.step_us % _MINUTE_US:
        snapshots = snapshots_of(lake, *BUILT_FROM)
        rows = _of_ticks(lake, question, instrument)
    else:
        snapshots = snapshots_of(lake, BUILT)
        rows = _of_table(lake, question, instrument, meant, venue)
    if not rows.num_rows:
        raise NotFoundError(
            f"no {question.interval} bars of {question.price_type} built of {instrument.symbol} ({instrument.identity}) here"
        )
    moment = question.known_as_of or to_datetime(lake.clock())
    is_final = pc.less_equal(rows["ts_end"], pa.scalar(moment, rows["ts_end"].type))
    rows = within(rows.append_column("is_final", is_final), question.start, question.end)
    rows = rows.sort_by([(name, "ascending") for name in ("ts_open", *_FEED)]).select(list(_COLUMNS))
    metadata = told(lake, snapshots, newest(rows, "known_at"), "as_traded", question.as_of, question.known_as_of)
    more = {"interval": question.interval, "adjustment": "none", "provider": question.provider, "source": "built"}
    step = step_named("build").identity
    return Answered(rows, {**metadata, **more, "step": step, "is_derived": True, "instrument": instrument.document()})


def _of_table(lake: Lake, question: BuiltQuestion, instrument: Instrument, meant: Interval, venue: Venue) -> pa.Table:
    """Return bars from the published ones."""
    of = "1m" if meant.step_us else "1d"
    where = [*_of_instrument(question, instrument), Where("interval", "=", of), Where("price_type", "=", question.price_type)]
    for bound in range_of(question.start, question.end, "ts_open"):
        margin = timedelta(0) if question.interval == of else -_MARGIN if bound.op == ">=" else _MARGIN
        assert isinstance(bound.value, date)
        where.append(Where(bound.column, bound.op, bound.value + margin))
    rows = _newest_versions(in_force(lake, BUILT, where, question.as_of, question.known_as_of))
    if question.interval == of:
        return rows
    parts = [_coarser(part, question.interval, meant, venue) for part in _by_feed(rows)]
    return pa.concat_tables(parts) if parts else rows.slice(0, 0)


def _of_ticks(lake: Lake, question: BuiltQuestion, instrument: Instrument) -> pa.Table:
    """Return bars made of trades or quotes now, of few sessions."""
    table = TRADES if question.price_type == "trade" else QUOTES
    bounds = range_of(question.start, question.end, "ts_open")
    filed = [Where("instrument_id", "in", ids_of(lake, instrument, question.as_of)), *_of_instrument(question, instrument)[1:]]
    where = [*filed, *(_session_bound(bound) for bound in bounds)]
    keys = read(lake, table, ["provider", "session_date"], where, as_of=question.as_of)
    parts = keys.group_by(["provider", "session_date"]).aggregate([]).to_pylist()
    days = sorted({row["session_date"] for row in parts})
    if question.start is None and question.end is None:
        days = days[-1:]
    if len(days) > MOST_SESSIONS:
        raise InvalidValueError(f"{question.interval} bars of {len(days)} sessions; ask for {MOST_SESSIONS} or fewer")
    moments, whose = dict.fromkeys(BUILT_FROM, question.as_of), belonging_now(lake, question.as_of)
    found = []
    for row in parts:
        if row["session_date"] not in days:
            continue
        facts = facts_of(lake, (row["provider"], row["session_date"]), moments, whose, [instrument.instrument_id])
        made = built_bars(facts, [question.interval])
        made = made.filter(pc.equal(made["price_type"], question.price_type))
        if question.known_as_of is not None:
            made = made.filter(pc.less_equal(made["known_at"], pa.scalar(question.known_as_of, made["known_at"].type)))
        found.append(_newest_versions(made))
    return pa.concat_tables(found) if found else pa.table({"ts_open": []})


def _session_bound(bound: Where) -> Where:
    """Return a bound of session dates that holds every bar within a bound of dates or instants."""
    if not isinstance(bound.value, datetime):
        return bound
    days = timedelta(days=-1 if bound.op == ">=" else 4)  # Friday evening's FX belongs to Monday
    return Where("session_date", bound.op, bound.value.date() + days)


def _of_instrument(question: BuiltQuestion, instrument: Instrument) -> list[Where]:
    mine = [Where("instrument_id", "=", instrument.instrument_id)]
    return mine if question.provider is None else [*mine, Where("provider", "=", question.provider)]


def _newest_versions(rows: pa.Table) -> pa.Table:
    """Return of each bar the version known last."""
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in (*_FEED, "ts_open", "known_at")}).with_row_index("row")
    last = frame.sort("known_at").group_by(*_FEED, "ts_open", maintain_order=True).last().sort("row")
    return rows.take(last["row"].to_arrow())


def _by_feed(rows: pa.Table) -> Iterator[pa.Table]:
    for one in rows.group_by(list(_FEED)).aggregate([]).to_pylist():
        yield rows.filter(pc.and_(*(pc.equal(rows[name], one[name]) for name in _FEED)))


def _coarser(rows: pa.Table, interval: str, meant: Interval, venue: Venue) -> pa.Table:
    """Return coarser bars of one feed's, with what else its rows tell; known when the last of their parts was."""
    made = bars_of_bars(rows.select([*SCHEMA.names]), interval, venue)
    opens = spans(words(rows, "ts_open"), words(rows, "session_date"), meant, venue).opens
    parts = (
        pl.DataFrame({"open": opens, "known": words(rows, "known_at")}).group_by("open").agg(pl.col("known").max()).sort("open")
    )
    columns = {name: made[name] for name in SCHEMA.names}
    columns |= {name: pa.repeat(rows[name][0], made.num_rows) for name in ("provider", "feed", "symbol", "currency")}
    known = parts["known"].to_arrow().cast(pa.timestamp("us")).cast(rows["known_at"].type)
    columns["moved_to"] = pa.nulls(made.num_rows, rows["moved_to"].type)
    return (
        pa.table({**columns, "known_at": known, "run_id": pa.repeat("view", made.num_rows)})
        .select(rows.column_names)
        .cast(rows.schema)
    )
