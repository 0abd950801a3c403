"""A replica: the same lake in a second folder, read at once, brought up to date by the primary, promoted by one command.

A sync copies data files that are not there, writes metadata for the new place, replaces the state rows and points the
replica's catalog to all tables at once: readers see the moment before or the moment after, never between. Log blocks that
tables do not have lie beside it until the promotion makes a log of them.

Two generations are kept apart by a number: promoting raises it. The primary that syncs to a promoted replica is refused and
fences itself; with its place in reach the promotion fences it at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from lake.backup.cuts import PATIENCE_S, Cut, TableCut, Tail, read_chunks, take_cut
from lake.backup.pins import LEASE, pinned
from lake.backup.placing import Target, folder_of, place_data, place_metadata
from lake.backup.stores import LocalStore, get, put_bytes
from lake.backup.tails import pack_blocks, seed, unpack_blocks
from lake.backup.trees import File
from lake.catalog import Lake
from lake.durable import make_folder, told_of
from lake.errors import CommitConflictError, CorruptedError, InvalidValueError, NotFoundError, SettingsError
from lake.identity import Identity, Role, fence, identity_of, named_identity, save_identity
from lake.instants import NANOS_PER_SECOND, Clock, to_datetime
from lake.log.log import Block, Log
from lake.log.opening import open_log
from lake.log.segments import SegmentLog
from lake.restored import mark_restored
from lake.settings import Settings, without_password
from lake.state import State
from lake.steps import Steps
from lake.tables import TABLES

SYNCED = "replica:synced"
"""Job document in the replica's state: what the last sync brought, from where."""
_TAILS = "tails"
_ATTEMPTS = 5
_TAIL_BYTES = 8 << 20
_OF_PROCESSES = {"pin", "place", "dead", "topic"}


@dataclass(frozen=True, slots=True)
class Synced:
    """What one sync did."""

    at: str
    is_between: bool
    new_files: int
    new_bytes: int
    log_blocks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one table of a replica is behind: snapshots of main that are not there, and the ages of the newest and oldest."""

    table: str
    missing: int
    newest_s: float
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a promotion did. `fenced`: whether the old primary was in reach and refuses commits from now on."""

    epoch: int
    at: str
    log_blocks: int
    fenced: bool
    told: str


def at_home(settings: Settings, home: Path) -> Settings:
    """Return the same settings for a lake in another folder, everything embedded but the log's address."""
    place = home.expanduser().resolve()
    places = {
        "home": place,
        "warehouse": place / "warehouse",
        "log_path": place / "log",
        "catalog_url": f"sqlite:///{place / 'catalog.db'}",
        "state_url": f"sqlite:///{place / 'state.db'}",
        "kill_at": "",
        "backup_every_s": 0.0,
        "drill_every_s": 0.0,
        "replica_every_s": 0.0,
    }
    return settings.model_copy(update=places)


def sync(lake: Lake, home: Path, log: Log | None, patience_s: float = PATIENCE_S) -> Synced:
    """Bring the replica at `home` to the moment of now; makes it when there is none. Killed at any time, the next goes on.

    log   the embedded log; None: the log is on Kafka

    Raises SettingsError when the place holds another lake, or was promoted: this lake is fenced then.
    """
    started_ns = lake.clock()
    with lake.state.lease(LEASE):
        mine = named_identity(lake.state)
        if mine.role is not Role.PRIMARY:
            raise SettingsError(f"only a primary syncs; this lake is a {mine.role.value}: {mine.told}")
        with closing(_replica(lake, home, mine)) as replica:
            for _ in range(_ATTEMPTS):
                cut = take_cut(lake, log, patience_s)
                try:
                    with pinned(lake, "replica", cut):
                        done = _bring(lake, replica, cut, log, mine)
                except NotFoundError:
                    continue  # a hold was released, or the log dropped what has landed since: another moment
                return replace(done, seconds=(lake.clock() - started_ns) / NANOS_PER_SECOND)
    raise CommitConflictError(f"files of {_ATTEMPTS} moments in a row were gone before they were read")


