"""What a worker does to the lake: each act through the functions that the pipeline itself uses.

An act finds out from the lake where it stands, so it may be begun again after any crash. `light` promotion takes the rows
from world.py where the real one decodes and asks Soda (2 s to import); staging, publishing, holds and the ledger are the real
ones in both, and every tenth seed promotes by quality_checks.promotion.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of
from lake import publish as publishing
from lake.catalog import Lake
from lake.commits import append
from lake.conditions import Where
from lake.heads import Hold
from lake.instants import to_datetime
from lake.maintenance.maintaining import maintain
from lake.publish import Increment, advance, clean_dead_branches, hold, publish, read_staged, stage, stage_release
from lake.scan import read
from lake.tables import rows, table_named
from quality_checks.records import record_quarantine
from quality_checks.rules import event_ids, quarantine_rows
from tests.crash.world import ACTIONS, LAST, PROVIDERS, RAW, TOO_HIGH, TRADES, World, capture_of, partition_of, ranges_of

GATED = (TRADES, ACTIONS)
WRITTEN = (RAW, TRADES, ACTIONS)
NAMES = ("reference.instruments", "reference.listings")
"""What the real promotion writes beside them, and cleans at its start as they do here (`promotion.REFERENCE_TABLES`)."""
LEASES = ("landing", TRADES, ACTIONS, *NAMES, *(f"maintain {table}" for table in WRITTEN), "maintain spill", "backup")
UPKEEP = {"compact_quiet_s": 0.0, "compact_files": 2, "keep_snapshots": 4, "sweep_after_s": 2.0}
"""Settings under which there is something to maintain in a lake of seconds."""


@dataclass(slots=True)
class Worker:
    """One process at work.

    has_leases   False for the racing second writer, who must do no harm without them
    chance       of this process
    batch        most messages of a batch
    told         called with (table, owner, position) after each commit that returned
    proved       called with each lake restored; raises when it does not hold what it must
    """

    lake: Lake
    world: World
    chance: random.Random
    is_real: bool = False
    has_leases: bool = True
    batch: int = 24
    told: Callable[[str, str, object], None] = field(default=lambda table, owner, vector: None)
    proved: Callable[[Lake], None] = field(default=lambda restored: None)

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Hold the lease of a verb, unless this writer goes without."""
        with self.lake.state.lease(name) if self.has_leases else nullcontext():
            yield


def recover(lake: Lake) -> None:
    """Do what every start of the pipeline does: take the leases, drop dead branches, reconcile the ledger."""
    with ExitStack() as leases:
        for name in LEASES:
            leases.enter_context(lake.state.lease(name))
        for table in (*GATED, *NAMES):
            clean_dead_branches(lake, table)
        for table in WRITTEN:
            as_of.reconcile(lake, table)


# --- landing


def land(worker: Worker) -> None:
    """Land the next messages of one provider or of both in one commit."""
    lake, world = worker.lake, worker.world
    with worker.lease("landing"):
        before = lake.head(RAW).vector("raw")
        after, parts, ranges = dict(before), [], []
        for provider in worker.chance.sample(PROVIDERS, worker.chance.randint(1, len(PROVIDERS))):
            key = partition_of(provider)
            first = before.get(key, 0)
            end = min(LAST, first + worker.chance.randint(3, worker.batch))
            if end > first:
                after[key] = end
                parts.append(world.rows(RAW, provider, range(first, end)))
                ranges += ranges_of(provider, first, end)
        if parts:
            append(lake, RAW, pa.concat_tables(parts), "raw", before, after, f"land-{after}", ranges)
            worker.told(RAW, "raw", after)


def captures(lake: Lake) -> None:
    """Write down the captures, as capturing would; the real promotion asks for them."""
    for provider in PROVIDERS:
        owner = f"captures-{provider}"
        row = {
            "capture_id": [capture_of(provider)],
            "provider": [provider],
            "feed": ["spot"],
            "kind": ["live"],
            "started_at": [datetime(2024, 8, 8, tzinfo=UTC)],
            "code_version": ["crash"],
            "configuration_hash": ["00"],
            "recorded_at": [datetime(2024, 8, 8, tzinfo=UTC)],
        }
        append(lake, "ops.captures", rows(table_named("ops.captures"), row), owner, {}, {"0": 1}, owner)


# --- promotion


def promote(worker: Worker) -> None:
    """Promote a batch of one provider; a batch in the wrong scale is held."""
    provider = worker.chance.choice(PROVIDERS)
    if worker.is_real:
        from quality_checks.promotion import promote as really_promote

        really_promote(worker.lake, "binance")
        return
    count = worker.chance.randint(4, worker.batch)
    for table in GATED:
        with worker.lease(table):
            _promote(worker, table, provider, count)


