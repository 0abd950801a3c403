"""The agreed bar: as traded, one feed wins the whole bar, the others agree or not.

A pure function of the normalized history. Bars of every feed are brought to as-traded prices, then each bar's history is
walked along `known_at`: whenever the winner's values change, a row says so. Facts known later change no earlier row; a split
learned later changes how a split-adjusted delivery is read, and with it values of rows whose key and known_at stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InvalidValueError
from lake.tables.adjusted import AGREED_BARS
from lake.values import Basis
from transforms import calendars
from transforms.actions import NO_SPLITS, SplitHistory, split_histories
from transforms.as_traded import DEFAULT_ZONE, PRICES, AsTraded, as_traded, exchange_zones, usable
from transforms.coverage import PARTIAL_FEEDS, home_mic
from transforms.steps import Finding, Lineage, derived_ids, finding_rows

MID = "mid"
PRICE_TYPES = ("trade", "index", "nav", MID)
"""What an agreed bar may be of: bids and asks are one side only. A mid speaks where nothing was traded, as in FX."""

_CENT, _SUB_CENT, _UNIT = 10**7, 10**5, 10**9  # in units of 1e-9
_RELATIVE = 10**6
_BARS, _ACTIONS = "normalized.bars", "normalized.corporate_actions"


@dataclass(frozen=True, slots=True)
class Agreed:
    """The outcome: rows of adjusted.agreed_bars, of ops.lineage and of quality.findings (disagreements, overflows)."""

    rows: pa.Table
    lineage: pa.Table
    findings: pa.Table


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One bar of one feed that may win; `bar` numbers the (instrument, interval, ts_open), `row` the row of the input."""

    bar: int
    row: int
    known_at: datetime
    provider: str
    feed: str
    basis: str
    price_type: str
    currency: str | None
    is_final: bool
    is_derived: bool
    priority: int

    @property
    def line(self) -> tuple[str, ...]:
        """What a feed's versions of one bar share."""
        return self.provider, self.feed, self.basis, self.price_type

    @property
    def rank(self) -> tuple[object, ...]:
        """The smallest wins."""
        return self.is_partial, not self.is_final, self.is_mid, self.is_derived, self.priority, self.line

    @property
    def is_partial(self) -> bool:
        """True for a feed that sees a part of its market only."""
        return (self.provider, self.feed) in PARTIAL_FEEDS

    @property
    def is_mid(self) -> bool:
        """True for a bar of mids: it wins only where no price paid is told, and is compared with mids alone."""
        return self.price_type == MID


