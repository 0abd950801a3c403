"""A batch: raw messages of one provider between two positions, decoded and normalized once for all its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import QualityError
from lake.scan import read, read_offsets
from lake.tables import table_named
from lake.values import MESSAGE_ITSELF, CaptureKind, MessageRange, Vector
from quality_checks.news import stamped
from quality_checks.rules import apply_rules, quarantine_rows
from transforms.decode.decoded import MESSAGES, Decoded
from transforms.feeds import Feed, feed_of
from transforms.normalize import normalize
from transforms.symbol_eras import NO_CHANGES, SymbolEras

_UNKNOWN_FEED = "unknown_feed"


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages from `low` (included) to `after` (excluded), whole blocks only.

    waiting   messages left behind because their capture is not in ops.captures yet
    """

    provider: str
    messages: pa.Table
    low: Vector
    after: Vector
    waiting: int = 0

    def since(self, position: Mapping[str, int]) -> pa.Array:
        """Return for each message whether it lies at or beyond `position`."""
        partitions = self.messages["log_partition"].to_numpy()
        offsets = self.messages["log_offset"].to_numpy()
        reached = {int(key): value for key, value in position.items()}
        start = [reached.get(partition, 0) for partition in range(int(partitions.max(initial=0)) + 1)]
        return pa.array(offsets >= pa.array(start, pa.int64()).to_numpy()[partitions])