def _promote(worker: Worker, table: str, provider: str, count: int) -> None:
    lake, world, key = worker.lake, worker.world, partition_of(provider)
    before = lake.head(table).vector(provider)
    first = before.get(key, 0)
    end = min(first + count, lake.head(RAW).vector("raw").get(key, 0))
    if end <= first:
        return
    numbers = landed(lake, provider, first, end)
    assert numbers == list(range(first, end)), f"raw.messages has {numbers} of [{first}, {end}) of {provider}"
    run = f"{table.partition('.')[2]}-{provider}-{first}-{end}"
    found = world.rows(table, provider, world.numbers_of(table, numbers), run)
    increment = Increment(
        table, provider, found, before, {key: end}, run, ranges_of(provider, first, end), {"rows": found.num_rows}
    )
    if found.num_rows == 0:
        advance(lake, table, provider, before, increment.after, run, increment.counts, increment.ranges)
    else:
        staged = stage(lake, increment)
        if is_refused(table, read_staged(lake, staged)):
            hold(lake, staged, {"failed_checks": ["price_jump"]})
        else:
            publish(lake, staged)
    worker.told(table, provider, increment.after)


def landed(lake: Lake, provider: str, first: int, end: int) -> list[int]:
    """Return the numbers of the messages of raw in [first, end), as they stand there."""
    where = [Where("provider", "=", provider), Where("log_offset", ">=", first), Where("log_offset", "<", end)]
    return sorted(read(lake, RAW, ["message_seq"], where)["message_seq"].to_pylist())


def is_refused(table: str, found: pa.Table) -> bool:
    """Return what the light gate says."""
    return table == TRADES and bool(pc.any(pc.greater(found["price"], pa.scalar(TOO_HIGH, found["price"].type))).as_py())


# --- holds


def decide(worker: Worker) -> None:
    """Release or reject one open hold. Its name and the seed decide which, so that a repetition does the same."""
    held = worker.lake.head(TRADES).holds
    if not held:
        return
    one = worker.chance.choice(held)
    how = random.Random(f"{worker.world.seed}/{one.hold_id}").choice(("release", "release the good", "reject"))
    if worker.is_real:
        from quality_checks import holds

        if how == "reject":
            holds.reject(worker.lake, one.hold_id, "wrong scale")
        else:
            holds.release(worker.lake, one.hold_id, "mended", without_failed=True)
        return
    with worker.lease(TRADES):
        _decide(worker.lake, one, how)


def _decide(lake: Lake, one: Hold, how: str) -> None:
    if how == "release":
        publish(lake, stage_release(lake, one))
        return
    found = publishing.held_rows(lake, one)
    bad = pc.greater(found["price"], pa.scalar(TOO_HIGH, found["price"].type))
    out = found if how == "reject" else found.filter(bad)
    values = pa.repeat(pa.scalar("x 100", pa.string()), out.num_rows)
    refused = quarantine_rows(TRADES, out, f"held_{how[:6]}", values, "this scale", to_datetime(lake.clock()), one.run_id)
    record_quarantine(lake, refused, f"{one.run_id}-quarantine")
    lake.steps.reached("reject.quarantined")
    if how == "reject":
        publishing.reject(lake, one)
    else:
        publish(lake, stage_release(lake, one, found.filter(pc.invert(bad))))


# --- upkeep


def upkeep(worker: Worker, *works: str) -> None:
    """Do some kinds of maintenance of one table."""
    maintain(worker.lake, [worker.chance.choice(WRITTEN)], works, rewrites=2)


ACTS: dict[str, Callable[[Worker], None]] = {
    "land": land,
    "promote": promote,
    "decide": decide,
    "compact": lambda worker: upkeep(worker, "compact", "manifests"),
    "expire": lambda worker: upkeep(worker, "expire"),
    "sweep": lambda worker: upkeep(worker, "sweep"),
}
if importlib.util.find_spec("lake.backup") is not None:
    from tests.crash import backups

    ACTS |= {"backup": backups.back_up, "restore": backups.restore}
WEIGHTS = {"land": 6, "promote": 8, "decide": 3, "compact": 3, "expire": 2, "sweep": 3, "backup": 1, "restore": 1}


def finish(worker: Worker, *, with_upkeep: bool) -> None:
    """Do all that is left: everything landed, promoted and decided; upkeep, backup and restore too, unless time is short."""
    while any(worker.lake.head(RAW).vector("raw").get(partition_of(one), 0) < LAST for one in PROVIDERS):
        land(worker)
    if worker.is_real:
        promote(worker)
    while not worker.is_real and not _is_promoted(worker):
        promote(worker)
    while worker.lake.head(TRADES).holds:
        decide(worker)
    for name in ACTS if with_upkeep else ():
        if name not in ("land", "promote", "decide"):
            ACTS[name](worker)


def _is_promoted(worker: Worker) -> bool:
    return all(worker.lake.head(table).vector(one).get(partition_of(one), 0) == LAST for table in GATED for one in PROVIDERS)


def quarantined(lake: Lake, provider: str) -> list[int]:
    """Return the numbers of the trades in quarantine."""
    where = [Where("provider", "=", provider), Where("table_name", "=", TRADES)]
    found = read(lake, "quality.quarantine", ["event_id", "message_seq"], where)
    assert len(event_ids_of(found)) == found.num_rows, f"quarantine of {provider} has a fact twice"
    return sorted(found["message_seq"].to_pylist())


def event_ids_of(found: pa.Table) -> set[str]:
    """Return the distinct event ids of rows of quarantine."""
    return set(found["event_id"].to_pylist())


__all__ = ["ACTS", "GATED", "LEASES", "WEIGHTS", "WRITTEN", "Worker", "decide", "event_ids", "finish", "recover"]
