"""A publication of a table as records of a topic: the same bytes whichever log carries them.

Rows are put in one order and partitioned by instrument, so that the records of a publication are the same whenever they
are made, and a publisher that died can tell by their names which of them are in the topic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.as_of import Settled
from lake.catalog import Lake
from lake.errors import ProtocolError
from lake.log.log import Block
from lake.scan import PUBLISHED_AT, Where, read
from lake.tables import PublishedBy, Table, table_named
from lake.values import event_id
from serving import formats
from serving.topics.events import event, withdrawal
from serving.topics.topics import Form, Topic
from transforms.steps import derived_ids

BLOCK_ROWS = 1_000
_FIRST, _PUBLICATION = b"tickhouse.first", b"tickhouse.publication"
_SOURCE = ("capture_id", "message_seq", "ordinal")
BARS_1D = "adjusted.bars_1d"

Name = tuple[str, str, str]
"""What a record is called within its topic: (publication, event id or first row, status)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record on its way."""

    partition: int
    name: Name
    block: Block


def publication_of(entry: Settled) -> str:
    """Return how a publication is called in its records: table@snapshot."""
    return f"{entry.table}@{entry.snapshot_id}"


def records_of(lake: Lake, topic: Topic, entry: Settled, partitions: int, number: int) -> list[Outgoing]:
    """Return the records of one publication, in the order of each partition.

    number   how many publications of the table came before: the revision where older versions are rewritten

    Rows that a later publication rewrote (adjusted.bars_1d) are not told any more.
    """
    rows = rows_of(lake, entry)
    if not rows.num_rows:
        return []
    if topic.form is Form.BLOCKS:
        return list(_blocks(entry, rows, partitions))
    return list(_events(lake, entry, rows, partitions, number))


def name_of(topic: Topic, payload: bytes) -> Name:
    """Return the name of a record by its bytes. Raises ProtocolError for bytes that are no record of the topic."""
    try:
        if topic.form is Form.BLOCKS:
            with pa.ipc.open_stream(payload) as reader:
                metadata = reader.schema.metadata or {}
            return metadata[_PUBLICATION].decode(), metadata[_FIRST].decode(), ""
        document = orjson.loads(payload)
        return document["publication"], document["event_id"], document["status"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{topic.name} holds {payload[:80]!r}, which is no record of ours: {error!r}") from error


def rows_of(lake: Lake, entry: Settled) -> pa.Table:
    """Return the rows that a publication put on main, in one order."""
    table = table_named(entry.table)
    if table.published_by is PublishedBy.RUN:
        rows = read(lake, entry.table, where=[Where("run_id", "=", entry.run_id)])
    else:
        parts = [
            read(
                lake,
                entry.table,
                where=[
                    Where("capture_id", "=", span.capture_id),
                    Where("message_seq", ">=", span.first_seq),
                    Where("message_seq", "<=", span.last_seq),
                ],
            )
            for span in entry.ranges
        ]
        rows = pa.concat_tables([table.arrow_schema().empty_table(), *parts])
    order = [name for name in (*table.order, *_SOURCE) if name in table.column_names]
    return rows.sort_by([(name, "ascending") for name in dict.fromkeys(order)])


def ids_of(table: Table, rows: pa.Table) -> list[str]:
    """Return the event id of each row: of a fact where it came from, of a derived row its key and the run that wrote it."""
    if table.namespace == "normalized":
        columns = [rows[name].to_pylist() for name in _SOURCE]
        return [event_id(capture, seq, ordinal) for capture, seq, ordinal in zip(*columns, strict=True)]
    named = zip(derived_ids(table, rows).to_pylist(), rows["run_id"].to_pylist(), strict=True)
    return [f"{name}/{run}" for name, run in named]


def _partitions_of(rows: pa.Table, partitions: int) -> list[int]:
    return [instrument % partitions for instrument in rows["instrument_id"].to_pylist()]


# --- blocks


def _blocks(entry: Settled, rows: pa.Table, partitions: int) -> Iterator[Outgoing]:
    """Yield blocks of rows with their event ids, cut within each partition."""
    table = table_named(entry.table)
    whole = rows.add_column(0, "event_id", pa.array(ids_of(table, rows), pa.string()))
    whole = whole.cast(pa.schema([field.remove_metadata() for field in whole.schema]))
    belongs = pa.array(_partitions_of(rows, partitions), pa.int64())
    for partition in range(partitions):
        mine = whole.filter(pc.equal(belongs, partition))
        for first in range(0, mine.num_rows, BLOCK_ROWS):
            part = mine.slice(first, BLOCK_ROWS).combine_chunks()
            told = {b"tickhouse.table": entry.table.encode(), b"tickhouse.status": b"confirmed", _FIRST: b"%d" % first}
            told[_PUBLICATION] = publication_of(entry).encode()
            payload = _stream(part.replace_schema_metadata(told))
            name = (publication_of(entry), str(first), "")
            yield Outgoing(partition, name, Block(f"{entry.table}/{partition}", payload, part.num_rows))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


# --- events


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of its fact a row is, and the one before."""

    revision: int
    before: str | None = None
    before_at: object = None


