"""Replays: one part of a table made again, compared with main and written; what the workers of a rebuild do.

A normalized table is replayed in two passes. *Spill*: each batch of the ledger is decoded once more and its rows are put aside,
in a file a part. *Replay*: a part's files are taken in the order of the batches, each compared with what was replayed before
it. A part is what one fact and its versions never leave: the partition, as far as the key decides it. An adjusted table is
replayed in groups of instruments. So a batch, or a part, is the most that is in memory, however much raw there is.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from lake import files
from lake.as_of import Settled
from lake.catalog import Lake
from lake.conditions import Where
from lake.content import content_hash
from lake.errors import CorruptedError
from lake.heads import Act
from lake.instants import to_datetime
from lake.runner import Task
from lake.scan import read
from lake.tables import Table, table_named
from lake.values import CaptureKind
from quality_checks import adjusting, building
from quality_checks.batches import Batch, decode_batch, joined_rows
from quality_checks.differences import changes, with_kept_runs
from quality_checks.holds import HELD
from quality_checks.naming import NAMED_AT, eras_known
from quality_checks.news import Existing, news_of, stamped
from quality_checks.publishing import run_name
from quality_checks.rules import event_ids
from transforms.built_bars import BUILT
from transforms.revisions import effective
from transforms.symbol_eras import NO_CHANGES

SHOWN = 10
_EPOCH_DAY = date(1970, 1, 1).toordinal()
PartKey = tuple[object, ...]
"""Values of the partition columns that make a part: dates as days since the epoch, buckets as numbers."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One part made again.

    before, after   content hashes of the part on main and as made
    written         manifest entries of the new files (of pyiceberg)
    """

    rows: int
    before: str
    after: str
    missing: int
    extra: int
    shown: tuple[str, ...]
    written: tuple[Any, ...] = field(default=())


def part_columns(table: Table) -> tuple[tuple[str, str, int], ...]:
    """Return (column, transform, place in the partition) of what makes a part: partition columns that the key decides.

    A session is decided by its fact, so it counts; main too compares facts within their sessions.
    """
    decided = ({*table.key} - {"known_at"}) | ({"session_date"} if not table.is_revised else set())
    return tuple(
        (name, transform, place)
        for place, (name, transform) in enumerate(table.partition)
        if name in decided and (transform == "identity" or transform.startswith("bucket"))
    )


def part_of_file(table: Table, partition: Sequence[object]) -> PartKey:
    """Return the part that a data file of main belongs to, by its partition values as Iceberg stores them."""
    return tuple(partition[place] for _, _, place in part_columns(table))


def _parted(table: Table, rows: pa.Table) -> list[tuple[PartKey, pa.Table]]:
    """Return the rows of each part, their order kept."""
    columns = part_columns(table)
    if not columns:
        return [((), rows)]
    keys = pl.DataFrame({str(place): _part_values(table, rows, name, transform) for name, transform, place in columns})
    groups = keys.with_row_index("row").group_by(keys.columns, maintain_order=True).agg("row")
    return [(key, rows.take(pa.array(numbers))) for *key_values, numbers in groups.iter_rows() for key in [tuple(key_values)]]


def _part_values(table: Table, rows: pa.Table, name: str, transform: str) -> pl.Series:
    values = pl.Series(name, pl.from_arrow(rows[name]))
    if transform.startswith("bucket"):
        buckets = {value: files.bucket_of(table, name, value) for value in values.unique().to_list()}
        return values.replace_strict(buckets, return_dtype=pl.Int64)
    return values.to_physical().cast(pl.Int64) if values.dtype == pl.Date else values


# --- normalized, first pass


def spill(lake: Lake, task: Task) -> list[tuple[PartKey, str]]:
    """Decode one batch of the ledger again and put its rows aside; returns the file of each part. A step of `lake.runner`."""
    entry: Settled = task.arguments["entry"]
    table = table_named(entry.table)
    rows = _decoded(lake, entry, task.arguments["kinds"])
    found = []
    for key, part in _parted(table, rows) if rows.num_rows else []:
        path = Path(task.arguments["folder"]) / f"{uuid.uuid4().hex}.arrow"
        with path.open("xb") as file, ipc.new_file(file, part.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(part)
        found.append((key, str(path)))
    return found


def _decoded(lake: Lake, entry: Settled, kinds: Mapping[str, CaptureKind]) -> pa.Table:
    """Return the rows of a batch as the row rules leave them, before they are compared with others."""
    table = entry.table
    parts = [
        read(
            lake,
            "raw.messages",
            where=[
                Where("provider", "=", entry.owner),
                Where("capture_id", "=", one.capture_id),
                Where("message_seq", ">=", one.first_seq),
                Where("message_seq", "<=", one.last_seq),
            ],
        )
        for one in entry.ranges
    ]
    messages = pa.concat_tables(parts).sort_by(
        [("log_partition", "ascending"), ("log_offset", "ascending"), ("message_seq", "ascending")]
    )
    at = to_datetime(lake.clock())
    batch = Batch(entry.owner, messages, {}, {})
    named_at = entry.counts.get(NAMED_AT)
    eras = NO_CHANGES if named_at is None else eras_known(lake, to_datetime(named_at * 1_000))
    reading = decode_batch(batch, {table: {}}, kinds, {table: entry.run_id}, at, eras)
    rows, _, _ = joined_rows(table, reading.tables[table])
    if entry.act is Act.RELEASE:
        rows = rows.filter(pc.invert(pc.is_in(event_ids(rows), value_set=_left_for_quarantine(lake, table, entry))))
    return rows


def _left_for_quarantine(lake: Lake, table: str, entry: Settled) -> pa.Array:
    captures = sorted({one.capture_id for one in entry.ranges})
    where = [Where("table_name", "=", table), Where("capture_id", "in", captures)]
    found = read(lake, "quality.quarantine", ["event_id", "rule"], where)
    return found.filter(pc.starts_with(found["rule"], HELD))["event_id"].combine_chunks()


# --- normalized, second pass


def replay_part(lake: Lake, task: Task) -> Replayed:
    """Compare the spilled batches of one part one after the other, and the outcome with main. A step of `lake.runner`.

    inputs      files of the part on main
    arguments   table; batches: (ledger entry, spilled file) in the order of the ledger
    """
    table = table_named(task.arguments["table"])
    at = to_datetime(lake.clock())
    replayed: list[tuple[Settled, pa.Table]] = []
    for entry, path in task.arguments["batches"]:
        with pa.memory_map(path) as source:
            rows = ipc.open_file(source).read_all()
            replayed.append((entry, news_of(table.name, rows, _existing_in(table, replayed), at, entry.run_id).rows))
    made = pa.concat_tables([table.arrow_schema().empty_table(), *(rows for _, rows in replayed)])
    return _settled(lake, table, files.read_files(table, [Path(path) for path in task.inputs]), made, task.job)


def _existing_in(table: Table, replayed: list[tuple[Settled, pa.Table]]) -> Existing:
    """Return a reader of what was replayed so far, as `existing_on_main` reads main."""

    def existing(name: str, new: pa.Table) -> pa.Table:
        if table_named(name).is_revised:
            return _effective_of(table, replayed)
        ids = new["instrument_id"].unique()
        parts = [rows.filter(pc.is_in(rows["instrument_id"], value_set=ids)) for _, rows in replayed]
        return pa.concat_tables([table.arrow_schema().empty_table(), *parts])

    return existing


def _effective_of(table: Table, replayed: list[tuple[Settled, pa.Table]]) -> pa.Table:
    """Return the effective rows of what was replayed so far."""
    stamp = pa.timestamp("us", tz="UTC")
    parts = [
        rows.append_column(adjusting.PUBLISHED_AT, pa.repeat(pa.scalar(entry.published_at, stamp), rows.num_rows))
        for entry, rows in replayed
    ]
    if not parts:
        return table.arrow_schema().empty_table()
    return effective(table, pa.concat_tables(parts)).select(list(table.column_names))


def _settled(lake: Lake, table: Table, now: pa.Table, made: pa.Table, job: str) -> Replayed:
    """Compare, write, and read back what was written. Raises CorruptedError when that differs."""
    made = made.select(list(table.column_names)).cast(table.arrow_schema())
    missing, extra, shown = compared(table, now, made)
    before, after = content_hash(table, now), content_hash(table, made)
    written = files.write_files(lake.table(table.name), table, files.conform(table, made), job)
    if content_hash(table, files.read_files(table, files.paths_of(written))) != after:
        files.delete_paths(files.paths_of(written))
        raise CorruptedError(f"{table.name}: the rebuilt files read back differ from the rows written; main stays")
    return Replayed(made.num_rows, before, after, missing, extra, shown, tuple(written))


def compared(table: Table, now: pa.Table, made: pa.Table) -> tuple[int, int, tuple[str, ...]]:
    """Return (rows of `now` alone, rows of `made` alone, the first of both in words): every column counts."""
    names = list(table.column_names)
    left, right = (pl.DataFrame({name: pl.from_arrow(rows[name]) for name in names}) for rows in (now, made))
    counts = [frame.group_by(names).len() for frame in (left, right)]
    joined = counts[0].join(counts[1], on=names, how="full", nulls_equal=True, coalesce=True, suffix="_made")
    surplus = joined.with_columns(more=pl.col("len").fill_null(0).cast(pl.Int64) - pl.col("len_made").fill_null(0).cast(pl.Int64))
    missing, extra = surplus.filter(pl.col("more") > 0), surplus.filter(pl.col("more") < 0)
    shown = [
        f"{word}: { ({name: str(value) for name, value in row.items() if value is not None}) }"
        for word, part in (("only on main", missing), ("only in the replay", extra))
        for row in part.select(names).head(SHOWN).iter_rows(named=True)
    ]
    return int(missing["more"].sum()), -int(extra["more"].sum()), tuple(shown)


# --- adjusted


def replay_instruments(lake: Lake, task: Task) -> Replayed:
    """Make an adjusted table of some instruments again, and compare it with main. A step of `lake.runner`.

    arguments   table; instruments; entries: (ledger entry, those of the instruments that it touched) in the order of the ledger
    """
    table = table_named(task.arguments["table"])
    instruments: list[int] = task.arguments["instruments"]
    now = read(lake, table.name, where=[Where("instrument_id", "in", instruments)])
    if table.name == adjusting.BARS_1D:
        made = _remade_answers(lake, instruments, now)
    else:
        made = _replayed_versions(lake, table, task.arguments["entries"])
    return _settled(lake, table, now, made, task.job)


def _replayed_versions(lake: Lake, table: Table, entries: Sequence[tuple[Settled, Sequence[int]]]) -> pa.Table:
    replayed: list[tuple[Settled, pa.Table]] = []
    for entry, touched in entries:
        if not touched:
            continue
        computed = adjusting.compute(lake, entry.after, to_datetime(lake.clock()), touched)
        rows = computed.agreed.rows if table.name == adjusting.AGREED else computed.factors.rows
        ids = pa.array(sorted(touched), pa.int64())
        before = [(one, part.filter(pc.is_in(part["instrument_id"], value_set=ids))) for one, part in replayed]
        replayed.append(
            (entry, stamped(table.name, changes(table, rows, _effective_of(table, before), computed.moved).rows, entry.run_id))
        )
    return pa.concat_tables([table.arrow_schema().empty_table(), *(rows for _, rows in replayed)])


def replay_built(lake: Lake, task: Task) -> Replayed:
    """Make the built bars of one provider and session again, and compare them with main. A step of `lake.runner`.

    arguments   part; entries: those of the ledger that may have changed it, in their order
    """
    table = table_named(BUILT)
    replayed: list[tuple[Settled, pa.Table]] = []
    for entry in task.arguments["entries"]:
        computed, _, moved = building.compute(lake, entry.after, task.arguments["part"])
        change = changes(table, computed, _effective_of(table, replayed), moved)
        replayed.append((entry, stamped(table.name, change.rows, entry.run_id)))
    made = pa.concat_tables([table.arrow_schema().empty_table(), *(rows for _, rows in replayed)])
    return _settled(lake, table, read(lake, table.name, where=building.where_part(task.arguments["part"])), made, task.job)


def _remade_answers(lake: Lake, instruments: Sequence[int], now: pa.Table) -> pa.Table:
    """Return the daily answers computed from their position; a row that main has too keeps the run that wrote it.

    Instruments that wait for a person keep the rows they have.
    """
    position = lake.head(adjusting.BARS_1D).vector(adjusting.OWNER)
    computed = adjusting.compute(lake, position, to_datetime(lake.clock()), instruments)
    rows = with_kept_runs(computed.bars(run_name(adjusting.BARS_1D, adjusting.OWNER, {}, position)), now)
    blocked = pa.array(sorted(computed.factors.blocked), pa.int64())
    return pa.concat_tables([rows, now.filter(pc.is_in(now["instrument_id"], value_set=blocked)).cast(rows.schema)])
