"""Reading tables: rows of main, pruned over a plan kept per snapshot, read by DuckDB, as they were published and known.

The one door to data files. Columns are found by Iceberg field id, so a file written before a rename or a new column
reads right. Three things can be asked of a table beside its columns:

    as_of         what this lake had published at that moment, by the publication ledger: always the same answer
    known_as_of   what the market could know at that moment (`known_at`; ticks: ts_event, else ts_recv; messages: ts_recv;
                  our own history: recorded_at; instruments and listings are names, not knowledge: all of them)
    published_at  when a row appeared on main: not stored, added when asked for among the columns
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
from pyiceberg.manifest import DataFile

from lake.catalog import Lake
from lake.conditions import Where, text_literal
from lake.dropped import dropped_of, refuse, touched
from lake.durable import place_of
from lake.errors import CorruptedError, InvalidValueError
from lake.few_rows import FOOTERS, few_rows, keep_newest
from lake.many_rows import many_rows
from lake.objects import ObjectFiles, ObjectPath
from lake.plans import Condition, Plan, PlanCache
from lake.questions import INSTANT, PUBLISHED_AT, Question
from lake.tables import Table, table_named
from lake.values import Vector

__all__ = [
    "PUBLISHED_AT",
    "Where",
    "dataset",
    "keep_newest_session",
    "misplaced_files",
    "newest_session",
    "read",
    "read_offsets",
    "replaced_files",
]

_RANGES_AS_EXPRESSION = 100
"""Arrow evaluates an expression row by row; with more message ranges the rows are read by a join instead."""
_PLANS = PlanCache()
_CONNECTING = threading.Lock()


def read(
    lake: Lake,
    table: str,
    columns: Sequence[str] | None = None,
    where: Sequence[Where] = (),
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
    *,
    tells_dropped: bool = False,
) -> pa.Table:
    """Return rows of main in the table's schema, columns in its order or as asked, rows in no promised order.

    columns        of the table, and `published_at` (null for a row that the ledger does not know yet)
    where          all must hold
    as_of          only rows published by then
    known_as_of    only rows that could be known by then
    tells_dropped  somebody's question: where only rows that retention dropped could answer, say so

    Raises NotFoundError for an unknown table, InvalidValueError for an unknown column, a value of another type, a naive
    or future instant, or a past asked of a rewritten table; CorruptedError when a data file is missing or damaged.
    NotFoundError also where retention dropped part of what a past question would have shown, and by `tells_dropped`.
    """
    definition = table_named(table)
    schema = _schema(definition, columns)
    question = Question(lake, definition, where, as_of, known_as_of, wants_published=PUBLISHED_AT in schema.names)
    bounds = question.bounds()

    def answer(plan: Plan) -> pa.Table:
        numbers = plan.select(bounds)
        if question.is_past or (tells_dropped and not numbers):
            _refuse_dropped(lake, definition, bounds)
        if not numbers:
            return schema.empty_table()
        is_plain = not question.is_past and PUBLISHED_AT not in schema.names
        wanted = schema.names if is_plain else definition.column_names
        try:
            rows = few_rows(plan, numbers, where, bounds, wanted, lake.settings.hot_bytes)
            if rows is None and is_plain:
                rows = many_rows(plan, numbers, where, bounds, wanted)
            by_duckdb = "" if rows is not None else _shortest_source(definition, [plan.paths[number] for number in numbers])
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise CorruptedError(f"{definition.name}: a data file of main cannot be read: {error}") from error
        if rows is not None and is_plain:
            return _one(rows, schema)
        if rows is not None:
            query, needed = question.sql("few_rows", schema.names)
            return _fetch(query, {**needed, "few_rows": _one(rows, definition.arrow_schema())}, schema)
        query, needed = question.sql(by_duckdb, schema.names)
        return _fetch(query, needed, schema)

    return _replanned(lake, definition, answer)


def dataset(lake: Lake, table: str, as_of: datetime | None = None, known_as_of: datetime | None = None) -> ds.Dataset | pa.Table:
    """Return rows of main as something that DuckDB, polars or pyarrow scan lazily, pushing columns and filters down.

    A connection without access to files can scan it, for the reading happens on this side; no path shows in it. What
    cannot be told to Arrow comes as the rows themselves: a past of very many message ranges, and a table whose columns
    were changed (Arrow finds them by name, not by field id). Raises as `read` does; a file that is gone shows as
    FileNotFoundError in the scan: ask for the dataset again.
    """
    definition = table_named(table)
    question = Question(lake, definition, (), as_of, known_as_of)
    iceberg = lake.table(table)
    has_many_ranges = question.visible is not None and len(question.visible.ranges) > _RANGES_AS_EXPRESSION
    if has_many_ranges or len(iceberg.metadata.schemas) > 1:
        return read(lake, table, as_of=as_of, known_as_of=known_as_of)
    plan = _PLANS.plan(definition, iceberg)
    if question.is_past:
        _refuse_dropped(lake, definition, question.bounds())
    parquet = ds.ParquetFileFormat()
    local = pyarrow.fs.LocalFileSystem()
    fragments = []
    for number in plan.select(question.bounds()):
        place = place_of(plan.paths[number])  # those in the archive may be in another store than the others
        path, client = (place.key, place.filesystem) if isinstance(place, ObjectPath) else (str(place), local)
        fragments.append(parquet.make_fragment(path, filesystem=client, partition_expression=_promise(plan, number)))
    found = ds.FileSystemDataset(fragments, definition.arrow_schema(), parquet)
    expression = question.expression()
    return found if expression is None else found.filter(expression)


def read_offsets(lake: Lake, low: Vector, high: Vector, provider: str, max_messages: int) -> pa.Table:
    """Return messages of a provider with (log_partition, log_offset) in [low, high), the first `max_messages` of them.

    In order of (log_partition, log_offset, message_seq). A partition not in `low` begins at 0, one not in `high` gives
    nothing. Fewer than `max_messages` rows mean that there are no more; otherwise the last block may be cut.
    Only files whose bounds touch the offsets are opened, and payloads are read of the blocks returned only.
    """
    parts: list[pa.Table] = [table_named("raw.messages").arrow_schema().empty_table()]
    room = max_messages
    for partition, end in sorted((int(partition), end) for partition, end in high.items()):
        start = low.get(str(partition), 0)
        if room <= 0 or start >= end:
            continue
        where = [Where("provider", "=", provider), Where("log_partition", "=", partition), Where("log_offset", ">=", start)]
        behind = _offset_behind(lake, [*where, Where("log_offset", "<", end)], room)
        if behind is None:
            continue
        rows = read(lake, "raw.messages", where=[*where, Where("log_offset", "<", behind)])
        parts.append(rows.sort_by([("log_offset", "ascending"), ("message_seq", "ascending")]).slice(0, room))
        room -= parts[-1].num_rows
    return pa.concat_tables(parts)


def newest_session(lake: Lake, table: str, provider: str) -> date | None:
    """Return the last session that a provider has files of on main, without opening one; None without any.

    table   partitioned by session_date
    """
    plan = _plan(lake, table_named(table))
    days = plan.partition_values("session_date")
    if days is None:
        raise InvalidValueError(f"{table} is not partitioned by session_date")
    found = [days[number] for number in plan.select([Condition("provider", "=", (provider,))])]
    return date(1970, 1, 1) + timedelta(days=max(found)) if found else None


def misplaced_files(lake: Lake, table: str) -> list[str]:
    """Return the data files of main that hold rows of another partition than their own: questions would miss these rows."""
    return _plan(lake, table_named(table)).misplaced()


def may_hold(lake: Lake, table: str, where: Sequence[Where]) -> bool:
    """Return whether rows of main may satisfy `where`, by the bounds of its files: none is opened, and False is certain."""
    return bool(replaced_files(lake, table, where))


def replaced_files(lake: Lake, table: str, where: Sequence[Where] = ()) -> list[DataFile]:
    """Return the files of main that may hold rows satisfying `where`: what an overwrite of these rows must replace.

    They may hold other rows too, which the overwrite has to write again.
    """
    definition = table_named(table)
    plan = _plan(lake, definition)
    return [plan.files[number] for number in plan.select(Question(lake, definition, where).bounds())]


def _offset_behind(lake: Lake, where: Sequence[Where], count: int) -> int | None:
    """Return the offset behind the block that holds the `count`-th message, or the last one; None without messages."""
    found = read(lake, "raw.messages", ["log_offset"], where)
    blocks = found.group_by("log_offset").aggregate([([], "count_all")]).sort_by("log_offset")
    last, total = None, 0
    for offset, messages in zip(blocks["log_offset"].to_pylist(), blocks["count_all"].to_pylist(), strict=True):
        last, total = offset, total + messages
        if total >= count:
            break
    return None if last is None else last + 1


def _schema(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    whole = table.arrow_schema()
    if columns is None:
        return whole
    unknown = sorted(set(columns) - {*whole.names, PUBLISHED_AT})
    if unknown or not columns or len(set(columns)) != len(columns):
        raise InvalidValueError(f"{table.name}: columns {list(columns)}; expected each once of {whole.names} and {PUBLISHED_AT}")
    return pa.schema([pa.field(PUBLISHED_AT, INSTANT) if name == PUBLISHED_AT else whole.field(name) for name in columns])


def keep_newest_session(lake: Lake, table: str) -> int:
    """Take the newest session's rows of a table into memory, up to the setting `hot_bytes`; return the bytes they take.

    Nothing needs this: files that are asked often are kept anyway. It spares the first questions of a server their wait.
    """
    return keep_newest(_plan(lake, table_named(table)), lake.settings.hot_bytes)


def _one(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Return the rows of tables that have the schema's columns, and may have more, as one table."""
    found = [_in_schema(part, schema) for part in parts if part.num_rows]
    if not found:
        return schema.empty_table()
    return found[0] if len(found) == 1 else pa.concat_tables(found)


