"""The lake: the catalog of tables, and the one door through which a table is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import sqlalchemy.exc
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, RESTError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.sorting import NullOrder, SortField, SortOrder
from pyiceberg.table.update import TableRequirement
from pyiceberg.transforms import IdentityTransform, parse_transform

from lake import faults
from lake import iceberg_internals as internals
from lake.durable import told_of
from lake.errors import (
    CommitConflictError,
    CommitUnknownError,
    InvalidValueError,
    NotFoundError,
    ProviderUnavailableError,
    SettingsError,
    StorageError,
)
from lake.evolution import evolve
from lake.fences import fence_off, not_fenced_off
from lake.heads import ACT, HOLDS, POSITION, Act, Head, Hold, listed_holds_of, positions_of, ranges_of
from lake.instants import Clock
from lake.leases import name_host
from lake.pointers import Pointers
from lake.profiles import CATALOG, make_places, open_catalog, table_location
from lake.settings import Settings, without_password
from lake.state import State
from lake.steps import Steps, steps_of
from lake.tables import TABLES, Table, table_named

MAIN = "main"
RESTORING = "restoring.json"
"""In a home: a restore began here and has not ended; what is there may not be opened, nor made into another lake."""
_REFUSED = ("disk I/O error", "disk is full", "unable to open database file")
"""What SQLite says when the disk is in its way: it needs room even to read."""
LANDED = "raw.messages"
"""The table that landing writes; its property repeats the position as an alarm (a gated table must not have one)."""
PROPERTIES = {
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "50",
    "commit.manifest.target-size-bytes": "65536",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
_FIRST = {POSITION: "{}", HOLDS: "[]", ACT: Act.CREATE}
"""What the first, empty snapshot of a table says."""
_PAYLOAD = "payload"
_NO_BOUNDS = {f"write.metadata.metrics.column.{_PAYLOAD}": "counts"}
"""For tables that have the column; a REST catalog refuses it elsewhere."""

_UNREACHABLE = (sqlalchemy.exc.SQLAlchemyError, RESTError, OSError)
"""What the clients of catalogs raise when theirs cannot be asked; whether it took the last commit is not known."""
_RETRY_S = 5.0


class Lake:
    """An open lake: settings, clock, state and tables. Safe to share between threads; `close` when done.

    The clock must tell the time of the machine: publications are stamped by the catalog's own commits.
    """

    def __init__(self, settings: Settings, clock: Clock, steps: Steps | None = None) -> None:
        internals.install()
        if settings.fail_at:
            faults.stand(settings.fail_at)
        if settings.host:
            name_host(settings.host)
        self.settings = settings
        self.clock = clock
        self.steps = steps_of(settings.kill_at) if steps is None else steps
        self.state = _state_of(settings, clock)
        self.state.leases.on_force = self._fence_off
        try:
            self._catalog = open_catalog(settings)
        except BaseException as error:
            self.state.close()
            if isinstance(error, _UNREACHABLE):
                raise ProviderUnavailableError(f"{_address(settings)} does not answer: {error}", _RETRY_S) from error
            raise

        database = _sqlite_path(settings.catalog_url)
        self._pointers = None if database is None else Pointers(database, CATALOG)

    @classmethod
    def create(cls, settings: Settings, clock: Clock, steps: Steps | None = None) -> Self:
        """Make what is missing of a lake and return it open; safe to repeat and to run in two processes.

        Every table gets an empty first snapshot that holds position {}: a head without a position is always an error.
        A table of an older lake is brought to today's definition (lake/evolution.py). Raises SettingsError when that
        cannot be done without rewriting its files, StorageError when disk or store refuse.
        """
        _refuse_unfinished(settings)
        with told_of(f"making the lake at {settings.home}"):
            make_places(settings)
            with closing(_state_of(settings, clock)) as state:
                state.create()
                # PyIceberg's catalog cannot be made by two processes at once.
                with state.lease("init"):
                    lake = cls(settings, clock, steps)
                    try:
                        lake._make()
                    except BaseException:
                        lake.close()
                        raise
        return lake

    @classmethod
    def open(cls, settings: Settings, clock: Clock, steps: Steps | None = None) -> Self:
        """Return the lake of `settings`. Raises NotFoundError when it was never made, or not whole."""
        _refuse_unfinished(settings)
        database = _sqlite_path(settings.catalog_url)
        if database is not None and not database.exists():
            raise NotFoundError(f"no lake at {settings.home}; make one with `tickhouse init`")
        lake = cls(settings, clock, steps)
        try:
            missing = sorted(set(TABLES) - lake._listed())
            if missing:
                raise NotFoundError(f"the lake at {settings.home} has no table {', '.join(missing)}; run `tickhouse init`")
        except sqlalchemy.exc.SQLAlchemyError as error:
            lake.close()
            if any(words in str(error) for words in _REFUSED):
                raise StorageError(f"{_address(settings)} cannot be read, is its disk full? {error}") from error
            raise NotFoundError(f"{_address(settings)} holds no catalog; run `tickhouse init` ({error})") from error
        except BaseException:
            lake.close()
            raise
        return lake

    def pointer(self, name: str) -> str | None:
        """Return where a table's metadata stands now, in microseconds; None where only loading the table tells."""
        return None if self._pointers is None else self._pointers.location(name)

    def close(self) -> None:
        """Close every database connection."""
        if self._pointers is not None:
            self._pointers.close()
        self.state.close()
        if isinstance(self._catalog, SqlCatalog):
            self._catalog.engine.dispose()
        else:
            self._catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def table(self, name: str) -> IcebergTable:
        """Return the table as it is now, a fresh object with retries switched off. Raises NotFoundError."""
        table_named(name)
        catalog, location = self._catalog, self.pointer(name)
        try:
            if location is not None and isinstance(catalog, internals.RememberingCatalog):
                return internals.switch_off_retries(catalog.table_at(name, location))
            return internals.switch_off_retries(catalog.load_table(name))
        except NoSuchTableError as error:
            raise NotFoundError(f"table {name} is not in the catalog; run `tickhouse init`") from error
        except _UNREACHABLE as error:
            raise CommitUnknownError(f"catalog, loading {name}: {error}") from error

    def head(self, name: str) -> Head:
        """Return what main's head says now. Raises CommitUnknownError when it has no position (a foreign commit)."""
        return self.head_of(name, self.table(name))

    def head_of(self, name: str, table: IcebergTable) -> Head:
        """Return what main's head says in a table already loaded."""
        snapshot = table.current_snapshot()
        summary = None if snapshot is None or snapshot.summary is None else snapshot.summary.additional_properties
        position = positions_of(name, summary)
        if snapshot is None or summary is None:
            raise CommitUnknownError(f"main of {name} has no snapshot")
        alarm = table.metadata.properties.get(POSITION)
        if name == LANDED and (alarm is None or json.loads(alarm) != position):
            raise CommitUnknownError(f"{name}: the position of main is {position}, its property says {alarm}; a foreign commit")
        listed = listed_holds_of(summary)
        return Head(name, snapshot.snapshot_id, position, tuple(self._described(name, entry) for entry in listed), listed)

    def place(self, locations: Mapping[str, str]) -> None:
        """Point tables to metadata files, all in one transaction: how a restore and a replica appear, whole or not at all."""
        self._make_catalog()
        if not isinstance(self._catalog, SqlCatalog):
            raise InvalidValueError(f"{_address(self.settings)}: tables are placed in a SQL catalog only, all in one transaction")
        internals.place_tables(self._catalog, locations)

    def _described(self, table: str, entry: dict[str, object]) -> Hold:
        """Return a hold as main lists it, with what the state database tells beyond that."""
        hold_id = str(entry["id"])
        told = self.state.document("hold", hold_id) or {"report": {"lost": "the state database does not describe this hold"}}
        return Hold(
            hold_id=hold_id,
            table=table,
            owner=str(entry["owner"]),
            before=dict(entry["before"]),  # type: ignore[call-overload]
            after=dict(entry["after"]),  # type: ignore[call-overload]
            run_id=str(entry["run"]),
            ranges=ranges_of(json.dumps(told.get("ranges", []))),
            row_count=int(str(entry["rows"])),
            counts=dict(told.get("counts", {})),
            report=dict(told.get("report", {})),
            held_at_ns=int(str(entry["at"])),
        )

    def fences(self) -> list[TableRequirement]:
        """Return what a commit asserts: that no lease of this process was taken by force (see lake/leases.py).

        Raises CommitConflictError when the state database knows already that one was.
        """
        held = self.state.leases.held()
        self.state.leases.check()
        return not_fenced_off(held.values())

    def _fence_off(self, lease: str, token: str) -> None:
        """Fence off the last holder of a lease taken by force from the tables that it may still want to commit to."""
        named = [name for name in TABLES if name in lease.split()]
        for name in named or TABLES:
            if self._catalog.table_exists(name):
                fence_off(lambda name=name: self.table(name), token)  # type: ignore[misc]

    def _listed(self) -> set[str]:
        """Return the names of the tables that the catalog lists."""
        catalog = self._catalog
        return {".".join(name) for namespace in catalog.list_namespaces() for name in catalog.list_tables(namespace)}

    def _make(self) -> None:
        self._make_catalog()
        listed = self._listed()
        missing = [table for table in TABLES.values() if table.name not in listed]
        if isinstance(self._catalog, SqlCatalog):
            self._list_new(self._catalog, missing)
        else:
            for table in missing:
                self._catalog.create_table(**self._definition(table))
                listed.add(table.name)
        for name in listed & set(TABLES):
            self._complete(TABLES[name])

    def _make_catalog(self) -> None:
        if isinstance(self._catalog, SqlCatalog):
            self._catalog.create_tables()
            if self._catalog.engine.dialect.name == "sqlite":
                # Kept in the file: readers go on while somebody commits, or was stopped in the middle of it.
                with self._catalog.engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        for name in sorted({table.namespace for table in TABLES.values()}):
            self._catalog.create_namespace_if_not_exists(name)

    def _definition(self, table: Table) -> dict[str, Any]:
        """Return what a catalog is told to make of a table."""
        properties = PROPERTIES | (_NO_BOUNDS if _PAYLOAD in table.column_names else {})
        if table.name == LANDED:
            properties[POSITION] = "{}"
        return {
            "identifier": table.name,
            "schema": table.iceberg_schema(),
            "location": table_location(self.settings, table.name),
            "partition_spec": partition_spec(table),
            "sort_order": sort_order(table),
            "properties": properties,
        }

    def _list_new(self, catalog: SqlCatalog, tables: Sequence[Table]) -> None:
        """Make tables, first snapshots and all, and list them in one transaction: they appear together or not at all."""
        if tables:
            written = {table.name: internals.write_new_table(catalog, self._definition(table), MAIN, _FIRST) for table in tables}
            try:
                internals.list_new_tables(catalog, written)
            except sqlalchemy.exc.IntegrityError as error:
                raise CommitConflictError(f"{_address(self.settings)}: somebody else made this lake meanwhile") from error

    def _complete(self, table: Table) -> None:
        """Bring a listed table to its definition, and give it the first snapshot that a crash may have left out."""
        created = self._catalog.load_table(table.name)
        evolve(created, table)
        if created.current_snapshot() is None:
            produced = internals.produce(created, (), (), _FIRST)
            absent, made = internals.points_to(MAIN, None), internals.point(MAIN, produced.snapshot_id)
            internals.commit(created, [absent], [*produced.updates, made])