def lag(lake: Lake, home: Path) -> list[Lag]:
    """Return how far the replica at `home` is behind, by table. Raises NotFoundError when there is none."""
    now_ms = lake.clock() // 1_000_000
    found = []
    with Lake.open(at_home(lake.settings, home), lake.clock) as replica:
        for name in TABLES:
            there = {entry.snapshot_id for entry in replica.table(name).metadata.snapshot_log}
            entries = lake.table(name).metadata.snapshot_log
            known = [number for number, entry in enumerate(entries) if entry.snapshot_id in there]
            missing = entries[known[-1] + 1 :] if known else entries
            ages = [(now_ms - entry.timestamp_ms) / 1_000 for entry in missing]
            found.append(Lag(name, len(missing), ages[-1] if ages else 0.0, ages[0] if ages else 0.0))
    return found


def promote(settings: Settings, clock: Clock, steps: Steps | None = None) -> Promoted:
    """Make the replica of `settings` the lake to write: its log begins where its tables end, its generation is the next.

    Repeating it changes nothing. Raises SettingsError when the place holds no replica.
    """
    with Lake.open(settings, clock, steps) as lake, lake.state.lease(LEASE):
        mine = identity_of(lake.state)
        synced = lake.state.job(SYNCED)
        if synced is None or mine.role is Role.FENCED:
            raise SettingsError(f"{settings.home} is no replica: {mine.told}")
        blocks = _seed_log(lake, synced)
        lake.steps.reached("replica.seeded")
        if mine.role is Role.REPLICA:
            told = f"promoted from a replica of {synced['from']} as of {synced['at']}"
            mine = Identity(mine.lake_id, mine.epoch + 1, Role.PRIMARY, told)
            mark_restored(lake.state, clock())
            save_identity(lake.state, mine)
            lake.state.audit("replica", "promote", told)
        lake.steps.reached("replica.promoted")
        fenced = _fence_old(lake, mine, synced)
        return Promoted(mine.epoch, str(synced["at"]), blocks, fenced, mine.told)


def _replica(lake: Lake, home: Path, mine: Identity) -> Lake:
    """Return the replica's lake, its state made. Raises SettingsError when this lake has no business there."""
    settings = at_home(lake.settings, home)
    if settings.home == lake.settings.home:
        raise InvalidValueError(f"{settings.home} is the lake itself; a replica needs another place")
    has_state = (settings.home / "state.db").exists()
    if not has_state and settings.home.exists() and any(settings.home.iterdir()):
        raise InvalidValueError(f"{settings.home} is not empty and holds no replica")
    catalog = settings.home / "catalog.db"
    has_catalog = catalog.exists() and catalog.stat().st_size > 0
    with told_of(f"making the replica at {settings.home}"):
        make_folder(settings.home)
    replica = Lake(settings, lake.clock, lake.steps)
    try:
        replica.state.create()
        theirs = identity_of(replica.state)
        if not theirs.lake_id:
            if has_catalog:
                raise SettingsError(f"{settings.home} holds a lake of its own, not a replica of this one")
            theirs = Identity(mine.lake_id, mine.epoch, Role.REPLICA, f"replica of {lake.settings.home}")
            save_identity(replica.state, theirs)
        if theirs.lake_id != mine.lake_id:
            raise SettingsError(f"{settings.home} holds another lake ({theirs.lake_id}), not a replica of this one")
        if theirs.epoch > mine.epoch:
            fence(lake.state, theirs, str(settings.home))
            raise SettingsError(f"{settings.home} was promoted to generation {theirs.epoch}; this lake is fenced, open that one")
        if theirs.role is not Role.REPLICA:
            raise SettingsError(f"{settings.home} is no replica: {theirs.told}")
        if theirs.epoch < mine.epoch:  # what promoted us has taken over the other replicas
            save_identity(replica.state, replace(theirs, epoch=mine.epoch))
    except BaseException:
        replica.close()
        raise
    return replica


def _bring(lake: Lake, replica: Lake, cut: Cut, log: Log | None, mine: Identity) -> Synced:
    warehouse = LocalStore(replica.settings.warehouse_folder)
    warehouse.tidy()
    beside = LocalStore(replica.settings.home)
    files = size = 0
    locations = {}
    for name, table in cut.tables.items():
        target = Target(warehouse, f"file://{replica.settings.warehouse_folder}", folder_of(table.location))
        added, added_bytes, locations[name] = _bring_table(lake, target, table, cut)
        files, size = files + added, size + added_bytes
    tails = [_bring_tail(beside, tail, log) for tail in cut.tails if log is not None]
    lake.steps.reached("replica.copied")
    document = {
        "at": to_datetime(cut.at_ns).isoformat(),
        "at_ns": cut.at_ns,
        "from": str(lake.settings.home),
        "from_state": without_password(lake.settings.state_url),
        "is_between": cut.is_between,
        "tails": tails,
    }
    replica.state.load(_rows(cut, identity_of(replica.state), document))
    lake.steps.reached("replica.state")
    replica.place(locations)
    lake.steps.reached("replica.listed")
    _forget_tails(beside, tails)
    blocks = sum(tail.next - tail.first for tail in cut.tails)
    return Synced(str(document["at"]), cut.is_between, files, size, blocks, 0.0)


