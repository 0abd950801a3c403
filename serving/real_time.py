"""What a provider just answered, as rows: read from the log by the decoders and row rules that promotion uses.

Nothing is published here: the messages are in the log like any others, and promotion will publish them by the same event ids.
Until then an answer made of them is provisional.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ingest.ledger import CaptureReport
from lake.catalog import Lake
from lake.instants import to_datetime
from lake.log.blocks import decode_messages, partition_of
from lake.log.log import RAW_TOPIC, Log
from lake.tables import table_named
from lake.values import CaptureKind
from quality_checks.batches import Batch, decode_batch, joined_rows
from quality_checks.naming import eras_known
from serving.answers import Answered, newest, page, told, within
from serving.bars import BarsQuestion, agreed_anew, view_of
from serving.instruments import Instrument
from serving.paged import Kind, Paged

RUN = "read_through"
"""The run that rows of such an answer name: none that published them."""
_SCAN_BYTES = 8 * 1024 * 1024
_BETWEEN = r"^([A-Z0-9]{3,})[/-]([A-Z]{3,5})$"
"""Of a pair of currencies; a share class (BRK-B, BRK/B) has one letter and stays as it is."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Rows of one table in one capture; `refused` of its facts broke a row rule, and stay out of the answer."""

    rows: pa.Table
    refused: int
    instruments: pa.Table


def positions_of(log: Log) -> Mapping[int, int]:
    """Return where each partition of the raw topic ends: what is captured from now on lies behind."""
    return {partition: bounds.next for partition, bounds in log.bounds(RAW_TOPIC).items()}


def rows_heard(lake: Lake, log: Log, report: CaptureReport, table: str, since: Mapping[int, int]) -> Heard:
    """Return the rows of a table in the messages of a capture that was made after `since`."""
    partition = partition_of(report.capture_id, lake.settings.log_partitions)
    messages = _messages(log, report.capture_id, partition, since.get(partition, 0))
    batch = Batch(report.provider, messages, {}, {})
    kinds = {report.capture_id: CaptureKind(report.kind)}
    recorded_at = to_datetime(lake.clock())
    reading = decode_batch(batch, {table: {}}, kinds, {table: RUN}, recorded_at, eras_known(lake))
    rows, refused, _ = joined_rows(table, reading.tables[table])
    return Heard(rows, refused.num_rows + reading.refused_messages.num_rows, reading.instruments)


def _messages(log: Log, capture_id: str, partition: int, offset: int) -> pa.Table:
    """Return the messages of a capture as columns of raw.messages."""
    found: list[pa.Table] = []
    schema = table_named("raw.messages").arrow_schema()
    while True:
        batch = log.read(RAW_TOPIC, partition, offset, _SCAN_BYTES, 0.0)
        for place, block in batch.blocks:
            if block.key == capture_id:
                rows = decode_messages(block.payload)
                where = {"log_partition": partition, "log_offset": place}
                columns = {name: rows[name] if name in rows.column_names else None for name in schema.names}
                arrays = [
                    pa.repeat(pa.scalar(where[name], schema.field(name).type), rows.num_rows) if column is None else column
                    for name, column in columns.items()
                ]
                found.append(pa.table(arrays, schema=schema))
        if batch.next_offset == offset:
            return pa.concat_tables(found) if found else schema.empty_table()
        offset = batch.next_offset


def instrument_heard(heard: Heard, symbol: str) -> Instrument | None:
    """Return the instrument that the rows are about, as the provider's own answer names it; None without rows."""
    if not heard.rows.num_rows:
        return None
    row = heard.rows.slice(0, 1).to_pylist()[0]
    known = heard.instruments.filter(pc.equal(heard.instruments["instrument_id"], row["instrument_id"])).to_pylist()
    named = known[0] if known else {}
    identity = str(named.get("identity", row["instrument_id"]))
    return Instrument(row["instrument_id"], identity, symbol, named.get("name"), row["currency"], row["mic"])


def events_answer(
    lake: Lake, kind: Kind, question: Paged, instrument: Instrument, rows: pa.Table, more: Mapping[str, object]
) -> Answered:
    """Return a page of trades or quotes just heard, as `serving.paged.ask` gives one of the lake."""
    ranged = within(rows, question.start, question.end, "ts_event")
    order = [(name, "ascending") for name in (*kind.order, "capture_id", "message_seq", "ordinal")]
    found, paging = page(ranged.sort_by(order), question.limit, question.offset)
    metadata = told(lake, {}, newest(ranged, "ts_recv"), "as_traded")
    return Answered(found.select(list(kind.columns)), {**metadata, "instrument": instrument.document(), **paging, **more})


def bars_answer(
    lake: Lake, question: BarsQuestion, instrument: Instrument, rows: pa.Table, more: Mapping[str, object]
) -> Answered:
    """Return bars just heard, as `serving.bars.bars` gives those of the lake: of this provider alone."""
    return view_of(lake, question, instrument, agreed_anew(lake, instrument, rows), {}, **more)


def of_symbol(rows: pa.Table, symbols: Sequence[str]) -> pa.Table:
    """Return the rows about one of these symbols, in the provider's spelling: a pair with a slash, a dash or nothing between."""
    wanted = pa.array([_plain(symbol) for symbol in symbols], pa.string())
    plain = pc.replace_substring_regex(pc.utf8_upper(rows["symbol"]), pattern=_BETWEEN, replacement=r"\1\2")
    return rows.filter(pc.is_in(plain, value_set=wanted))


def _plain(symbol: str) -> str:
    return re.sub(_BETWEEN, r"\1\2", symbol.upper())
