"""Whether the lake holds exactly what it must: asked of a lake at rest, after the restart that follows a fault."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from lake import as_of
from lake.catalog import Lake
from lake.epochs import TAG as EPOCH_TAG
from lake.fences import fences_of
from lake.heads import Act
from lake.instants import to_datetime
from lake.publish import held_rows
from lake.scan import read
from lake.tables import table_named
from tests.crash.acts import GATED, WRITTEN, quarantined
from tests.crash.world import ACTIONS, LAST, PROVIDERS, RAW, TRADES, World, partition_of

_SETTLED = (Act.PUBLISH, Act.ADVANCE, Act.RELEASE, Act.REJECT, Act.APPEND)
_MOMENTS_KEPT = 12


def faults(lake: Lake, world: World, moments: Path, acknowledged: Mapping[str, int], is_real: bool) -> Iterator[str]:
    """Yield what is wrong; nothing when all is well.

    moments        file of the answers given about moments of the past, asked again and added to
    acknowledged   "table/owner/partition" -> position that a worker was told of: the lake may not be behind it
    """
    for table in WRITTEN:
        metadata = lake.table(table).metadata
        branches = sorted(set(metadata.refs) - {"main", EPOCH_TAG, *fences_of(metadata)})
        if branches:
            yield f"{table}: branches {branches} of the dead are left"
    yield from _positions(lake, acknowledged)
    for provider in PROVIDERS:
        top = lake.head(RAW).vector("raw").get(partition_of(provider), 0)
        yield from _rows(lake, world, RAW, provider, set(range(top)))
        if not is_real:
            yield from _gated(lake, world, provider)
    if is_real:
        yield from _real(lake, world)
    for table, owner, key in _owners(is_real):
        yield from _settled_once(lake, table, owner, key)
    yield from _known(lake)
    yield from _past(lake, moments)


def prove(restored: Lake, world: World, is_real: bool) -> None:
    """Raise AssertionError when a lake restored from a backup does not hold what its own positions say."""
    with tempfile.TemporaryDirectory() as folder:
        found = list(faults(restored, world, Path(folder) / "moments", {}, is_real))
    assert not found, f"restored: {found}"


def _owners(is_real: bool) -> Iterator[tuple[str, str, str]]:
    for provider in PROVIDERS:
        yield RAW, "raw", partition_of(provider)
    for table in GATED if not is_real else ():
        for provider in PROVIDERS:
            yield table, provider, partition_of(provider)


def _positions(lake: Lake, acknowledged: Mapping[str, int]) -> Iterator[str]:
    for place, least in acknowledged.items():
        table, owner, key = place.split("/")
        found = lake.head(table).vector(owner).get(key, 0)
        if found < least:
            yield f"LOST: {place} is at {found}, a worker was told {least}"


def _rows(lake: Lake, world: World, table: str, provider: str, expected: set[int]) -> Iterator[str]:
    """Main has the rows of `expected`, each once, each as the world says."""
    found = _of(read(lake, table), provider)
    yield from _compared(world, table, provider, found, expected, "main")


def _compared(world: World, table: str, provider: str, found: pa.Table, expected: set[int], where: str) -> Iterator[str]:
    numbers = found["message_seq"].to_pylist()
    if len(set(numbers)) != len(numbers):
        yield f"DOUBLED: {table} of {provider}, {where}: {sorted(one for one in set(numbers) if numbers.count(one) > 1)[:9]}"
        return
    if lost := sorted(expected - set(numbers)):
        yield f"LOST: {table} of {provider}, {where}: {lost[:9]} of {len(lost)}"
    if made_up := sorted(set(numbers) - expected):
        yield f"TOO MANY: {table} of {provider}, {where}: {made_up[:9]} of {len(made_up)}"
    columns = [name for name in table_named(table).column_names if name != "run_id"]
    if not found.select(columns).equals(world.rows(table, provider, numbers).select(columns)):
        yield f"WRONG: rows of {table} of {provider}, {where}, are not what the world says"


def _of(found: pa.Table, provider: str) -> pa.Table:
    mine = pa.array([one == provider for one in found["provider"].to_pylist()], pa.bool_())
    return found.filter(mine).sort_by("message_seq")


def _gated(lake: Lake, world: World, provider: str) -> Iterator[str]:
    """Every fact below the position is on main, held, or in quarantine; one of quarantine may still be held."""
    refused = set(quarantined(lake, provider))
    for table in GATED:
        head = lake.head(table)
        facts = set(world.numbers_of(table, range(head.vector(provider).get(partition_of(provider), 0))))
        held: set[int] = set()
        for one in head.holds:
            if one.owner == provider:
                key = partition_of(provider)
                wanted = set(world.numbers_of(table, range(one.before.get(key, 0), one.after[key])))
                found = held_rows(lake, one).sort_by("message_seq")
                yield from _compared(world, table, provider, found, wanted, f"hold {one.hold_id}")
                held |= wanted
        gone = refused if table == TRADES else set()
        yield from _rows(lake, world, table, provider, facts - held - gone)
        if gone - facts:
            yield f"TOO MANY: quarantine has {sorted(gone - facts)} of {provider}, beyond its position"


def _real(lake: Lake, world: World) -> Iterator[str]:
    """The real job's own proof, and that each message is on main, held or in quarantine."""
    from quality_checks.verify import verify

    promoted = lake.head(TRADES).vector("binance")
    is_behind = promoted.get("0", 0) < lake.head(RAW).vector("raw").get("0", 0)
    for check in verify(lake).failed:
        waits = check.name == "everything_promoted"
        if not waits or (not is_behind and any("binance" in fault for fault in check.faults)):
            told = [fault for fault in check.faults if "alpaca" not in fault]
            if told:
                yield f"verify: {check.name}: {'; '.join(told)}"
    main = _of(read(lake, TRADES, ["provider", "message_seq"]), "binance")["message_seq"].to_pylist()
    held = [
        seq
        for one in lake.head(TRADES).holds
        if one.owner == "binance"
        for seq in held_rows(lake, one)["message_seq"].to_pylist()
    ]
    refused = quarantined(lake, "binance")
    places = sorted(main + sorted(set(held) - set(refused)) + refused)
    expected = list(range(promoted.get("0", 0)))
    if places != expected:
        yield f"LOST or DOUBLED: trades of binance stand at {places[:9]} … ({len(places)}), expected {len(expected)}"


