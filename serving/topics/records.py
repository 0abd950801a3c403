"""A step of a table as records of a topic: the same bytes whichever log carries them.

Rows are put in one order and partitioned by instrument, so that the records of a step are the same whenever they
are made, and a publisher that died can tell by their names which of them are in the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.conditions import arrow_of
from lake.errors import ProtocolError
from lake.heads import Act
from lake.log.log import Block
from lake.scan import PUBLISHED_AT, Where, read
from lake.snapshots import difference, rows_at
from lake.tables import PublishedBy, Table, table_named
from serving import formats
from serving.topics import versions
from serving.topics.events import CONFIRMED, WITHDRAWN, event, withdrawal
from serving.topics.steps import BY_SNAPSHOT, Position, Step
from serving.topics.topics import Form, Topic
from serving.topics.versions import Chain, Version, ids_of

BLOCK_ROWS = 1_000
_FIRST, _PUBLICATION, _STATUS = b"tickhouse.first", b"tickhouse.publication", b"tickhouse.status"
BARS_1D = "adjusted.bars_1d"
_MAKES_ROWS = (Act.APPEND, Act.PUBLISH, Act.RELEASE)

Name = tuple[str, str, str, int]
"""What a record is called within its topic: (publication, event id or number of its first row, status, revision)."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record on its way."""

    partition: int
    name: Name
    block: Block


def records_of(lake: Lake, topic: Topic, step: Step, partitions: int, position: Position) -> list[Outgoing]:
    """Return the records of one step, in the order of each partition. A rebuild that changed rows lifts the position."""
    if not step.is_change:
        assert step.entry is not None
        rows = rows_of(lake, topic, step, step.entry)
        if topic.form is Form.BLOCKS:
            return list(_blocks(step, rows, partitions, CONFIRMED))
        return list(_appended(lake, topic, step, rows, partitions, position.lift)) if rows.num_rows else []
    assert step.read_from is not None
    changed = difference(lake, step.table, step.base, step.read_from)
    gone, come = (_in_order(topic, _of_interval(topic, rows)) for rows in (changed.gone, changed.come))
    if not gone.num_rows and not come.num_rows:
        return []
    if topic.form is Form.BLOCKS:
        parts = ((gone, WITHDRAWN), (come, CONFIRMED))
        return [record for rows, status in parts for record in _blocks(step, rows, partitions, status)]
    if topic.table in BY_SNAPSHOT:
        return list(_rewritten(lake, topic, step, gone, come, partitions, position.count))
    return list(_rebuilt(lake, topic, step, gone, come, partitions, position))


def name_of(topic: Topic, payload: bytes) -> Name:
    """Return the name of a record by its bytes. Raises ProtocolError for bytes that are no record of the topic."""
    try:
        if topic.form is Form.BLOCKS:
            with pa.ipc.open_stream(payload) as reader:
                metadata = reader.schema.metadata or {}
            return metadata[_PUBLICATION].decode(), metadata[_FIRST].decode(), metadata[_STATUS].decode(), 0
        document = orjson.loads(payload)
        return document["publication"], document["event_id"], document["status"], document["revision"]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(f"{topic.name} holds {payload[:80]!r}, which is no record of ours: {error!r}") from error


def outgoing(partition: int, key: str, document: dict[str, object]) -> Outgoing:
    """Return an event on its way."""
    names = (str(document[name]) for name in ("publication", "event_id", "status"))
    revision = document["revision"]
    assert isinstance(revision, int)
    return Outgoing(partition, (*names, revision), Block(key, orjson.dumps(document), 1))  # type: ignore[arg-type]


# --- rows


def rows_of(lake: Lake, topic: Topic, step: Step, entry: Settled) -> pa.Table:
    """Return the rows that a publication put on main, in one order."""
    table = table_named(step.table)
    if table.published_by is PublishedBy.RUN:
        return _in_order(topic, _read(lake, topic, step, [Where("run_id", "=", entry.run_id)]))
    parts = [
        _read(
            lake,
            topic,
            step,
            [
                Where("capture_id", "=", span.capture_id),
                Where("message_seq", ">=", span.first_seq),
                Where("message_seq", "<=", span.last_seq),
            ],
        )
        for span in entry.ranges
    ]
    return _in_order(topic, pa.concat_tables([table.arrow_schema().empty_table(), *parts]))


def _read(lake: Lake, topic: Topic, step: Step, where: Sequence[Where]) -> pa.Table:
    """Return rows of main, or of the snapshot before a rebuild that came after the step."""
    if topic.interval is not None:
        where = [*where, Where("interval", "=", topic.interval)]
    if step.read_from is None:
        return read(lake, step.table, where=where)
    rows, definition = rows_at(lake, step.table, step.read_from), table_named(step.table)
    for condition in where:
        rows = rows.filter(arrow_of(definition, condition))
    return rows


