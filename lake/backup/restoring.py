"""Restore: the lake of a moment, into an empty place.

Nothing can be opened before everything is there: a marker stands in the home from the first file to the last proof. A
restore that was killed is finished by the same command; another one is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from lake.backup.checking import hashed
from lake.backup.cuts import held_files
from lake.backup.documents import get_object, object_key
from lake.backup.moments import Moment, landed, moment_of
from lake.backup.placing import Target, folder_of, place_data, place_metadata, prove
from lake.backup.stores import LocalStore, Store, put_bytes, warehouse_store
from lake.backup.tails import seed, unpack_blocks
from lake.backup.trees import File, content_of, summary_of, tree_of
from lake.catalog import RESTORING, Lake
from lake.databases import is_sqlite, tables_in
from lake.durable import make_folder, sync_folder, told_of
from lake.errors import CorruptedError, InvalidValueError
from lake.identity import Identity, Role, save_identity
from lake.instants import NANOS_PER_SECOND, Clock, to_datetime
from lake.log.log import HISTORY_TOPIC, RAW_TOPIC, Block
from lake.log.opening import open_log
from lake.log.segments import SegmentLog
from lake.profiles import is_rest, warehouse_location
from lake.restored import mark_restored
from lake.settings import Settings, without_password
from lake.steps import Steps


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. `at` is the moment that the lake is now of, `told` says how it relates to the one asked for."""

    backup: str
    asked: str | None
    at: str
    told: str
    is_between: bool
    rows: dict[str, int]
    contents: dict[str, str]
    files: int
    bytes: int
    log_blocks: int
    seconds: float

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return asdict(self)


def restore(store: Store, settings: Settings, clock: Clock, at_ns: int | None = None, steps: Steps | None = None) -> Restored:
    """Restore the lake of a moment (None: of the last backup) to the places of `settings`, prove it, and let it be opened.

    Raises InvalidValueError when a place is not empty, NotFoundError when no backup reaches back so far, CorruptedError
    that names an object or a placed file that is not what it was, StorageError when there is no room.
    """
    started_ns = clock()
    moment = moment_of(store, at_ns)
    _begin(settings, {"from": store.address, "backup": moment.backup.id, "at_ns": moment.at_ns})
    warehouse = warehouse_store(settings)
    warehouse.tidy()
    with Lake(settings, clock, steps) as lake:
        placed = {name: _place_table(lake, store, moment, name, warehouse) for name in moment.mains}
        lake.state.create()
        lake.state.load(moment.state)
        told = f"restored from backup {moment.backup.id} of {store.address}, as of {to_datetime(moment.at_ns).isoformat()}"
        save_identity(lake.state, Identity(moment.backup.lake_id, moment.backup.epoch + 1, Role.PRIMARY, told))
        mark_restored(lake.state, clock())
        lake.steps.reached("restore.state")
        blocks = _restore_log(lake, store, moment)
        lake.steps.reached("restore.log")
        lake.place({name: one.location for name, one in placed.items()})
        contents = {name: _prove_table(lake, moment, name, one) for name, one in placed.items()}
        lake.state.audit("restore", "restore", told, {"asked_ns": at_ns})
        warehouse.tidy()
        (settings.home / RESTORING).unlink()
        sync_folder(settings.home)
        lake.steps.reached("restore.opened")
    return Restored(
        backup=moment.backup.id,
        asked=None if at_ns is None else to_datetime(at_ns).isoformat(),
        at=to_datetime(moment.at_ns).isoformat(),
        told=_told(moment, at_ns),
        is_between=moment.backup.is_between,
        rows={name: int(summary_of(main).get("total-records", "0")) for name, main in moment.mains.items()},
        contents=contents,
        files=sum(one.files for one in placed.values()),
        bytes=sum(one.bytes for one in placed.values()),
        log_blocks=blocks,
        seconds=(clock() - started_ns) / NANOS_PER_SECOND,
    )


@dataclass(frozen=True, slots=True)
class _Placed:
    target: Target
    metadata: str
    held: list[File]
    content: str
    files: int
    bytes: int

    @property
    def location(self) -> str:
        return f"{self.target.location}/{self.metadata}"


