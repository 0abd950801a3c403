"""Which data files are worth rewriting: partition by partition, from what main's manifests and the disk say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from lake import iceberg_internals as internals
from lake.durable import is_below, listed, place_of
from lake.instants import EPOCH, NANOS_PER_SECOND
from lake.maintenance.rewriting import Place
from lake.tables import Table

SMALL_PART = 0.75
"""A file below this part of the target is small; above it a rewrite would win little."""
HOT_PART = 0.125
"""In a partition that is still written to only files below this part are taken, so that no row is rewritten again and again."""
MOST_BYTES = 1 << 30
"""Most bytes of one rewrite: bounds its disk for spilling and what a crash can waste."""

Partition = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one partition that are rewritten together."""

    table: str
    partition: Partition
    files: tuple[DataFile, ...]
    reason: str

    @property
    def bytes(self) -> int:
        """Size of the files."""
        return sum(file.file_size_in_bytes for file in self.files)


def partitions_of(iceberg: IcebergTable) -> dict[Partition, list[DataFile]]:
    """Return the data files of main of the table as loaded, by partition values as Iceberg stores them."""
    snapshot = iceberg.current_snapshot()
    found: dict[Partition, list[DataFile]] = defaultdict(list)
    for file in internals.files_of(iceberg, snapshot.snapshot_id) if snapshot is not None else []:
        found[tuple(file.partition[number] for number in range(len(iceberg.spec().fields)))].append(file)
    return dict(sorted(found.items(), key=lambda item: tuple((value is None, str(value)) for value in item[0])))


def to_compact(iceberg: IcebergTable, table: Table, place: Place, now_ns: int, quiet_s: float, least_files: int) -> list[Group]:
    """Return what compaction should rewrite: small files of quiet partitions, and many tiny ones of busy partitions.

    quiet_s       a partition whose newest file is older is quiet
    least_files   tiny files that a busy partition must have
    """
    own = place_of(iceberg.location())
    here_by = {
        partition: [file for file in found if is_below(place_of(file.file_path), own)]
        for partition, found in partitions_of(iceberg).items()
    }
    several = {partition: here for partition, here in here_by.items() if len(here) > 1}
    written = {path: at_ns for path, _, at_ns in listed(own / "data")} if several else {}
    groups: list[Group] = []
    for partition, here in several.items():
        # A file that is not there any more was replaced meanwhile, by something newer.
        newest_ns = max(written.get(place_of(file.file_path), 1 << 62) for file in here)
        is_quiet = newest_ns < now_ns - int(quiet_s * NANOS_PER_SECOND)
        most = place.target_bytes * (SMALL_PART if is_quiet else HOT_PART)
        small = [file for file in here if file.file_size_in_bytes < most]
        if len(small) >= (2 if is_quiet else max(2, least_files)):
            groups += _cut(table.name, partition, small, "quiet" if is_quiet else "many small files")
    return [group for group in groups if len(group.files) > 1]


def to_archive(iceberg: IcebergTable, table: Table, place: Place, before: date) -> list[Group]:
    """Return what the archive should take: files of partitions that end before a date and are not there yet."""
    groups: list[Group] = []
    for partition, found in partitions_of(iceberg).items():
        end = end_of(table, partition)
        assert place.root is not None
        here = [file for file in found if not is_below(place_of(file.file_path), place.root)]
        if end is not None and end <= before and here:
            groups += _cut(table.name, partition, here, f"closed before {before}")
    return groups


def end_of(table: Table, partition: Partition) -> date | None:
    """Return the first date behind a partition of days or months; None when the table is not partitioned by time."""
    for (name, transform), value in zip(table.partition, partition, strict=True):
        kind = table.column(name).type
        if value is None or kind not in ("date", "timestamptz"):
            continue
        number = value if isinstance(value, int) else int(str(value))
        if transform == "month":
            year, month = divmod(number + 1, 12)
            return date(1970 + year, month + 1, 1)
        if transform == "day" or (transform == "identity" and kind == "date"):
            return EPOCH.date() + timedelta(days=number + 1)
    return None


def start_of(table: Table, partition: Partition) -> date | None:
    """Return the first date of a partition; see `end_of`."""
    end = end_of(table, partition)
    if end is None:
        return None
    is_month = any(transform == "month" for _, transform in table.partition)
    return (end - timedelta(days=1)).replace(day=1) if is_month else end - timedelta(days=1)


def provider_of(table: Table, partition: Partition) -> str | None:
    """Return the provider that a partition is of; None when the table is not partitioned by provider."""
    for (name, transform), value in zip(table.partition, partition, strict=True):
        if name == "provider" and transform == "identity":
            return str(value)
    return None


def told(table: Table, partition: Partition) -> str:
    """Return a partition's values for a person."""
    parts = []
    for (name, transform), value in zip(table.partition, partition, strict=True):
        if transform in ("day", "month") or table.column(name).type == "date":
            parts.append(str(start_of(table, partition)))
        else:
            parts.append(f"{name} {value}" if transform.startswith("bucket") else str(value))
    return " ".join(parts) or "whole table"


def day_of(now_ns: int) -> date:
    """Return the UTC date of an instant."""
    found: datetime = EPOCH + timedelta(microseconds=now_ns // 1_000)
    return found.date()


def _cut(name: str, partition: Partition, found: Sequence[DataFile], reason: str) -> list[Group]:
    """Return the files of a partition in groups of at most MOST_BYTES, or of one larger file."""
    groups: list[list[DataFile]] = [[]]
    size = 0
    for file in sorted(found, key=lambda one: (one.file_size_in_bytes, one.file_path)):
        if groups[-1] and size + file.file_size_in_bytes > MOST_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(file)
        size += file.file_size_in_bytes
    return [Group(name, partition, tuple(group), reason) for group in groups]
