"""The archive tier: closed partitions of chosen tables, written with zstd 19 into another location; the table reads on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from lake.catalog import Lake
from lake.durable import Place as FilePlace
from lake.durable import place_of
from lake.errors import SettingsError
from lake.maintenance.choosing import Group, day_of, end_of, to_archive
from lake.maintenance.rewriting import Place
from lake.settings import Settings
from lake.tables import TABLES, Table, table_named

ARCHIVE_LEVEL = 19


def archive_root(settings: Settings, name: str) -> FilePlace | None:
    """Return the folder of a table's archived files, or their place in a bucket; None without an archive."""
    if not settings.archive_location:
        return None
    place = place_of(settings.archive_location)
    return (place.absolute() if isinstance(place, Path) else place) / name


def archive_place(settings: Settings, name: str) -> Place | None:
    """Return where and how the table's closed partitions are archived; None when they are not.

    Raises SettingsError for a table that does not exist or has no dates to be closed by.
    """
    unknown = [one for one in settings.archive_tables if one not in TABLES or not is_by_date(TABLES[one])]
    if unknown:
        possible = ", ".join(one for one, table in TABLES.items() if is_by_date(table))
        raise SettingsError(f"TICKHOUSE_ARCHIVE_TABLES: {', '.join(unknown)} cannot be archived by date; possible: {possible}")
    root = archive_root(settings, name)
    if root is None or name not in settings.archive_tables:
        return None
    return Place("archive", root, ARCHIVE_LEVEL, settings.compact_target_bytes)


def archive_groups(lake: Lake, name: str) -> tuple[Place, list[Group]] | None:
    """Return what is to be archived of a table now, and where; None when it is not archived."""
    place = archive_place(lake.settings, name)
    if place is None:
        return None
    before = day_of(lake.clock()) - timedelta(days=lake.settings.archive_after_days)
    return place, to_archive(lake.table(name), table_named(name), place, before)


def is_by_date(table: Table) -> bool:
    """Return whether a table's partitions end at a date."""
    return end_of(table, tuple(0 for _ in table.partition)) is not None
