"""Read-only SQL over every table, sandboxed by construction (DESIGN.md section 9).

No path reaches a user's connection: a fresh in-memory DuckDB a query, external access off, configuration locked, and only
Arrow datasets of the tables that the query names. The query is one SELECT, checked by its parse tree before it runs; its
time, memory and rows are bounded. This module is the only one of `serving` that opens DuckDB.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of as ledger
from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.tables import TABLES
from serving.bars import bars_1d_at
from serving.choices import LIMITS
from serving.choices import Limits as Limits
from serving.fx import VIEW_DOCS as FX_DOCS
from serving.fx import VIEWS as FX_VIEWS
from serving.integration.views import SCHEMA as INTEGRATION
from serving.integration.views import VIEWS as INTEGRATION_VIEWS
from serving.symbology import option_rows, symbology_rows
from transforms.derived import DERIVED, HOURS, VENUES, Derived, instrument_venues, venue_hours

PUBLICATIONS = "ops.publications"
_PUBLICATIONS_DOC = "Which run published which messages of a table, and when: the ledger behind --as-of."
_ROW_SOURCES = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree", "repeat"})
"""Table functions that make rows out of their arguments and reach nothing outside."""
_BATCH_ROWS = 2_048
"""DuckDB's own vector: the least that can be looked at before it counts."""
_STATEMENT = re.compile(r"StatementType\.(\w+)")
VIEWS = {**INTEGRATION_VIEWS, **FX_VIEWS, "reference.symbology": symbology_rows, "reference.options": option_rows}
"""Tables that are made when asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query and where they came from.

    snapshots   table -> snapshot id it was read from; virtual tables have none
    """

    table: pa.Table
    truncated: bool
    snapshots: Mapping[str, int]
    elapsed_s: float

    def metadata(self, as_of: datetime | None, known_as_of: datetime | None) -> dict[str, object]:
        """Return what goes beside the rows in JSON and in Arrow's schema."""
        return {
            "snapshots": {name: str(snapshot) for name, snapshot in self.snapshots.items()},
            "as_of": as_of.isoformat() if as_of else None,
            "known_as_of": known_as_of.isoformat() if known_as_of else None,
            "truncated": self.truncated,
            "elapsed_s": round(self.elapsed_s, 4),
        }


@dataclass(slots=True)
class _Named:
    """What a parse tree names: tables (with the number of times), and whether it is a bare SHOW TABLES."""

    tables: dict[str, int] = field(default_factory=dict)
    is_show_tables: bool = False


def answer(
    lake: Lake,
    query: str,
    as_of: datetime | None = None,
    known_as_of: datetime | None = None,
    limits: Limits = LIMITS,
) -> Answer:
    """Return the rows of one SELECT over the lake's tables, as they were published and known at the given instants.

    Tables are named as in the dictionary (`normalized.trades`), `ops.publications` beside them; `SHOW TABLES` and
    `DESCRIBE schema.table` work. Raises InvalidValueError for anything but one SELECT, for a function that would read
    outside, for a query beyond its limits and for SQL errors; NotFoundError for a table that does not exist.
    """
    named = tables_of(query)
    if named.is_show_tables:
        return Answer(_list_of_tables(), False, {}, 0.0)
    try:
        return _run(lake, query, named, as_of, known_as_of, limits)
    except FileNotFoundError:  # a file that maintenance dropped after the plan was made: readers replan once
        return _run(lake, query, named, as_of, known_as_of, limits)


def tables_of(query: str) -> _Named:
    """Return the tables that `query` names. Raises as `answer` does, before anything is opened."""
    with _connection(LIMITS) as connection:
        ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
        try:
            tree = json.loads(text)
            if tree["error"]:
                _refuse(connection, query, tree)
            statements = tree["statements"]
            if len(statements) != 1:
                raise InvalidValueError(f"one SELECT statement is allowed a query; found {len(statements)} statements")
            named = _Named()
            _walk(statements[0]["node"], frozenset(), named)
        except RecursionError as error:
            raise InvalidValueError("the query is nested too deeply; write it in fewer levels") from error
    return named