def _events(lake: Lake, entry: Settled, rows: pa.Table, partitions: int, number: int) -> Iterator[Outgoing]:
    table = table_named(entry.table)
    columns = formats.columns(rows)
    if entry.table == BARS_1D:
        columns["corporate_actions"] = list(_actions_on(lake, rows, entry.published_at))
    ids = ids_of(table, rows)
    versions = _versions(lake, table, entry, rows, ids, number)
    publication = publication_of(entry)
    for at, (name, version, partition) in enumerate(zip(ids, versions, _partitions_of(rows, partitions), strict=True)):
        row = {column: values[at] for column, values in columns.items()}
        key = str(row["instrument_id"])
        if version.before is not None:
            gone = withdrawal(version.before, version.before_at, version.revision - 1, name, publication)
            yield _outgoing(partition, key, gone)
        yield _outgoing(partition, key, event(entry.table, row, name, version.revision, version.before, publication))


def _outgoing(partition: int, key: str, document: dict[str, object]) -> Outgoing:
    name = (str(document["publication"]), str(document["event_id"]), str(document["status"]))
    return Outgoing(partition, name, Block(key, orjson.dumps(document), 1))


def _versions(lake: Lake, table: Table, entry: Settled, rows: pa.Table, ids: Sequence[str], number: int) -> list[_Version]:
    """Return the version of each row: ticks have one, revised tables count along publication and known_at."""
    if entry.table == BARS_1D:
        return [_Version(number)] * len(ids)
    if "known_at" not in table.key:
        return [_Version(0)] * len(ids)
    chain = [name for name in table.key if name != "known_at"]
    stamp = "ts_open" if "ts_open" in table.column_names else "known_at"
    instruments = pc.unique(rows["instrument_id"]).to_pylist()
    wanted = [
        *dict.fromkeys([*chain, "known_at", stamp, "run_id", *(_SOURCE if table.namespace == "normalized" else ()), *table.key])
    ]
    held = read(lake, entry.table, [*wanted, PUBLISHED_AT], [Where("instrument_id", "in", instruments)])
    held = held.filter(
        pc.fill_null(pc.less_equal(held[PUBLISHED_AT], pa.scalar(entry.published_at, held[PUBLISHED_AT].type)), False)
    )
    frame = pl.DataFrame({name: pl.from_arrow(held[name]) for name in [*chain, "known_at", PUBLISHED_AT]}).with_columns(
        event_id=pl.Series(ids_of(table, held), dtype=pl.String), at=pl.Series(formats.columns(held.select([stamp]))[stamp])
    )
    ordered = frame.sort(PUBLISHED_AT, "known_at", "event_id").with_columns(
        revision=pl.int_range(pl.len()).over(chain),
        before=pl.col("event_id").shift(1).over(chain),
        before_at=pl.col("at").shift(1).over(chain),
    )
    found = {
        name: _Version(revision, before, before_at)
        for name, revision, before, before_at in ordered.select("event_id", "revision", "before", "before_at").iter_rows()
    }
    return [found[name] for name in ids]


def _actions_on(lake: Lake, rows: pa.Table, known: datetime) -> Iterator[list[dict[str, object]]]:
    """Yield, for each daily bar, the actions whose ex-date is its session, as known when it was published."""
    names = ["instrument_id", "ex_date", "kind", "status", "ratio_old", "ratio_new", "amount", "known_at"]
    instruments = pc.unique(rows["instrument_id"]).to_pylist()
    held = read(lake, "adjusted.factors", [*names, PUBLISHED_AT], [Where("instrument_id", "in", instruments)])
    held = held.filter(pc.fill_null(pc.less_equal(held[PUBLISHED_AT], pa.scalar(known, held[PUBLISHED_AT].type)), False))
    held = held.sort_by([("known_at", "ascending"), (PUBLISHED_AT, "ascending")])
    newest: dict[tuple[object, object], dict[object, dict[str, object]]] = {}
    for action in formats.records(held.select(names)):
        newest.setdefault((action["instrument_id"], action["ex_date"]), {})[action["kind"]] = action
    told = ("kind", "status", "ratio_old", "ratio_new", "amount")
    for key in zip(
        rows["instrument_id"].to_pylist(), formats.columns(rows.select(["session_date"]))["session_date"], strict=True
    ):
        actions = newest.get(key, {})
        yield [
            {name: actions[kind][name] for name in told}
            for kind in sorted(actions, key=str)
            if actions[kind]["status"] != "rescinded"
        ]
