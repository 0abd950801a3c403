"""Landing: the log's blocks into tables, each block once, whatever dies in between.

Shell. A table's own position says which offsets it holds; rows and position move in one compare-and-set commit
(WRITE_RULES.md). The log may drop blocks only after the commit has been read back.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from ingest.history import HISTORY_OWNER, HISTORY_PARTITION, append_history, finding_row
from ingest.landed import Landed
from lake.catalog import Lake
from lake.commits import append
from lake.errors import CommitConflictError, CommitUnknownError, CorruptedError, NotFoundError, ProtocolError
from lake.instants import to_datetime
from lake.log.blocks import decode_messages, decode_rows
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block, Log
from lake.scan import Where, read
from lake.tables import TABLES, table_named
from lake.values import MessageRange, Vector

LOGGER = logging.getLogger("tickhouse.ingest")
READER = "landing"
RAW_OWNER = "raw"
MAX_BATCH_BYTES = 40 * 1024 * 1024
"""Bytes of one commit as they lie in memory, beyond which no block is added, whatever the number of messages and however small
the log's compression made them: memory holds some six times as much."""
_READ_BYTES = 8 * 1024 * 1024
_ATTEMPTS = 20
_IDLE_HISTORY_BLOCKS = 64
"""A history table without new rows is moved along with an empty commit only when it lags by so many blocks."""

_MAX_NAMED = 2_000
"""Beyond so many keys of a batch the table is searched by their range instead of one by one."""

Place = tuple[str, int, int]
"""(topic, partition, offset) of a block."""


@dataclass(slots=True)
class LandReport:
    """What one landing did."""

    messages: int = 0
    blocks: int = 0
    commits: int = 0
    history: dict[str, int] = field(default_factory=dict)
    """Rows landed per history table."""
    repeated_history: int = 0
    """Rows of history dropped because their key was there: a crash had repeated them."""
    repeated: int = 0
    """Messages dropped because they had landed: an append of unknown outcome had been repeated and came twice."""
    skipped: list[Place] = field(default_factory=list)
    """Corrupt blocks given up by the caller's decision."""

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


@dataclass(slots=True)
class _Bulk:
    """Decoded blocks on their way into one commit."""

    tables: list[pa.Table] = field(default_factory=list)
    before: Vector = field(default_factory=dict)
    after: Vector = field(default_factory=dict)
    rows: int = 0
    blocks: int = 0
    repeated: int = 0
    skipped: list[Place] = field(default_factory=list)
    corrupt: list[tuple[Place, str]] = field(default_factory=list)


def history_tables() -> tuple[str, ...]:
    """Return the names of the tables that the history topic fills."""
    return tuple(sorted(name for name, table in TABLES.items() if table.namespace in ("ops", "quality")))


def land(lake: Lake, log: Log, accept_lost: Collection[Place] = ()) -> LandReport:
    """Land everything the log holds now: raw messages, then history rows.

    accept_lost   places of corrupt blocks that a person gave up; each leaves a finding and is passed over

    Holds the lease `landing` meanwhile. A block that cannot be read stops its partition only: the rest lands, a finding
    is recorded, and CorruptedError names the places at the end. CommitConflictError is met by reloading;
    CommitUnknownError by looking and, when the commit is not to be seen, it reaches the caller.
    """
    with lake.state.lease("landing"):
        return _land(lake, log, frozenset(accept_lost))


def _land(lake: Lake, log: Log, given_up: frozenset[Place]) -> LandReport:
    report = LandReport()
    for topic in (RAW_TOPIC, HISTORY_TOPIC):
        log.release(topic, READER, {})
    corrupt = _land_raw(lake, log, given_up, report)
    corrupt += _land_history(lake, log, given_up, report)
    found = corrupt + [(place, "given up by a person") for place in report.skipped]
    if found:
        _record_corrupt(lake, log, found)
        if not any(topic == HISTORY_TOPIC for (topic, _, _), _ in corrupt):
            _land_history(lake, log, given_up, report)
    if corrupt:
        told = "; ".join(f"{topic}/{partition}/{offset}: {reason}" for (topic, partition, offset), reason in corrupt)
        raise CorruptedError(f"blocks of the log cannot be read, nothing after them in their partition was landed: {told}")
    return report


def unlanded(lake: Lake, log: Log) -> dict[str, int]:
    """Return how many blocks of each topic are in the log and not in their table."""
    raw = lake.head("raw.messages").position.get(RAW_OWNER, {})
    waiting = sum(bounds.next - raw.get(str(partition), 0) for partition, bounds in log.bounds(RAW_TOPIC).items())
    history = 0
    if log.bounds(HISTORY_TOPIC):
        positions = _history_positions(lake, log)
        blocks = _blocks(log, HISTORY_TOPIC, HISTORY_PARTITION, min(positions.values()), frozenset(), _Bulk())
        history = sum(offset >= positions.get(block.key, 0) for (_, _, offset), block in blocks)
    return {RAW_TOPIC: waiting, HISTORY_TOPIC: history}


# --- raw