def _of_interval(topic: Topic, rows: pa.Table) -> pa.Table:
    return rows if topic.interval is None else rows.filter(pc.equal(rows["interval"], topic.interval))


def _in_order(topic: Topic, rows: pa.Table) -> pa.Table:
    table = table_named(topic.table)
    order = [name for name in (*table.order, *versions.SOURCE) if name in table.column_names]
    return rows.sort_by([(name, "ascending") for name in dict.fromkeys(order)])


def _partitions_of(rows: pa.Table, partitions: int) -> list[int]:
    """Return the partition of each row: one instrument stays in one; what is about none is in the first."""
    return [0 if instrument is None else instrument % partitions for instrument in _instruments(rows)]


def _instruments(rows: pa.Table) -> list[int | None]:
    """Return the instrument of each row; of a table that is about none, None."""
    return rows["instrument_id"].to_pylist() if "instrument_id" in rows.column_names else [None] * rows.num_rows


# --- blocks


def _blocks(step: Step, rows: pa.Table, partitions: int, status: str) -> Iterator[Outgoing]:
    """Yield blocks of rows with their event ids, cut within each partition."""
    if not rows.num_rows:
        return
    table = table_named(step.table)
    whole = rows.add_column(0, "event_id", pa.array(ids_of(table, rows), pa.string()))
    whole = whole.cast(pa.schema([field.remove_metadata() for field in whole.schema]))
    belongs = pa.array(_partitions_of(rows, partitions), pa.int64())
    for partition in range(partitions):
        mine = whole.filter(pc.equal(belongs, partition))
        for first in range(0, mine.num_rows, BLOCK_ROWS):
            part = mine.slice(first, BLOCK_ROWS).combine_chunks()
            told = {b"tickhouse.table": step.table.encode(), _STATUS: status.encode(), _FIRST: b"%d" % first}
            told[_PUBLICATION] = step.publication.encode()
            payload = _stream(part.replace_schema_metadata(told))
            name = (step.publication, str(first), status, 0)
            yield Outgoing(partition, name, Block(f"{step.table}/{partition}", payload, part.num_rows))


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    payload: bytes = sink.getvalue().to_pybytes()
    return payload


# --- events


class _Teller:
    """Writes events of one step: rows as columns, once."""

    def __init__(self, lake: Lake, topic: Topic, step: Step, rows: pa.Table, partitions: int) -> None:
        self._topic, self._step, self._partitions = topic, step, partitions
        self._columns = formats.columns(rows)
        if topic.table == BARS_1D:
            self._columns["corporate_actions"] = list(_actions_on(lake, rows, step.published_at))
        self._places = _partitions_of(rows, partitions)
        self._keys = ["" if one is None else str(one) for one in _instruments(rows)]

    def confirmed(self, at: int, name: str, revision: int, supersedes: str | None) -> Outgoing:
        """Return the event of row `at`."""
        row = {column: values[at] for column, values in self._columns.items()}
        told = event(self._topic.body, row, name, revision, supersedes, self._step.publication)
        return outgoing(self._places[at], self._keys[at], told)

    def withdrawn(self, at: int, name: str, stamp: object, revision: int, superseded_by: str | None) -> Outgoing:
        """Return the event that takes an earlier one of the instrument of row `at` back."""
        told = withdrawal(name, stamp, revision, superseded_by, self._step.publication)
        return outgoing(self._places[at], self._keys[at], told)

    def stamp(self, at: int) -> object:
        """Return the timestamp that the event of row `at` has."""
        return self._topic.body({column: values[at] for column, values in self._columns.items()})[0]


def _appended(lake: Lake, topic: Topic, step: Step, rows: pa.Table, partitions: int, lift: int) -> Iterator[Outgoing]:
    """Yield the events of a publication: each row, and what it takes the place of."""
    table, teller = table_named(topic.table), _Teller(lake, topic, step, rows, partitions)
    ids = ids_of(table, rows)
    if not versions.has_chains(table):
        for at, name in enumerate(ids):
            yield teller.confirmed(at, name, 0, None)
        return
    assert step.entry is not None
    ranks = _ranks(lake, step)
    number = ranks[step.entry.run_id]
    instruments = pc.unique(rows["instrument_id"]).to_pylist()
    there = _read(lake, topic, step, [Where("instrument_id", "in", instruments)])
    known = versions.chains(table, there, {run: rank for run, rank in ranks.items() if rank <= number}, number)
    by_name = {turn.version.event_id: turn for chain in known.values() if chain[-1].is_new for turn in versions.turns(chain)}
    for at, name in enumerate(ids):
        turn = by_name[name]
        revision, before = turn.version.revision + lift, turn.before
        if before is not None and before.event_id != name:
            yield teller.withdrawn(at, before.event_id, before.at, before.revision + lift, name)
        yield teller.confirmed(at, name, revision, None if before is None else before.event_id)
        if turn.holding is not None and turn.holding.event_id != name:
            yield teller.withdrawn(at, name, turn.version.at, revision, turn.holding.event_id)


