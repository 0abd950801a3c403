"""Maintain: every kind of upkeep of every table, in the order in which one makes work for the next, and what it saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lake.catalog import Lake
from lake.dropped import dropped_of
from lake.durable import told_of
from lake.encodings import QUIET_ZSTD_LEVEL
from lake.errors import CommitConflictError
from lake.expiry import SLACK, expire
from lake.instants import NANOS_PER_SECOND
from lake.log.log import Log
from lake.log.segments import SegmentLog
from lake.maintenance.archiving import archive_groups
from lake.maintenance.choosing import Group, to_compact, told
from lake.maintenance.manifests import is_worth_it, manifest_sizes, rewrite_manifests
from lake.maintenance.measuring import Prices, Size, bytes_in, size_of
from lake.maintenance.retention import Expired, drop, expired
from lake.maintenance.rewriting import Place, Rewrite, rewrite, spill_folder
from lake.maintenance.sweep import Swept, sweep
from lake.maintenance.works import WORKS
from lake.tables import TABLES, table_named

Say = Callable[[str], None]
Wanted = Callable[[Lake, str], Collection[int]]


@dataclass(slots=True)
class Maintained:
    """What was done for one table, or would be (`plan_only`).

    planned    what is due, in words
    trouble    what could not be done now, and why: somebody else committed meanwhile, mostly
    """

    table: str
    before: Size
    after: Size
    planned: list[str] = field(default_factory=list)
    rewrites: list[Rewrite] = field(default_factory=list)
    dropped: list[dict[str, object]] = field(default_factory=list)
    snapshots_expired: int = 0
    swept: Swept = field(default_factory=Swept)
    trouble: list[str] = field(default_factory=list)

    @property
    def is_idle(self) -> bool:
        """Whether nothing was due."""
        return not (self.planned or self.snapshots_expired or self.swept.dead_files)

    @property
    def saved_bytes(self) -> int:
        """Bytes by which main's data files became fewer."""
        return self.before.bytes - self.after.bytes

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "table": self.table,
            "before": self.before.document(),
            "after": self.after.document(),
            "planned": self.planned,
            "rewrites": [{**asdict(one), "partition": [str(value) for value in one.partition]} for one in self.rewrites],
            "dropped": self.dropped,
            "snapshots_expired": self.snapshots_expired,
            "swept": {**asdict(self.swept), "waiting": self.swept.waiting},
            "saved_bytes": self.saved_bytes,
            "trouble": self.trouble,
        }


@dataclass(slots=True)
class Report:
    """What maintenance did, table by table."""

    prices: Prices
    tables: list[Maintained] = field(default_factory=list)
    log_bytes: int = 0
    leftovers: int = 0
    plan_only: bool = False

    @property
    def saved_bytes(self) -> int:
        """Bytes by which data files became fewer, archive included."""
        return sum(one.saved_bytes for one in self.tables)

    @property
    def freed_bytes(self) -> int:
        """Bytes of dead files deleted from the disk."""
        return sum(one.swept.deleted_bytes for one in self.tables)

    @property
    def saved_a_month(self) -> float:
        """Money a month by which main's data files became cheaper: fewer bytes, or a cheaper place."""
        return sum(self.prices.of_table(one.before) - self.prices.of_table(one.after) for one in self.tables)

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        stored = sum(one.after.bytes for one in self.tables)
        dead = sum(one.swept.dead_bytes - one.swept.deleted_bytes for one in self.tables)
        return {
            "plan_only": self.plan_only,
            "tables": [one.document() for one in self.tables],
            "stored_bytes": stored,
            "dead_bytes": dead,
            "saved_bytes": self.saved_bytes,
            "freed_bytes": self.freed_bytes,
            "log_bytes": self.log_bytes,
            "leftovers_removed": self.leftovers,
            "price_gb_month": self.prices.gb_month,
            "archive_price_gb_month": self.prices.archive_gb_month,
            "costs_a_month": round(sum(self.prices.of_table(one.after) for one in self.tables) + self.prices.of_bytes(dead), 6),
            "saved_a_month": round(self.saved_a_month, 6),
            "freed_a_month": round(self.prices.of_bytes(self.freed_bytes), 6),
        }