def _settled_once(lake: Lake, table: str, owner: str, key: str) -> Iterator[str]:
    """Ledger and open holds cover [0, position) exactly once."""
    ledger = [one for one in as_of.ledger(lake, table) if one.owner == owner and one.act in _SETTLED]
    intervals = [(one.before.get(key, 0), one.after.get(key, 0)) for one in ledger]
    intervals += [(one.before.get(key, 0), one.after[key]) for one in lake.head(table).holds if one.owner == owner]
    reached = 0
    for first, end in sorted(one for one in intervals if one[0] != one[1]):
        if first != reached:
            yield f"LEDGER: {table} of {owner}/{key}: {sorted(intervals)} do not join up at {reached}"
            return
        reached = end
    position = lake.head(table).vector(owner).get(key, 0)
    if reached != position:
        yield f"LEDGER: {table} of {owner}/{key} goes to {reached}, the position is {position}"


def _known(lake: Lake) -> Iterator[str]:
    """The ledger knows of every row when it was published."""
    for table in WRITTEN:
        if unknown := read(lake, table, ["published_at"])["published_at"].null_count:
            yield f"LEDGER: {unknown} rows of {table} without a time of publication"


# --- the past


def _past(lake: Lake, moments: Path) -> Iterator[str]:
    """Answers about the past stay what they were; then the present is asked about and written down."""
    told = json.loads(moments.read_text(encoding="utf-8")) if moments.exists() else []
    for one in told:
        found = _answer(lake, one["table"], datetime.fromisoformat(one["at"]))
        if found != one["answer"]:
            yield f"PAST: {one['table']} as of {one['at']} was {one['answer']}, is now {found}"
    now = to_datetime(lake.clock())
    told += [{"table": table, "at": now.isoformat(), "answer": _answer(lake, table, now)} for table in (TRADES, ACTIONS)]
    moments.write_text(json.dumps(told[-_MOMENTS_KEPT:]), encoding="utf-8")


def _answer(lake: Lake, table: str, at: datetime) -> str:
    found = read(lake, table, ["provider", "message_seq"], as_of=at)
    rows = sorted(zip(*(column.to_pylist() for column in found.columns), strict=True))
    return f"{len(rows)} rows {hashlib.sha256(repr(rows).encode()).hexdigest()[:16]}"


def finished(lake: Lake, is_real: bool) -> Iterator[str]:
    """Yield what is not done although everything had its time."""
    for table, owner, key in _owners(is_real):
        reached = lake.head(table).vector(owner).get(key, 0)
        if reached != LAST:
            yield f"UNFINISHED: {table} of {owner}/{key} is at {reached} of {LAST}"
    if lake.head(TRADES).holds:
        yield f"UNFINISHED: {len(lake.head(TRADES).holds)} holds are open"


def rows(lake: Lake) -> int:
    """Return the rows of all tables written."""
    return sum(read(lake, table, ["message_seq"]).num_rows for table in WRITTEN)