@dataclass(frozen=True, slots=True)
class _Emitted:
    """One row to be of a bar that several told: row number of the winner, when it won, and who agreed with it."""

    bar: int
    winner: int
    known_at: datetime
    agreed: tuple[int, ...]
    disagreed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Every row to be, ordered by bar and known_at.

    winners     row numbers of the input
    contested   rows of bars that several told, by the number of the row to be
    """

    winners: np.ndarray
    known_at: pa.Array
    contested: dict[int, _Emitted]


def agreed_bars(
    bars: pa.Table,
    actions: pa.Table,
    *,
    run_id: str,
    recorded_at: datetime,
    priority: Sequence[str] = (),
) -> Agreed:
    """Return the agreed bars of instruments, every revision.

    bars       effective rows of normalized.bars: the whole history of the instruments, any order
    actions    effective rows of normalized.corporate_actions of the same instruments, any order
    priority   provider names, the best first; unlisted ones follow by name

    The winner is a feed of the whole market before one of a part of it (`coverage.PARTIAL_FEEDS`), a final bar before one that
    goes on, prices paid before mids, as traded before recovered, then by priority, provider and feed. Bars with no close, of
    bids or asks, fully adjusted, or split-adjusted at an unknown delivery instant take no part. Daily bars of a venue with a
    calendar meet by session (`ts_open` becomes the session's open); others by their own ts_open. Prices agree within one tick
    (a cent; below 1: 0.0001) or a millionth.
    """
    chosen = bars.filter(
        pc.and_(pc.and_(usable(bars), pc.is_valid(bars["close"])), pc.is_in(bars["price_type"], pa.array(PRICE_TYPES)))
    )
    histories = split_histories(actions)
    zones = exchange_zones(bars, actions)
    values = as_traded(chosen, histories, zones)
    frame = _frame(chosen, values, priority)
    walk = _walked(frame.filter(~pl.col("is_overflow")), values)
    rows = _rows(chosen, values, frame, walk, run_id)
    ids = derived_ids(AGREED_BARS, rows)
    lineage = _lineage(chosen, values, walk, histories, zones).rows(ids, run_id, recorded_at)
    findings = _disagreements(chosen, values, walk, ids) + _overflows(chosen, values)
    return Agreed(rows, lineage, finding_rows(findings, run_id, recorded_at))


def _frame(bars: pa.Table, values: AsTraded, priority: Sequence[str]) -> pl.DataFrame:
    """Return what the walk needs of each candidate: its key, rank and known_at, sorted so that order never matters."""
    names = ("instrument_id", "interval", "known_at", "provider", "feed", "basis", "price_type", "currency", "is_final")
    frame = pl.DataFrame({name: pl.from_arrow(bars[name]) for name in (*names, "capture_id", "message_seq", "ordinal")})
    frame = frame.with_columns(
        row=pl.int_range(pl.len()),
        ts_open=pl.Series(pl.from_arrow(_canonical_opens(bars))),
        is_overflow=pl.Series(values.is_overflow, dtype=pl.Boolean),
        priority=pl.col("provider").replace_strict(
            list(priority), list(range(len(priority))), default=len(priority), return_dtype=pl.Int64
        ),
        is_derived=pl.col("basis") != Basis.AS_TRADED.value,
    )
    return frame.sort("instrument_id", "interval", "ts_open", "known_at", "capture_id", "message_seq", "ordinal")


def _canonical_opens(bars: pa.Table) -> pa.Array:
    """Return ts_open by which bars of several feeds meet: of daily bars the session's open, where a calendar knows it."""
    opens = bars["ts_open"].combine_chunks()
    names = ("interval", "provider", "feed", "symbol", "mic")
    frame = (
        pl.DataFrame({name: pl.from_arrow(bars[name]) for name in names}).with_row_index("row").filter(pl.col("interval") == "1d")
    )
    places = frame.select("provider", "feed", "symbol", "mic").unique()
    homes = places.with_columns(home=pl.Series([home_mic(*place) for place in places.iter_rows()], dtype=pl.String))
    frame = frame.join(homes, on=["provider", "feed", "symbol", "mic"], nulls_equal=True, maintain_order="left").with_columns(
        mic=pl.col("home")
    )
    daily = frame.filter(pl.col("mic").is_not_null())
    stamps = pl.Series("ts", pl.from_arrow(opens)).dt.epoch("us").to_numpy().copy()
    for (mic,), rows in daily.group_by("mic", maintain_order=True):
        try:
            venue = calendars.venue_of(str(mic))
        except InvalidValueError:
            continue  # no calendar: the bars keep their own ts_open
        index = rows["row"].to_numpy()
        days = bars["session_date"].take(pa.array(index, pa.int64()))
        stamps[index] = pl.Series("ts", pl.from_arrow(calendars.session_opens(days, venue))).dt.epoch("us").to_numpy()
    return pa.array(stamps, pa.int64()).cast(pa.timestamp("us")).cast(calendars.STAMP)


def _walked(frame: pl.DataFrame, values: AsTraded) -> _Walk:
    """Return the rows to be, bar by bar along known_at."""
    keys = ("instrument_id", "interval", "ts_open")
    counted = frame.with_columns(alone=pl.len().over(keys) == 1, bar=pl.struct(keys).rle_id())
    candidates = [
        _Candidate(*row) for row in counted.filter(~pl.col("alone")).select(*_Candidate.__dataclass_fields__).iter_rows()
    ]
    told = [
        row
        for bar, group in groupby(candidates, key=lambda candidate: candidate.bar)
        for row in _one_bar(bar, list(group), values)
    ]
    alone = counted.filter("alone").select("bar", "row", "known_at", told=pl.lit(None, pl.Int64))
    several = pl.DataFrame(
        {
            "bar": [row.bar for row in told],
            "row": [row.winner for row in told],
            "known_at": [row.known_at for row in told],
            "told": range(len(told)),
        },
        schema=alone.schema,
    )
    ordered = pl.concat([alone, several]).sort("bar", "known_at", maintain_order=True).with_row_index("number")
    numbers = ordered.filter(pl.col("told").is_not_null())
    contested = {number: told[place] for number, place in numbers.select("number", "told").iter_rows()}
    return _Walk(ordered["row"].to_numpy(), ordered["known_at"].to_arrow().cast(calendars.STAMP), contested)


def _one_bar(bar: int, candidates: list[_Candidate], values: AsTraded) -> Iterator[_Emitted]:
    """Yield the rows of one bar: its candidates come ordered by known_at."""
    current: dict[tuple[str, ...], _Candidate] = {}
    told: tuple[object, ...] | None = None
    for known_at, news in groupby(candidates, key=lambda candidate: candidate.known_at):
        current.update((candidate.line, candidate) for candidate in news)
        first, *others = sorted(current.values(), key=lambda candidate: candidate.rank)
        told_now = (*(values.values[name][first.row] for name in (*PRICES, "volume")), first.currency, first.is_final)
        if told_now == told:
            continue
        told = told_now
        same_kind = [other for other in others if other.is_mid == first.is_mid]
        agreed = tuple(other.row for other in same_kind if _agrees(values, first.row, other.row))
        comparable = [other.row for other in same_kind if not other.is_partial or first.is_partial]
        yield _Emitted(bar, first.row, known_at, agreed, tuple(row for row in comparable if row not in agreed))


def _agrees(values: AsTraded, one: int, other: int) -> bool:
    """Return whether every price that both bars tell is equal within one tick or a millionth."""
    for name in PRICES:
        left, right = values.values[name][one], values.values[name][other]
        if left is None or right is None:
            continue
        tick = _CENT if abs(left) >= _UNIT else _SUB_CENT
        if abs(left - right) > max(tick, abs(left) // _RELATIVE):
            return False
    return True


def _rows(bars: pa.Table, values: AsTraded, frame: pl.DataFrame, walk: _Walk, run_id: str) -> pa.Table:
    """Return rows of adjusted.agreed_bars, ordered by instrument, interval, ts_open and known_at."""
    winners = pa.array(walk.winners, pa.int64())
    opens = frame.sort("row")["ts_open"].to_arrow()
    ratios = pa.array(values.undone[walk.winners])
    made: dict[str, pa.Array] = {name: values.columns[name].take(winners) for name in (*PRICES, "volume")}
    made["ts_open"] = opens.take(winners)
    made["known_at"] = walk.known_at
    made["agreed_by"] = _named(bars, len(winners), {number: row.agreed for number, row in walk.contested.items()})
    made["disagreed_by"] = _named(bars, len(winners), {number: row.disagreed for number, row in walk.contested.items()})
    made["undone_ratio_old"] = pa.array([ratio.denominator for ratio in values.ratios], pa.int64()).take(ratios)
    made["undone_ratio_new"] = pa.array([ratio.numerator for ratio in values.ratios], pa.int64()).take(ratios)
    made["run_id"] = pa.repeat(run_id, len(winners))
    made["moved_to"] = pa.nulls(len(winners), pa.int64())
    taken = bars.take(winners)
    return pa.Table.from_arrays(
        [
            (made[column.name] if column.name in made else taken[column.name].combine_chunks()).cast(column.arrow_type)
            for column in AGREED_BARS.columns
        ],
        schema=AGREED_BARS.arrow_schema(),
    )


def _named(bars: pa.Table, count: int, rows: Mapping[int, tuple[int, ...]]) -> pa.Array:
    """Return the feeds of the rows told, joined by commas, for each row to be; null where there are none."""
    found: list[str | None] = [None] * count
    for number, others in rows.items():
        found[number] = ",".join(dict.fromkeys(f"{bars['provider'][one]}/{bars['feed'][one]}" for one in others)) or None
    return pa.array(found, pa.string())


def _ids(bars: pa.Table, rows: Sequence[int] | np.ndarray) -> list[str]:
    part = bars.select(["capture_id", "message_seq", "ordinal"]).take(pa.array(rows, pa.int64()))
    frame = pl.DataFrame({name: pl.from_arrow(part[name]) for name in part.column_names})
    return frame.select(pl.concat_str(pl.all().cast(pl.String), separator=":"))[:, 0].to_list()


def _lineage(
    bars: pa.Table, values: AsTraded, walk: _Walk, histories: Mapping[int, SplitHistory], zones: Mapping[int, str]
) -> Lineage:
    """Return the inputs of each row: the winning bar, the compared ones, and the splits undone."""
    lineage = Lineage.of("agree", AGREED_BARS.name)
    lineage.add_all(range(len(walk.winners)), _BARS, _ids(bars, walk.winners), "bar")
    pairs = [(number, other) for number, row in walk.contested.items() for other in (*row.agreed, *row.disagreed)]
    lineage.add_all([number for number, _ in pairs], _BARS, _ids(bars, [other for _, other in pairs]), "compared")
    is_undone = np.array([ratio != 1 for ratio in values.ratios], bool)[values.undone[walk.winners]]
    undone = np.flatnonzero(is_undone).tolist()
    part = bars.select(["instrument_id", "session_date", "delivered_at"]).take(pa.array(walk.winners[is_undone], pa.int64()))
    splits: dict[tuple[int, date, datetime], list[str]] = {}
    for number, place in zip(undone, zip(*(column.to_pylist() for column in part.columns), strict=True), strict=True):
        if place not in splits:
            instrument_id, session, delivered_at = place
            history = histories.get(instrument_id, NO_SPLITS)
            until = delivered_at.astimezone(ZoneInfo(zones.get(instrument_id, DEFAULT_ZONE))).date()
            splits[place] = [version.event_id for version in history.versions if session < version.ex_date <= until]
        for split in splits[place]:
            lineage.add(number, _ACTIONS, split, "split")
    return lineage


def _disagreements(bars: pa.Table, values: AsTraded, walk: _Walk, ids: pa.Array) -> list[Finding]:
    """Return a finding for each row that some feed disagrees with."""
    findings = []
    for number, row in walk.contested.items():
        if not row.disagreed:
            continue
        told = {
            f"{bars['provider'][one].as_py()}/{bars['feed'][one].as_py()}": {
                name: None if values.values[name][one] is None else str(values.values[name][one]) for name in PRICES
            }
            for one in (row.winner, *row.disagreed)
        }
        detail = json.dumps({"unit": "1e-9", "bars": told})
        instrument_id = bars["instrument_id"][row.winner].as_py()
        findings.append(Finding(ids[number].as_py(), "disagreement", "warning", AGREED_BARS.name, None, instrument_id, detail))
    return findings


def _overflows(bars: pa.Table, values: AsTraded) -> list[Finding]:
    """Return a finding for each bar whose as-traded values do not fit: it took no part."""
    rows = np.flatnonzero(np.array(values.is_overflow, bool)).tolist()
    return [
        Finding(
            name, "as_traded_overflow", "error", _BARS, bars["provider"][row].as_py(), bars["instrument_id"][row].as_py(),
            f"undoing {values.ratios[values.undone[row]]} does not fit decimal(18,9)",
        )
        for row, name in zip(rows, _ids(bars, rows), strict=True)
    ]  # fmt: skip