def maintain(
    lake: Lake,
    tables: Sequence[str] = (),
    works: Sequence[str] = WORKS,
    log: Log | None = None,
    who: str = "maintain",
    *,
    plan_only: bool = False,
    slack: int = 0,
    rewrites: int | None = None,
    wanted: Wanted = lambda lake, table: frozenset(),
    say: Say = lambda words: None,
) -> Report:
    """Do what is due, table by table; safe beside a running pipeline, to repeat, and after any crash.

    works      some of WORKS
    plan_only  say what is due and change nothing
    slack      snapshots beyond the setting before expiry is worth a commit
    rewrites   most rewrites of data files of this call; None: all that are due
    wanted     (lake, table) -> snapshots that expiry must keep, beside its own: consumers have still to compare them

    What somebody else's commit came in the way of is told as trouble and due again. Raises NotFoundError for an unknown table,
    CorruptedError when files do not hold what main says, StorageError when disk or store refuse: nothing half done counts.
    """
    report = Report(Prices.of(lake.settings), plan_only=plan_only)
    left = rewrites
    for name in [table_named(name).name for name in tables] or sorted(TABLES):
        say(f"maintaining {name}")
        with lake.state.lease(f"maintain {name}") as token, told_of(f"maintaining {name}"):
            done = _one(lake, name, works, who, plan_only, slack, left, token, wanted, say)
        report.tables.append(done)
        left = None if left is None else left - len(done.rewrites)
    if not plan_only and "sweep" in works:
        report.leftovers = _drop_leftovers(lake)
        if isinstance(log, SegmentLog):
            log.tidy()
    report.log_bytes = bytes_in(lake.settings.log_path) if isinstance(log, SegmentLog) else 0
    return report


def compacted_place(lake: Lake) -> Place:
    """Return where and how compaction writes."""
    return Place("compact", None, QUIET_ZSTD_LEVEL, lake.settings.compact_target_bytes)


def _one(
    lake: Lake,
    name: str,
    works: Sequence[str],
    who: str,
    plan_only: bool,
    slack: int,
    left: int | None,
    token: str,
    wanted: Wanted,
    say: Say,
) -> Maintained:
    before = size_of(lake, name)
    done = Maintained(name, before, before)
    settings = lake.settings
    if "retain" in works:
        _retain(lake, name, who, plan_only, done)
    todo: list[tuple[Place, Group]] = []
    archive = archive_groups(lake, name) if "archive" in works else None
    archived = {file.file_path for group in archive[1] for file in group.files} if archive else set()
    if "compact" in works:
        place = compacted_place(lake)
        groups = to_compact(
            lake.table(name), table_named(name), place, lake.clock(), settings.compact_quiet_s, settings.compact_files
        )
        todo += [(place, group) for group in groups if not archived & {file.file_path for file in group.files}]
    if archive is not None:
        todo += [(archive[0], group) for group in archive[1]]
    for place, group in todo if left is None else todo[: max(left, 0)]:
        words = f"{place.kind} {told(table_named(name), group.partition)}: {len(group.files)} files, {group.bytes:,} bytes"
        done.planned.append(f"{words} ({group.reason})")
        if not plan_only:
            say(f"{name}: {words}")
            _tried(
                done,
                lambda place=place, group=group: done.rewrites.append(  # type: ignore[misc]
                    rewrite(lake, name, group.partition, group.files, place)
                ),
            )
    if "manifests" in works and is_worth_it(sizes := manifest_sizes(lake.table(name))):
        done.planned.append(f"manifests: {len(sizes)} of {sum(sizes):,} bytes")
        if not plan_only:
            _tried(done, lambda: rewrite_manifests(lake, name))
    _expire_and_sweep(lake, name, works, plan_only, slack, token, wanted, done)
    if not plan_only:
        done.after = size_of(lake, name)
    return done


def _expire_and_sweep(
    lake: Lake, name: str, works: Sequence[str], plan_only: bool, slack: int, token: str, wanted: Wanted, done: Maintained
) -> None:
    if "expire" in works:
        extra = len(lake.table(name).metadata.snapshots) - lake.settings.keep_snapshots
        if extra > slack:
            done.planned.append(f"expire: up to {extra} snapshots")
        if not plan_only:
            done.snapshots_expired = expire(lake, name, lake.settings.keep_snapshots, slack, wanted(lake, name))
    if "sweep" in works:
        done.swept = sweep(lake, name, lake.settings.sweep_after_s, token, lease=f"maintain {name}", plan_only=plan_only)


def _retain(lake: Lake, name: str, who: str, plan_only: bool, done: Maintained) -> None:
    gone: list[Expired] = expired(lake, name)
    for one in gone:
        words = told(table_named(name), one.partition)
        done.planned.append(f"retain {words}: drop {one.rows:,} rows, {one.bytes:,} bytes, older than {one.days} days")
    if gone and not plan_only:
        _tried(done, lambda: drop(lake, name, gone, who))
    done.dropped = [one.document() for one in dropped_of(lake.table(name))]


def _tried(done: Maintained, act: Callable[[], object]) -> None:
    """Do something that another's commit may come in the way of: then it is due again the next time."""
    try:
        act()
    except CommitConflictError as error:
        done.trouble.append(str(error))


def _drop_leftovers(lake: Lake) -> int:
    """Remove what killed rewrites spilled; what a living one spills is new."""
    limit_ns = lake.clock() - int(lake.settings.sweep_after_s * NANOS_PER_SECOND)
    count = 0
    folder = spill_folder(lake)
    with lake.state.lease("maintain spill"):
        for left in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _newest_ns(left) <= limit_ns:
                shutil.rmtree(left)
                count += 1
    return count


def _newest_ns(folder: Path) -> int:
    try:
        return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return 1 << 62


__all__ = ["SLACK", "WORKS", "Maintained", "Report", "maintain"]