def _land_raw(lake: Lake, log: Log, given_up: frozenset[Place], report: LandReport) -> list[tuple[Place, str]]:
    attempts = 0
    while True:
        before = lake.head("raw.messages").position.get(RAW_OWNER, {})
        bulk = _raw_bulk(log, before, lake.settings.landing_messages, given_up, Landed(lake))
        if bulk.after == bulk.before:
            _release_raw(log, before)
            return bulk.corrupt
        rows = pa.concat_tables(bulk.tables) if bulk.tables else table_named("raw.messages").arrow_schema().empty_table()
        if not _commit(lake, "raw.messages", rows, RAW_OWNER, bulk, message_ranges(rows)):
            attempts += 1
            if attempts >= _ATTEMPTS:
                raise CommitConflictError(f"raw.messages: {attempts} landings in a row met somebody else's commit")
            continue
        attempts = 0
        report.messages += bulk.rows
        report.blocks += bulk.blocks
        report.repeated += bulk.repeated
        report.commits += 1
        report.skipped += bulk.skipped


def _raw_bulk(log: Log, before: Vector, max_messages: int, given_up: frozenset[Place], landed: Landed) -> _Bulk:
    bulk = _Bulk(before=dict(before), after=dict(before))
    size = 0
    for partition in sorted(log.bounds(RAW_TOPIC)):
        offset = before.get(str(partition), 0)
        for place, block in _blocks(log, RAW_TOPIC, partition, offset, given_up, bulk):
            if bulk.rows and (bulk.rows + block.count > max_messages or size >= MAX_BATCH_BYTES):
                return bulk
            try:
                messages = decode_messages(block.payload)
            except ProtocolError as error:
                if place not in given_up:
                    bulk.corrupt.append((place, str(error)))
                    break
                bulk.skipped.append(place)
            else:
                new = landed.without_known(messages)
                bulk.tables.append(_placed(new, partition, place[2]))
                bulk.rows += new.num_rows
                bulk.repeated += messages.num_rows - new.num_rows
                size += messages.nbytes
            bulk.blocks += 1
            bulk.after[str(partition)] = place[2] + 1
    return bulk


def _blocks(
    log: Log, topic: str, partition: int, offset: int, given_up: frozenset[Place], bulk: _Bulk
) -> Iterator[tuple[Place, Block]]:
    """Yield blocks from `offset` to the end of the partition.

    A block the log itself cannot read ends it, or comes empty when it was given up.
    """
    max_bytes = _READ_BYTES
    while True:
        place = (topic, partition, offset)
        try:
            batch = log.read(topic, partition, offset, max_bytes, 0.0)
        except NotFoundError as error:
            raise CorruptedError(f"{topic}/{partition}: landing wants offset {offset}, which the log dropped: {error}") from error
        except CorruptedError as error:
            if max_bytes > 1:
                max_bytes = 1  # one block at a time: those before the bad one are good
                continue
            if place not in given_up:
                bulk.corrupt.append((place, str(error)))
                return
            yield place, Block("", b"", 0)
            offset, max_bytes = offset + 1, _READ_BYTES
            continue
        for found, block in batch.blocks:
            yield (topic, partition, found), block
        if batch.next_offset == offset:
            return
        offset = batch.next_offset


def _placed(messages: pa.Table, partition: int, offset: int) -> pa.Table:
    schema = table_named("raw.messages").arrow_schema()
    length = messages.num_rows
    whole = messages.append_column("log_partition", pa.array([partition] * length, pa.int32()))
    return whole.append_column("log_offset", pa.array([offset] * length, pa.int64())).select(schema.names).cast(schema)


def _release_raw(log: Log, position: Mapping[str, int]) -> None:
    if position:
        log.release(RAW_TOPIC, READER, {int(partition): offset for partition, offset in position.items()})


def message_ranges(rows: pa.Table) -> tuple[MessageRange, ...]:
    """Return the messages of `rows` (any table with capture_id and message_seq) as ranges without holes."""
    seqs: dict[str, set[int]] = defaultdict(set)
    for capture_id, seq in zip(rows["capture_id"].to_pylist(), rows["message_seq"].to_pylist(), strict=True):
        seqs[capture_id].add(seq)
    found: list[MessageRange] = []
    for capture_id in sorted(seqs):
        first = last = -1
        for seq in sorted(seqs[capture_id]):
            if first >= 0 and seq != last + 1:
                found.append(MessageRange(capture_id, first, last))
                first = seq
            first = seq if first < 0 else first
            last = seq
        found.append(MessageRange(capture_id, first, last))
    return tuple(found)


def _commit(lake: Lake, table: str, rows: pa.Table, owner: str, bulk: _Bulk, ranges: tuple[MessageRange, ...] = ()) -> bool:
    """Commit rows and position together and read the position back; False when somebody else owns these offsets."""
    run_id = f"land-{table}-" + "-".join(f"{part}.{bulk.before.get(part, 0)}" for part in sorted(bulk.after))
    counts = {"in": rows.num_rows, "blocks": bulk.blocks, "repeated": bulk.repeated, "skipped_blocks": len(bulk.skipped)}
    try:
        append(lake, table, rows, owner, bulk.before, bulk.after, run_id, ranges, counts)
    except CommitConflictError as error:
        LOGGER.info("landing of %s begins again: %s", table, error)
        return False
    except CommitUnknownError:
        if lake.head(table).position.get(owner, {}) != bulk.after:
            raise
    found = lake.head(table).position.get(owner, {})
    if any(found.get(part, 0) < offset for part, offset in bulk.after.items()):
        raise CommitUnknownError(f"{table}: committed up to {bulk.after}, but main says {found}")
    return True


