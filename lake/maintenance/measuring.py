"""How much a table is: files, bytes, rows, snapshots, manifests; and what a byte costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from lake import iceberg_internals as internals
from lake.catalog import Lake
from lake.durable import is_below, listed, place_of
from lake.maintenance.archiving import archive_root
from lake.maintenance.manifests import manifest_sizes
from lake.settings import Settings

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """A table at one moment: main's data files, and what stands beside them."""

    files: int
    bytes: int
    rows: int
    snapshots: int
    manifests: int
    archived_bytes: int

    @property
    def bytes_a_row(self) -> float | None:
        """Bytes a row of the data files; None without rows."""
        return self.bytes / self.rows if self.rows else None

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        told = self.bytes_a_row
        return {**asdict(self), "bytes_a_row": None if told is None else round(told, 2)}


def size_of(lake: Lake, name: str) -> Size:
    """Return how much a table is now."""
    seen = lake.table(name)
    snapshot = seen.current_snapshot()
    found = internals.files_of(seen, snapshot.snapshot_id) if snapshot is not None else []
    root = archive_root(lake.settings, name)
    archived = [one for one in found if root is not None and is_below(place_of(one.file_path), root)]
    return Size(
        files=len(found),
        bytes=sum(one.file_size_in_bytes for one in found),
        rows=sum(one.record_count for one in found),
        snapshots=len(seen.metadata.snapshots),
        manifests=len(manifest_sizes(seen)),
        archived_bytes=sum(one.file_size_in_bytes for one in archived),
    )


def bytes_in(folder: Path) -> int:
    """Return the bytes of all files in a folder; one that goes meanwhile counts nothing."""
    return sum(size for _, size, _ in listed(folder))


@dataclass(frozen=True, slots=True)
class Prices:
    """What a gigabyte costs a month: where the tables are, and in the archive."""

    gb_month: float
    archive_gb_month: float

    @classmethod
    def of(cls, settings: Settings) -> Prices:
        """Return the prices of the settings; an archive without one costs as much as the rest."""
        archive = settings.archive_price_gb_month
        return cls(settings.price_gb_month, settings.price_gb_month if archive is None else archive)

    def of_bytes(self, size: int) -> float:
        """Return what it costs to store some bytes for a month, out of the archive."""
        return size / GIGABYTE * self.gb_month

    def of_table(self, size: Size) -> float:
        """Return what it costs to store a table's data files for a month."""
        return self.of_bytes(size.bytes - size.archived_bytes) + size.archived_bytes / GIGABYTE * self.archive_gb_month