def _refuse(connection: duckdb.DuckDBPyConnection, query: str, tree: Mapping[str, Any]) -> None:
    if "Only SELECT" not in tree["error_message"]:
        raise InvalidValueError(f"SQL: {tree['error_message']}")
    kinds = [_STATEMENT.sub(r"\1", str(statement.type)) for statement in connection.extract_statements(query)]
    raise InvalidValueError(
        f"only one SELECT is allowed, the lake is read-only here; found {', '.join(kind.upper() for kind in kinds)}"
    )


def _walk(node: Any, ctes: frozenset[str], named: _Named) -> None:
    """Collect tables below `node`. A name without a schema is a common table expression in scope, or an error."""
    if isinstance(node, list):
        for item in node:
            _walk(item, ctes, named)
        return
    if not isinstance(node, dict):
        return
    if "cte_map" in node:
        ctes = ctes | {entry["key"].lower() for entry in node["cte_map"]["map"]}
    if node.get("type") == "RECURSIVE_CTE_NODE":
        ctes = ctes | {str(node.get("cte_name", "")).lower()}
    kind = node.get("type")
    if kind == "BASE_TABLE":
        _name_table([str(part) for part in node["qualified_name"]["path"]], ctes, named)
    elif kind == "TABLE_FUNCTION":
        name = str(node["function"].get("function_name", "")).lower()
        if name not in _ROW_SOURCES:
            raise InvalidValueError(
                f"function {name}() is not allowed in FROM: a query reads only the tables of the lake "
                f"(allowed: {', '.join(sorted(_ROW_SOURCES))})"
            )
    elif kind == "SHOW_REF" and not node.get("query"):
        if node.get("table_name", "").strip('"') != "tables":
            raise InvalidValueError("of SHOW only SHOW TABLES is allowed; for the columns of one table: DESCRIBE schema.table")
        named.is_show_tables = True
    for value in node.values():
        _walk(value, ctes, named)


def _name_table(path: list[str], ctes: frozenset[str], named: _Named) -> None:
    if len(path) == 1 and path[0].lower() in ctes:
        return
    name = ".".join(path).lower()
    if len(path) == 1 and f"{INTEGRATION}.{name}" in VIEWS:
        name = f"{INTEGRATION}.{name}"
    if name in TABLES or name in VIEWS or name in DERIVED or name == PUBLICATIONS:
        named.tables[name] = named.tables.get(name, 0) + 1
        return
    known = [*TABLES, *VIEWS, *DERIVED, PUBLICATIONS]
    near = [table for table in known if table.partition(".")[2] == path[-1].lower()]
    near = near or get_close_matches(name, known, n=1) or get_close_matches(f"normalized.{name}", known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise NotFoundError(f"no table {'.'.join(path)!r} in SQL; {hint}SHOW TABLES lists what there is")


def _run(lake: Lake, query: str, named: _Named, as_of: datetime | None, known_as_of: datetime | None, limits: Limits) -> Answer:
    started = time.monotonic()
    with _connection(limits) as connection:
        snapshots = {}
        for name in named.tables:
            read_of = DERIVED[name].table if name in DERIVED else name
            source = _source(lake, read_of, as_of, known_as_of)
            if read_of in TABLES:
                snapshots[read_of] = lake.head(read_of).snapshot_id
            schema, _, short = name.partition(".")
            handle = f"lake_{schema}_{short}"
            connection.register(handle, source)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}").fetchall()
            rows = _derived(lake, connection, DERIVED[name], handle) if name in DERIVED else f"SELECT * FROM {handle}"
            connection.execute(f"CREATE VIEW {schema}.{short} AS {rows}").fetchall()
            if name in VIEWS:
                connection.execute(f"CREATE VIEW {short} AS SELECT * FROM {handle}").fetchall()
        connection.execute("SET lock_configuration = true").fetchall()
        table, truncated = _fetch(connection, query, limits)
    return Answer(table, truncated, snapshots, time.monotonic() - started)