def _refuse_unfinished(settings: Settings) -> None:
    if (settings.home / RESTORING).exists():
        raise SettingsError(f"a restore into {settings.home} did not end; run the same `tickhouse restore` again, or empty it")


def partition_spec(table: Table) -> PartitionSpec:
    """Return the Iceberg partition spec of a definition; names: column, column_day, column_month, column_bucket."""
    fields = []
    for number, (name, transform) in enumerate(table.partition):
        suffix = "" if transform == "identity" else f"_{transform.partition('[')[0]}"
        fields.append(
            PartitionField(
                source_id=table.column(name).field_id,
                field_id=1000 + number,
                transform=parse_transform(transform),
                name=name + suffix,
            )
        )
    return PartitionSpec(*fields)


def sort_order(table: Table) -> SortOrder:
    """Return the Iceberg sort order of a definition: ascending, nulls last."""
    return SortOrder(
        *[
            SortField(source_id=table.column(name).field_id, transform=IdentityTransform(), null_order=NullOrder.NULLS_LAST)
            for name in table.order
        ]
    )


def _sqlite_path(url: str) -> Path | None:
    prefix = "sqlite:///"
    return Path(url[len(prefix) :].partition("?")[0]) if url.startswith(prefix) else None


def _state_of(settings: Settings, clock: Clock) -> State:
    return State(settings.state_url, clock, settings.lease_timeout_s, lease_expiry_s=settings.lease_expiry_s)


def _address(settings: Settings) -> str:
    return f"catalog {without_password(settings.catalog_url)}"