def _bring_table(lake: Lake, target: Target, table: TableCut, cut: Cut) -> tuple[int, int, str]:
    location = f"{target.location}/{table.metadata_path}"
    if target.store.size(target.key(table.metadata_path)) is not None:
        return 0, 0, location  # nothing moved since: the document is written last
    held = [File(one.path, len_of(table, one), one.location) for one in table.held(cut.state)]
    data = [file for path, file in table.tree().files.items() if not path.startswith("metadata/")]
    files, size = place_data(target, [*held, *data], lambda file: read_chunks(table, file), lambda: None)
    return files, size, place_metadata(target, table.main, table.metadata_path, table.read)


def len_of(table: TableCut, file: File) -> int:
    """Return the size of a file whose size nothing tells. Raises NotFoundError."""
    try:
        return len(table.io.new_input(file.location))
    except FileNotFoundError as error:
        raise NotFoundError(f"{file.location} is gone") from error


def _bring_tail(beside: LocalStore, tail: Tail, log: Log) -> dict[str, object]:
    keys = []
    offset = tail.first
    while offset < tail.next:
        batch = log.read(tail.topic, tail.partition, offset, _TAIL_BYTES, 0.0)
        data = pack_blocks([(found, block) for found, block in batch.blocks if found < tail.next])
        key = f"{_TAILS}/{sha256(data).hexdigest()}"
        put_bytes(beside, key, data)
        keys.append(key)
        offset = batch.next_offset
    return {**asdict(tail), "keys": keys}


def _forget_tails(beside: LocalStore, tails: list[dict[str, object]]) -> None:
    """Remove blocks of earlier syncs."""
    kept = {key for tail in tails for key in tail["keys"]}  # type: ignore[attr-defined]
    for key in list(beside.list(_TAILS)):
        if key not in kept:
            beside.delete(key)
    beside.tidy()


def _rows(cut: Cut, identity: Identity, synced: dict[str, object]) -> dict[str, list[dict[str, object]]]:
    """Return the state rows of the replica: the primary's, with an identity of its own and what this sync brought."""
    documents = [row for row in cut.state["documents"] if row["kind"] not in _OF_PROCESSES]
    own = [("place", "identity", asdict(identity)), ("job", SYNCED, synced)]
    documents = [row for row in documents if (row["kind"], row["key"]) != ("job", SYNCED)]
    documents += [{"kind": kind, "key": key, "document": json.dumps(document)} for kind, key, document in own]
    return {**cut.state, "documents": documents}


def _seed_log(lake: Lake, synced: dict[str, object]) -> int:
    if lake.settings.log_url:
        return 0
    beside = LocalStore(lake.settings.home)
    count = 0
    with closing(open_log(lake.settings, lake.clock)) as log:  # type: ignore[type-var]
        assert isinstance(log, SegmentLog)
        for tail in synced["tails"]:  # type: ignore[attr-defined]
            count += seed(log, tail["topic"], tail["partition"], tail["first"], _blocks(beside, tail["keys"]), tail["next"])
    return count


def _blocks(beside: LocalStore, keys: list[str]) -> Iterator[Block]:
    for key in keys:
        data = get(beside, key)
        if not key.endswith(sha256(data).hexdigest()):
            raise CorruptedError(f"{key} in {beside.address} is damaged: its SHA-256 is another")
        yield from (block for _, block in unpack_blocks(data))


def _fence_old(lake: Lake, mine: Identity, synced: dict[str, object]) -> bool:
    """Fence the old primary when its state can be reached from here; return whether it is."""
    url = str(synced["from_state"])
    path = Path(url.removeprefix("sqlite:///"))
    if not url.startswith("sqlite:///") or not path.exists():
        return False
    with closing(State(url, lake.clock)) as old:
        theirs = identity_of(old)
        if theirs.lake_id == mine.lake_id and theirs.epoch < mine.epoch:
            fence(old, mine, str(lake.settings.home))
        return identity_of(old).role is Role.FENCED