def _begin(settings: Settings, plan: dict[str, object]) -> None:
    """Mark the home, which must be empty or hold the same restore begun before."""
    if is_rest(settings.catalog_url):
        raise InvalidValueError("a restore places all tables in one transaction, which a REST catalog has not; see lake/backup")
    marker = settings.home / RESTORING
    if marker.exists():
        begun = json.loads(marker.read_text(encoding="utf-8"))
        if begun != plan:
            raise InvalidValueError(f"{settings.home} holds another restore that did not end ({begun}); empty it first")
        return
    folders = [settings.warehouse] if isinstance(settings.warehouse, Path) else []
    files = [settings.home, *folders, settings.log_path, *_sqlite_files(settings)]
    used = [str(place) for place in files if place.is_file() or (place.is_dir() and any(place.iterdir()))]
    if not folders and any(warehouse_store(settings).list("")):
        used.append(str(settings.warehouse))
    databases = {url for url in (settings.catalog_url, settings.state_url) if not is_sqlite(url)}
    used += [without_password(url) for url in sorted(databases) if tables_in(url)]
    if used:
        raise InvalidValueError(f"{used[0]} is not empty; a restore goes into an empty place only")
    with told_of(f"restoring to {settings.home}"):
        make_folder(settings.home)
    put_bytes(LocalStore(settings.home), RESTORING, json.dumps(plan).encode())
    LocalStore(settings.home).tidy()


def _sqlite_files(settings: Settings) -> Iterator[Path]:
    for url in (settings.catalog_url, settings.state_url):
        if url.startswith("sqlite:///"):
            yield Path(url.removeprefix("sqlite:///"))


def _place_table(lake: Lake, store: Store, moment: Moment, name: str, warehouse: Store) -> _Placed:
    main, listing = moment.mains[name], moment.listings[name]
    source = main["location"]
    target = Target(warehouse, warehouse_location(lake.settings), folder_of(source))

    def read(path: str) -> bytes:
        return get_object(store, listing[path][0])

    def chunks(file: File) -> Iterator[bytes]:
        digest = listing[file.path][0]
        return hashed(store.read(object_key(digest)), digest, f"{object_key(digest)} ({name}/{file.path})")

    tree = tree_of(main, read)
    held = [File(one.path, listing[one.path][1], one.location) for one in held_files(source, moment.holds(name), moment.state)]
    data = [file for path, file in tree.files.items() if not path.startswith("metadata/")]
    place_data(target, [*held, *data], chunks, partial(lake.steps.reached, "restore.files"))
    metadata = moment.backup.tables[name].metadata
    place_metadata(target, main, metadata, read)
    moved_held = [File(one.path, one.size, f"{target.location}/{one.path}") for one in held]
    content = content_of(tree.heads[main["current-snapshot-id"]], {path: digest for path, (digest, _) in listing.items()})
    return _Placed(target, metadata, moved_held, content, len(held) + len(data), sum(file.size for file in [*held, *data]))


def _prove_table(lake: Lake, moment: Moment, name: str, placed: _Placed) -> str:
    """Return the content hash of a restored table, proved against the backup's, and its head as the lake opens it."""
    content = prove(placed.target, placed.metadata, moment.listings[name], placed.held)
    if content != placed.content:
        raise CorruptedError(f"{name}: the restored files have the hash {content}, the backup's {placed.content}")
    head = lake.head(name)
    if head.position != moment.positions[name] or head.snapshot_id != moment.mains[name]["current-snapshot-id"]:
        raise CorruptedError(f"{name}: opened at snapshot {head.snapshot_id}, position {head.position}; not as backed up")
    return content


def _restore_log(lake: Lake, store: Store, moment: Moment) -> int:
    """Make the embedded log anew where tables left it; return how many blocks it holds. A log on Kafka is as it is."""
    if lake.settings.log_url:
        return 0
    count = 0
    with closing(open_log(lake.settings, lake.clock)) as log:  # type: ignore[type-var]
        assert isinstance(log, SegmentLog)
        for topic, partition, base, objects in _seeds(moment):
            blocks: Iterator[Block] = (block for digest in objects for _, block in unpack_blocks(get_object(store, digest)))
            least_next = max(landed(moment, topic, partition), default=base)
            count += seed(log, topic, partition, base, blocks, least_next)
    return count


def _seeds(moment: Moment) -> Iterator[tuple[str, int, int, list[str]]]:
    """Yield (topic, partition, first offset, objects of blocks) of every partition that is to be there."""
    if moment.is_own and moment.backup.tails:
        for tail in moment.backup.tails:
            yield tail.topic, tail.partition, tail.first, tail.objects
        return
    for topic in (RAW_TOPIC, HISTORY_TOPIC):
        owner = "raw" if topic == RAW_TOPIC else "history"
        vectors = [owners.get(owner, {}) for owners in moment.positions.values()]
        for partition in sorted({int(number) for vector in vectors for number in vector}):
            yield topic, partition, min(landed(moment, topic, partition)), []


def _told(moment: Moment, at_ns: int | None) -> str:
    own = f"the own moment of backup {moment.backup.id}, with every block its log held"
    if at_ns is None or moment.at_ns == at_ns:
        if moment.is_own:
            return own
        return (
            f"heads as they were then, by main's logs in backup {moment.backup.id}; what was captured by then and landed later is"
            " not there: the backup's own moment has it"
        )
    return f"no backup reaches back to the moment asked for: {own}"