def _in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    if rows.schema.equals(schema, check_metadata=True):
        return rows
    columns = rows.columns if rows.column_names == schema.names else [rows.column(name) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def _plan(lake: Lake, table: Table) -> Plan:
    return _PLANS.plan_at(table, lake.pointer(table.name), lambda: lake.table(table.name))


def _replanned(lake: Lake, table: Table, answer: Callable[[Plan], pa.Table]) -> pa.Table:
    """Return the answer over the current plan; when maintenance deleted a file of it meanwhile, over the next one."""
    plan = _plan(lake, table)
    try:
        return answer(plan)
    except (duckdb.IOException, FileNotFoundError):
        _PLANS.forget(plan)
        try:
            return answer(_plan(lake, table))
        except (duckdb.IOException, FileNotFoundError) as error:
            raise CorruptedError(f"{table.name}: a data file of main is missing or cannot be read: {error}") from error


def _refuse_dropped(lake: Lake, table: Table, bounds: Sequence[Condition]) -> None:
    """Say so where retention dropped rows that a question could be about, instead of answering without them."""
    found = touched(table, dropped_of(lake.table(table.name)), bounds)
    if found:
        refuse(table, found)


def _shortest_source(table: Table, paths: Sequence[str]) -> str:
    """Return the SQL that reads files by field id, or by name where both are the same: that is five times faster to start.

    DuckDB binds its map of field ids anew for each file, which takes longer than reading a small one.
    """
    if len(paths) <= FOOTERS.most and all(FOOTERS.footer(path).is_as_defined(table) for path in paths):
        return f"read_parquet([{', '.join(text_literal(path) for path in paths)}], hive_partitioning = false)"
    return source(table, paths)


def source(table: Table, paths: Sequence[str]) -> str:
    """Return the SQL that reads files by field id."""
    fields = ", ".join(
        f"{column.field_id}: {{name: {text_literal(column.name)}, type: '{_SQL_TYPES.get(column.type, column.type)}',"
        " default_value: NULL}"
        for column in table.columns
    )
    return f"read_parquet([{', '.join(text_literal(path) for path in paths)}], schema = MAP {{{fields}}})"


_SQL_TYPES = {
    "string": "VARCHAR",
    "binary": "BLOB",
    "int": "INTEGER",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}


@lru_cache(maxsize=1)
def _database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
        },
    )
    connection.execute("SET parquet_metadata_cache = true")  # data files never change
    connection.register_filesystem(ObjectFiles())
    return connection


def _fetch(query: str, needed: dict[str, pa.Table], schema: pa.Schema) -> pa.Table:
    with _CONNECTING:
        cursor = _database().cursor()
    try:
        for name, rows in needed.items():
            cursor.register(name, rows)
        return cursor.sql(query).to_arrow_table().cast(schema)
    except duckdb.IOException:
        raise
    except duckdb.OutOfMemoryException as error:
        raise MemoryError(f"the rows asked for do not fit into memory; ask for fewer: {error}") from error
    except (duckdb.Error, pa.ArrowInvalid) as error:
        raise CorruptedError(f"a data file cannot be read as its table says: {error}") from error
    finally:
        cursor.close()


def _promise(plan: Plan, number: int) -> ds.Expression:
    """Return what all rows of a file satisfy, by its identity partition: Arrow then opens no file in vain."""
    found = ds.scalar(True)
    for column, transform in plan.table.partition:
        values = plan.partition_values(column) if transform == "identity" else None
        if values is not None and values[number] is not None:
            type_ = plan.table.column(column).arrow_type
            value = (
                pa.scalar(values[number], pa.int32()).cast(type_)
                if pa.types.is_date32(type_)
                else pa.scalar(values[number], type_)
            )
            found = found & (ds.field(column) == value)
    return found