# --- history


def _history_positions(lake: Lake, log: Log) -> dict[str, int]:
    """Return the next offset of each history table.

    A table that has never been landed to begins at the log's first block: it is new, or the log would have waited for it.
    """
    first = log.bounds(HISTORY_TOPIC)[HISTORY_PARTITION].first
    heads = {name: lake.head(name).position.get(HISTORY_OWNER, {}) for name in history_tables()}
    return {name: vector.get(str(HISTORY_PARTITION), first) for name, vector in heads.items()}


def _land_history(lake: Lake, log: Log, given_up: frozenset[Place], report: LandReport) -> list[tuple[Place, str]]:
    while log.bounds(HISTORY_TOPIC):
        positions = _history_positions(lake, log)
        # Tables that only lag because they have no rows are looked through again: their blocks are not released yet.
        bulk, found, end = _history_bulk(log, min(positions.values()), given_up)
        is_moved = False
        for name in positions:
            parts = [rows for offset, rows in found[name] if offset >= positions[name]]
            is_behind = end - positions[name] >= _IDLE_HISTORY_BLOCKS or (bulk.skipped and end > positions[name])
            if parts or is_behind:
                _land_rows(lake, name, parts, end, report)
                is_moved = True
        report.skipped += bulk.skipped
        if not is_moved:
            log.release(HISTORY_TOPIC, READER, {0: min(positions.values())})
            return bulk.corrupt
    return []


def _history_bulk(log: Log, start: int, given_up: frozenset[Place]) -> tuple[_Bulk, dict[str, list[tuple[int, pa.Table]]], int]:
    bulk, end, size = _Bulk(), start, 0
    found: dict[str, list[tuple[int, pa.Table]]] = defaultdict(list)
    for place, block in _blocks(log, HISTORY_TOPIC, HISTORY_PARTITION, start, given_up, bulk):
        try:
            name, rows = decode_rows(block.payload)
        except ProtocolError as error:
            if place not in given_up:
                bulk.corrupt.append((place, str(error)))
                break
            bulk.skipped.append(place)
        else:
            found[name].append((place[2], rows))
            size += rows.nbytes
        end = place[2] + 1
        if size > MAX_BATCH_BYTES and end - start >= _IDLE_HISTORY_BLOCKS:
            break
    return bulk, found, end


def _land_rows(lake: Lake, name: str, parts: list[pa.Table], end: int, report: LandReport) -> None:
    # Read again: whoever moved it meanwhile has these rows, which are then dropped as known.
    before = lake.head(name).position.get(HISTORY_OWNER, {})
    if before.get(str(HISTORY_PARTITION), 0) >= end:
        return
    schema = table_named(name).arrow_schema()
    rows = pa.concat_tables(parts).cast(schema) if parts else schema.empty_table()
    new = _without_known(lake, name, rows)
    bulk = _Bulk(before=before, after={str(HISTORY_PARTITION): end}, rows=new.num_rows)
    if not _commit(lake, name, new, HISTORY_OWNER, bulk):
        return  # another landing has moved: the caller reads the positions again
    if new.num_rows:
        report.history[name] = report.history.get(name, 0) + new.num_rows
    report.repeated_history += rows.num_rows - new.num_rows
    report.commits += 1


def _without_known(lake: Lake, name: str, rows: pa.Table) -> pa.Table:
    """Return `rows` without those whose key stands before them or in the table: the first one is kept."""
    if not rows.num_rows:
        return rows
    key = list(table_named(name).key)
    keys = list(zip(*(rows[column].to_pylist() for column in key), strict=True))
    known = set(_known_keys(lake, name, key, rows))
    keep = []
    for each in keys:
        keep.append(each not in known)
        known.add(each)
    return rows.filter(pa.array(keep, pa.bool_()))


def _known_keys(lake: Lake, name: str, key: list[str], rows: pa.Table) -> Iterator[tuple[object, ...]]:
    values = pc.unique(rows[key[0]]).to_pylist()
    named = [Where(key[0], "in", values)]
    if len(values) > _MAX_NAMED:
        named = [Where(key[0], ">=", min(values)), Where(key[0], "<=", max(values))]
    held = read(lake, name, key, named)
    return zip(*(held[column].to_pylist() for column in key), strict=True)


def _record_corrupt(lake: Lake, log: Log, corrupt: list[tuple[Place, str]]) -> None:
    for (topic, partition, offset), reason in corrupt:
        place = f"{topic}/{partition}/{offset}"
        row = finding_row(f"log/{place}", "corrupt_block", "raw.messages", reason, to_datetime(lake.clock()), f"land-{place}")
        append_history(log, "quality.findings", row)
