"""Retention: whole partitions dropped once they are older than a setting allows, and remembered as dropped.

What was dropped stands in a property of the table, set by the commit that drops: so it is true exactly when main lost the
rows, and it travels with the table. A question that only dropped rows could answer is refused (lake/dropped.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from pyiceberg.manifest import DataFile

from lake import iceberg_internals as internals
from lake.catalog import LANDED, Lake
from lake.commits import Plan, Summary, commit_to_main
from lake.dropped import BEFORE, PROPERTY, Dropped, dropped_of, property_of
from lake.errors import SettingsError
from lake.heads import Act, Head
from lake.maintenance.archiving import is_by_date
from lake.maintenance.choosing import Partition, day_of, end_of, partitions_of, provider_of, start_of
from lake.maintenance.rewriting import keeping_plan, writers_lease
from lake.plans import Plan as FilePlan
from lake.settings import Settings
from lake.tables import TABLES, Table, table_named


@dataclass(frozen=True, slots=True)
class Expired:
    """A partition that retention lets go."""

    partition: Partition
    files: tuple[DataFile, ...]
    provider: str | None
    start: date
    end: date
    days: int

    @property
    def rows(self) -> int:
        """Rows of the partition."""
        return sum(file.record_count for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of the partition."""
        return sum(file.file_size_in_bytes for file in self.files)


def check_rules(settings: Settings) -> None:
    """Refuse rules that could never drop what they say. Raises SettingsError."""
    layers = {table.namespace for table in TABLES.values()}
    for rule, days in settings.retention.items():
        where, _, provider = rule.partition("/")
        tables = [TABLES[where]] if where in TABLES else [one for one in TABLES.values() if one.namespace == where]
        possible = [one for one in tables if is_by_date(one) and (not provider or _has_provider(one))]
        if days < 1 or not possible or (where in TABLES and where.partition(".")[0] == "reference"):
            by_date = ", ".join(name for name, table in TABLES.items() if is_by_date(table))
            raise SettingsError(
                f"TICKHOUSE_RETENTION: {rule!r}: {days}; expected days from 1, by layer ({', '.join(sorted(layers))}) or by table"
                f" with partitions by date ({by_date}), each with /provider where it is filed by provider"
            )


def days_kept(settings: Settings, table: Table, provider: str | None) -> int | None:
    """Return how many days of a table and provider are kept; None: all. The narrowest rule counts."""
    rules = [f"{table.name}/{provider}", table.name, f"{table.namespace}/{provider}", table.namespace]
    return next((settings.retention[rule] for rule in rules if rule in settings.retention), None)


def expired(lake: Lake, name: str) -> list[Expired]:
    """Return the partitions of a table that its rules let go now. Raises SettingsError for rules that make no sense."""
    check_rules(lake.settings)
    table = table_named(name)
    today = day_of(lake.clock())
    found = []
    for partition, held in partitions_of(lake.table(name)).items():
        provider = provider_of(table, partition)
        days = days_kept(lake.settings, table, provider)
        start, end = start_of(table, partition), end_of(table, partition)
        if days is None or start is None or end is None or end > today - timedelta(days=days):
            continue
        if name == LANDED and not _is_promoted(lake, provider, held):
            continue
        found.append(Expired(partition, tuple(held), provider, start, end, days))
    return found


def drop(lake: Lake, name: str, gone: list[Expired], who: str) -> int:
    """Drop partitions from main in one commit that also remembers them, write it into the audit log, return the snapshot's id.

    Raises as `lake.commits.append` does; a file that is not on main any more is a CommitConflictError.
    """
    new = tuple(Dropped(one.provider, one.start, one.end, one.rows) for one in gone)
    remembered: list[str] = []
    keeping = keeping_plan(Act.RETAIN)

    def plan(head: Head) -> Summary:
        before = dropped_of(lake.table(name))
        remembered[:] = [property_of((*before, *new))]
        return {**keeping(head), BEFORE: property_of(before)}

    checked: Plan = plan
    files = [file for one in gone for file in one.files]
    with lake.state.lease(writers_lease(name)):
        snapshot_id = commit_to_main(
            lake,
            name,
            (),
            checked,
            None,
            extra=lambda: ((), (internals.set_property(PROPERTY, remembered[0]),)),
            replaced=files,
        )
    lake.steps.reached("retain.committed")
    detail = [
        {
            "provider": one.provider,
            "start": one.start,
            "end": one.end,
            "rows": one.rows,
            "files": len(one.files),
            "days": one.days,
        }
        for one in gone
    ]
    lake.state.audit(who, "retain", f"retention of {name}", {"table": name, "snapshot_id": snapshot_id, "dropped": detail})
    return snapshot_id


def _has_provider(table: Table) -> bool:
    return ("provider", "identity") in table.partition


def _is_promoted(lake: Lake, provider: str | None, held: list[DataFile]) -> bool:
    """Return whether every table that reads a provider is past all messages of some raw files."""
    messages = table_named(LANDED)
    plan = FilePlan(messages, 0, tuple(held), tuple(file.file_path for file in held))
    partitions, offsets = plan.bounds("log_partition"), plan.bounds("log_offset")
    readers = [head for head in (lake.head(name) for name in TABLES if name != LANDED) if provider in head.position]
    return bool(readers) and all(
        head.vector(str(provider)).get(str(partition), 0) > upper
        for head in readers
        for low, high, upper in zip(partitions[0], partitions[1], offsets[1], strict=True)
        for partition in range(int(low), int(high) + 1)
    )