def _ranks(lake: Lake, step: Step) -> dict[str, int]:
    made = [one for one in ledger(lake, step.table) if one.act in _MAKES_ROWS]
    return {one.run_id: number for number, one in enumerate(made)}


def _rewritten(
    lake: Lake, topic: Topic, step: Step, gone: pa.Table, come: pa.Table, partitions: int, number: int
) -> Iterator[Outgoing]:
    """Yield the events of rows that were rewritten: a changed one is one more revision, one that is gone is withdrawn."""
    table = table_named(topic.table)
    there = set(ids_of(table, come))
    earlier, now = (_Teller(lake, topic, step, rows, partitions) for rows in (gone, come))
    replaced = set()
    for at, name in enumerate(ids_of(table, gone)):
        if name in there:
            replaced.add(name)
        else:
            yield earlier.withdrawn(at, name, earlier.stamp(at), number, None)
    for at, name in enumerate(ids_of(table, come)):
        yield now.confirmed(at, name, number, name if name in replaced else None)


def _rebuilt(
    lake: Lake, topic: Topic, step: Step, gone: pa.Table, come: pa.Table, partitions: int, position: Position
) -> Iterator[Outgoing]:
    """Yield what a rebuild changed: of each fact touched the version that holds now, in place of the one that held."""
    table = table_named(topic.table)
    assert step.base is not None and step.read_from is not None
    if versions.has_chains(table):
        ranks = _ranks(lake, step)
        touched = {*_chains_of(table, gone), *_chains_of(table, come)}
        whole = [_of_interval(topic, rows_at(lake, topic.table, one)) for one in (step.base, step.read_from)]
        before, after = (versions.chains(table, rows, ranks, len(ranks)) for rows in whole)
        longest = max((len(before[chain]) for chain in touched if chain in before), default=1)
    else:
        whole, longest = [gone, come], 1
        before, after = (_single(lake, topic, step, rows) for rows in whole)
        touched = {*before, *after}
    old, new = (_Teller(lake, topic, step, rows, partitions) for rows in whole)
    lift = position.lift
    position.lift += longest
    for chain in sorted(touched, key=str):
        was, holds = (versions.holding_of(one.get(chain, [])) for one in (before, after))
        if was is not None and (holds is None or holds.event_id != was.event_id):
            name = None if holds is None else holds.event_id
            yield old.withdrawn(was.row, was.event_id, was.at, was.revision + lift, name)
        if holds is not None and (was is None or not _is_same(whole, was, holds)):
            yield new.confirmed(holds.row, holds.event_id, holds.revision + position.lift, None if was is None else was.event_id)


def _is_same(whole: Sequence[pa.Table], was: Version, holds: Version) -> bool:
    return bool(whole[0].slice(was.row, 1).to_pylist() == whole[1].slice(holds.row, 1).to_pylist())


def _chains_of(table: Table, rows: pa.Table) -> Iterable[Chain]:
    names = [name for name in table.key if name != "known_at"]
    return zip(*(rows[name].to_pylist() for name in names), strict=True)


def _single(lake: Lake, topic: Topic, step: Step, rows: pa.Table) -> dict[Chain, list[Version]]:
    """Return rows of facts that have one version each, as chains of one."""
    teller, ids = _Teller(lake, topic, step, rows, 1), ids_of(table_named(topic.table), rows)
    return {(name,): [Version(name, 0, None, teller.stamp(at), at, is_new=True)] for at, name in enumerate(ids)}


def _actions_on(lake: Lake, rows: pa.Table, known: datetime) -> Iterator[list[dict[str, object]]]:
    """Yield, for each daily bar, the actions whose ex-date is its session, as known when it was published."""
    names = ["instrument_id", "ex_date", "kind", "status", "ratio_old", "ratio_new", "amount", "known_at"]
    instruments = pc.unique(rows["instrument_id"]).to_pylist()
    held = read(lake, "adjusted.factors", [*names, PUBLISHED_AT], [Where("instrument_id", "in", instruments)])
    held = held.filter(pc.fill_null(pc.less_equal(held[PUBLISHED_AT], pa.scalar(known, held[PUBLISHED_AT].type)), False))
    held = held.sort_by([("known_at", "ascending"), (PUBLISHED_AT, "ascending")])
    newest: dict[tuple[object, object], dict[object, Mapping[str, object]]] = {}
    for action in formats.records(held.select(names)):
        newest.setdefault((action["instrument_id"], action["ex_date"]), {})[action["kind"]] = action
    told = ("kind", "status", "ratio_old", "ratio_new", "amount")
    days = formats.columns(rows.select(["session_date"]))["session_date"]
    for key in zip(rows["instrument_id"].to_pylist(), days, strict=True):
        actions = newest.get(key, {})
        yield [
            {name: actions[kind][name] for name in told}
            for kind in sorted(actions, key=str)
            if actions[kind]["status"] != "rescinded"
        ]