@dataclass(slots=True)
class Prepared:
    """One table's share of a batch, ready to be compared with main.

    rows       kept by the row rules, in the table's schema
    refused    rows of quality.quarantine for this table's facts
    findings   rows of quality.findings
    decoded    facts that the decoder found for this table, refused ones included
    messages, control, refused_messages   of the messages at or beyond the table's own position
    """

    rows: list[pa.Table] = field(default_factory=list)
    refused: list[pa.Table] = field(default_factory=list)
    findings: list[pa.Table] = field(default_factory=list)
    decoded: int = 0
    messages: int = 0
    control: int = 0
    refused_messages: int = 0
    ranges: tuple[MessageRange, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a batch gave: by table, and what does not belong to one table."""

    tables: dict[str, Prepared]
    refused_messages: pa.Table
    instruments: pa.Table
    listings: pa.Table


def kinds_of(lake: Lake, provider: str) -> dict[str, CaptureKind]:
    """Return how each capture of a provider came to us."""
    found = read(lake, "ops.captures", ["capture_id", "kind"], [Where("provider", "=", provider)])
    return {name: CaptureKind(kind) for name, kind in zip(*(column.to_pylist() for column in found.columns), strict=True)}


def read_batch(lake: Lake, provider: str, low: Vector, kinds: Mapping[str, CaptureKind], limit: int) -> Batch:
    """Return the next batch of a provider from position `low`: about `limit` messages, whole blocks, known captures.

    A batch without messages has `after` = `low`.
    """
    high = lake.head("raw.messages").vector("raw")
    found = read_offsets(lake, low, high, provider, limit)
    while found.num_rows >= limit:
        whole = _without_last_block(found)
        if whole.num_rows:
            return _known_only(Batch(provider, whole, low, _position_after(whole, low, high)), kinds)
        limit *= 2  # one block fills the batch: read on until it ends
        found = read_offsets(lake, low, high, provider, limit)
    if found.num_rows == 0:
        return Batch(provider, found, low, dict(low))
    return _known_only(Batch(provider, found, low, {**low, **high}), kinds)


def _without_last_block(messages: pa.Table) -> pa.Table:
    """Return messages without those of the last block, which may go on beyond the limit."""
    last = messages.slice(messages.num_rows - 1)
    is_last = pc.and_(
        pc.equal(messages["log_partition"], last["log_partition"][0]), pc.equal(messages["log_offset"], last["log_offset"][0])
    )
    return messages.filter(pc.invert(is_last))


def _position_after(messages: pa.Table, low: Vector, high: Vector) -> Vector:
    """Return the position behind messages read in (partition, offset) order: partitions before the last are done."""
    last = messages.slice(messages.num_rows - 1)
    partition, offset = last["log_partition"][0].as_py(), last["log_offset"][0].as_py()
    done = {key: value for key, value in high.items() if int(key) < partition}
    return {**low, **done, str(partition): offset + 1}


def _known_only(batch: Batch, kinds: Mapping[str, CaptureKind]) -> Batch:
    """Return the batch cut, in each partition, before the first message of a capture that is not in ops.captures yet."""
    known = pc.is_in(batch.messages["capture_id"], value_set=pa.array(list(kinds), pa.string()))
    unknown = batch.messages.filter(pc.invert(known))
    if unknown.num_rows == 0:
        return batch
    after = dict(batch.after)
    for partition, offset in zip(unknown["log_partition"].to_pylist(), unknown["log_offset"].to_pylist(), strict=True):
        after[str(partition)] = min(after[str(partition)], offset)
    kept = batch.messages.filter(pc.invert(batch.since(after)))
    if kept.num_rows == 0:
        return Batch(batch.provider, kept, batch.low, dict(batch.low), unknown.num_rows)
    return Batch(batch.provider, kept, batch.low, after, batch.messages.num_rows - kept.num_rows)


def decode_batch(
    batch: Batch,
    positions: Mapping[str, Vector],
    kinds: Mapping[str, CaptureKind],
    run_ids: Mapping[str, str],
    recorded_at: datetime,
    eras: SymbolEras = NO_CHANGES,
) -> Reading:
    """Return what the batch's messages say: decoded once, cut for each table by its own position, ruled.

    positions, run_ids   table -> its position and the run to stamp, for the tables wanted
    eras                 who names have meant since when
    """
    tables = {name: Prepared() for name in positions}
    since = {name: batch.since(position) for name, position in positions.items()}
    whole = dict.fromkeys(positions, batch.messages)
    for name, mask in since.items():
        mine = whole[name].filter(mask)
        tables[name].messages = mine.num_rows
        tables[name].ranges = message_ranges(mine)
    refused, instruments, listings = [], [], []
    run_id = min(run_ids.values(), default="")
    for feed_name in batch.messages["feed"].unique().to_pylist():
        is_feed = pc.equal(batch.messages["feed"], feed_name)
        messages = batch.messages.filter(is_feed)
        masks = {name: mask.filter(is_feed) for name, mask in since.items()}
        feed = feed_of(batch.provider, feed_name)
        if feed is None:
            refused.append(_unreadable(messages, recorded_at, run_id))
            for name, mask in masks.items():
                tables[name].refused_messages += pc.sum(mask).as_py() or 0
            continue
        decoded = feed.decode(messages)
        _count_messages(decoded, masks, tables)
        normalized = normalize(feed, messages, _cut(decoded, masks, feed, tables), kinds, run_id, recorded_at, eras)
        of_messages = pc.equal(normalized.refused["ordinal"], MESSAGE_ITSELF)
        refused.append(normalized.refused.filter(of_messages))
        facts = normalized.refused.filter(pc.invert(of_messages))
        for name in feed.tables:
            if name in tables:
                mine = facts.filter(pc.equal(facts["table_name"], name))
                rows = stamped(name, normalized.tables[name], run_ids[name])
                ruled = apply_rules(name, rows, feed, recorded_at, run_ids[name], normalized.instruments)
                tables[name].rows.append(ruled.kept)
                tables[name].refused += [mine, ruled.refused]
                tables[name].findings.append(ruled.findings)
        instruments.append(normalized.instruments)
        listings.append(normalized.listings)
    return Reading(
        tables,
        _joined("quality.quarantine", refused),
        _joined("reference.instruments", instruments),
        _joined("reference.listings", listings),
    )


def _count_messages(decoded: Decoded, masks: Mapping[str, pa.Array], tables: Mapping[str, Prepared]) -> None:
    """Add to each table the messages refused whole and the control messages among those of its own range."""
    whole = decoded.refused.filter(pc.equal(decoded.refused["table_name"], MESSAGES))
    told = pa.chunked_array(
        [
            *decoded.refused["message_index"].chunks,
            *(c for rows in decoded.tables.values() for c in rows["message_index"].chunks),
        ],
        pa.int64(),
    ).unique()
    for name, mask in masks.items():
        of_range = pc.sum(mask).as_py() or 0
        speaking = pc.sum(mask.take(told)).as_py() or 0
        tables[name].control += of_range - speaking
        tables[name].refused_messages += pc.sum(mask.take(whole["message_index"].combine_chunks())).as_py() or 0


def _cut(decoded: Decoded, masks: Mapping[str, pa.Array], feed: Feed, tables: Mapping[str, Prepared]) -> Decoded:
    """Return only the facts at or beyond each table's own position, counted; tables not wanted become empty."""
    kept: dict[str, pa.Table] = {}
    is_kept = pc.equal(decoded.refused["table_name"], MESSAGES)
    for name in feed.tables:
        rows = decoded.tables[name]
        mask = masks.get(name)
        if mask is None:
            kept[name] = rows.slice(0, 0)
            continue
        kept[name] = rows.filter(mask.take(rows["message_index"].combine_chunks()))
        refused = pc.and_(
            pc.equal(decoded.refused["table_name"], name), mask.take(decoded.refused["message_index"].combine_chunks())
        )
        is_kept = pc.or_(is_kept, refused)
        tables[name].decoded += kept[name].num_rows + (pc.sum(refused).as_py() or 0)
    return Decoded(kept, decoded.refused.filter(is_kept), decoded.control, decoded.skipped)


def _unreadable(messages: pa.Table, recorded_at: datetime, run_id: str) -> pa.Table:
    rows = messages.append_column("ordinal", pa.repeat(pa.scalar(MESSAGE_ITSELF, pa.int32()), messages.num_rows))
    values = pc.binary_join_element_wise(messages["provider"], messages["feed"], " ").combine_chunks()
    return quarantine_rows(MESSAGES, rows, _UNKNOWN_FEED, values, "a feed of transforms/feeds.py", recorded_at, run_id)


def message_ranges(messages: pa.Table) -> tuple[MessageRange, ...]:
    """Return the messages of each capture as ranges without holes, by capture and number."""
    ordered = messages.select(["capture_id", "message_seq"]).sort_by([("capture_id", "ascending"), ("message_seq", "ascending")])
    found: list[MessageRange] = []
    for capture_id, seq in zip(ordered["capture_id"].to_pylist(), ordered["message_seq"].to_pylist(), strict=True):
        last = found[-1] if found else None
        if last is not None and last.capture_id == capture_id and seq <= last.last_seq + 1:
            found[-1] = MessageRange(capture_id, last.first_seq, seq)
        else:
            found.append(MessageRange(capture_id, seq, seq))
    return tuple(found)


def _joined(table: str, parts: Sequence[pa.Table]) -> pa.Table:
    schema = table_named(table).arrow_schema()
    return pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()


def joined_rows(table: str, prepared: Prepared) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return (rows, refused, findings) of a table over all feeds of the batch. Raises QualityError if facts were lost."""
    rows = _joined(table, prepared.rows)
    refused = _joined("quality.quarantine", prepared.refused)
    if prepared.decoded != rows.num_rows + refused.num_rows:
        raise QualityError(
            f"{table}: {prepared.decoded} facts decoded, but {rows.num_rows} kept and {refused.num_rows} refused",
            {"table": table, "decoded": prepared.decoded, "kept": rows.num_rows, "refused": refused.num_rows},
        )
    return rows, refused, _joined("quality.findings", prepared.findings)