def _derived(lake: Lake, connection: duckdb.DuckDBPyConnection, view: Derived, handle: str) -> str:
    """Return the query of a derived view, and register what it reads beside its table."""
    from quality_checks.building import venues_of  # with what promotes: not for every query

    venues = venues_of(lake, scan.read(lake, "reference.instruments", ["instrument_id"])["instrument_id"].unique().to_pylist())
    connection.register(f"{handle}_{VENUES}", instrument_venues(venues))
    connection.register(f"{handle}_{HOURS}", venue_hours(venues))
    return view.select(handle, f"{handle}_{VENUES}", f"{handle}_{HOURS}")


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, limits: Limits) -> tuple[pa.Table, bool]:
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        connection.interrupt()

    timer = threading.Timer(limits.seconds, stop)
    timer.start()
    try:
        reader = connection.sql(query).to_arrow_reader(min(limits.rows + 1, _BATCH_ROWS))
        return _bounded(reader, limits)
    except (duckdb.Error, pa.ArrowException) as error:
        if timed_out.is_set():
            raise InvalidValueError(f"the query ran longer than {limits.seconds:g} s and was stopped; narrow it") from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise InvalidValueError(f"the query needs more memory than {limits.memory}; narrow it or aggregate") from error
        if "No such file" in str(error):
            raise FileNotFoundError(str(error)) from error
        raise InvalidValueError(f"SQL: {_message(error)}") from error
    finally:
        timer.cancel()


def _bounded(reader: pa.RecordBatchReader, limits: Limits) -> tuple[pa.Table, bool]:
    batches: list[pa.RecordBatch] = []
    count = size = 0
    for batch in reader:
        count += batch.num_rows
        size += batch.nbytes
        if size > limits.bytes:
            return pa.Table.from_batches(batches, reader.schema).slice(0, limits.rows), True
        batches.append(batch)
        if count > limits.rows:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, limits.rows), count > limits.rows


def _source(lake: Lake, name: str, as_of: datetime | None, known_as_of: datetime | None) -> Any:
    """Return an Arrow dataset, table or reader that shows one table at the instants asked for."""
    if name == PUBLICATIONS:
        published = ledger.publications(lake)
        return published if as_of is None else published.filter(pc.field("published_at") <= pa.scalar(as_of, _INSTANT))
    if name in VIEWS:
        return VIEWS[name](lake, as_of, known_as_of)
    if name == "adjusted.bars_1d" and (as_of or known_as_of):
        return bars_1d_at(lake, as_of, known_as_of)
    return _repeatable(scan.dataset(lake, name, as_of=as_of, known_as_of=known_as_of))


_INSTANT = pa.timestamp("us", tz="UTC")


def _repeatable(source: Any) -> Any:
    """A reader gives its rows once, but DuckDB may scan a table twice (self joins, inlined subqueries)."""
    return source.read_all() if isinstance(source, pa.RecordBatchReader) else source


def _list_of_tables() -> pa.Table:
    names = sorted([*TABLES, *VIEWS, *DERIVED, PUBLICATIONS])
    views = {name: f"A view. {view.__doc__}" for name, view in VIEWS.items()} | FX_DOCS
    views |= {name: f"A view. {view.doc}" for name, view in DERIVED.items()}
    docs = [TABLES[name].doc if name in TABLES else views.get(name, _PUBLICATIONS_DOC) for name in names]
    return pa.table({"table_name": names, "one_row_is": docs})


class _connection:
    """A fresh in-memory DuckDB that reaches nothing outside; closed at the end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __enter__(self) -> duckdb.DuckDBPyConnection:
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "allow_persistent_secrets": "false",
                "python_enable_replacements": "false",
                "memory_limit": self._limits.memory,
                "threads": str(self._limits.threads),
            },
        )
        self._connection.execute("SET TimeZone = 'UTC'").fetchall()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _message(error: BaseException) -> str:
    """The first paragraph of DuckDB's message, without its class words and without source lines."""
    text = str(error).split("\n\nLINE")[0].split("\nTraceback")[0].strip()
    return re.sub(r"^(\w+ )*Error: ", "", text).replace("\n", " ")
