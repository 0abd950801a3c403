"""The hub: one look at each ledger for all clients, and a bounded buffer for each of them.

Without a hole: a subscription is entered first, then the ledger is cut and the snapshot read up to the cut. Whatever the hub
finds later is sent unless the cut had it already; what it found earlier the cut has, because it was booked before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from starlette.concurrency import run_in_threadpool

from lake.as_of import Settled
from lake.catalog import Lake
from lake.errors import InvalidValueError, TickhouseError
from lake.instants import to_datetime
from serving.formats import columns, plain_value
from serving.instruments import Instrument, instrument_named
from serving.streaming import published
from serving.streaming.published import KINDS, Cut

LOGGER = logging.getLogger("tickhouse.stream")
POLL_S = 0.25
MAX_SUBSCRIPTIONS = 200
_LOOKED_BACK = timedelta(minutes=10)
"""Entries are booked in order of time but for moments; a look goes back this far and knows what it saw by name."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What waits for one client at most; beyond, the client is dropped."""

    messages: int = 256
    bytes: int = 16 << 20


@dataclass(slots=True, eq=False)
class Subscription:
    """One client's wish. Until `cut` is set, entries that the hub finds wait in `early`."""

    name: str
    kind: str
    instrument: Instrument
    provider: str | None
    cut: Cut | None = None
    early: list[tuple[Settled, bytes | None]] = field(default_factory=list)

    def wants(self, table: str, entry: Settled) -> bool:
        """Return whether an entry of a table is, or may be, news to it."""
        return KINDS[self.kind] == table and (self.cut is None or entry.snapshot_id not in self.cut.booked)


class Client:
    """The sending side of one connection: what waits for it, and why it was dropped."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._bytes = 0
        self.subscriptions: dict[str, Subscription] = {}
        self.dropped: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def offer(self, message: bytes) -> None:
        """Let a message wait; drop the client when too much does."""
        if self.dropped.done():
            return
        if self._waiting.qsize() >= self._bounds.messages or (self._bytes and self._bytes + len(message) > self._bounds.bytes):
            self.drop(4008, f"too slow: {self._waiting.qsize()} messages waited; subscribe again from your last position")
            return
        self._bytes += len(message)
        self._waiting.put_nowait(message)

    def drop(self, code: int, reason: str) -> None:
        """End the connection with a reason, once."""
        if not self.dropped.done():
            self.dropped.set_result((code, reason[:120]))

    async def next(self) -> bytes:
        """Return the next message to send."""
        message = await self._waiting.get()
        self._bytes -= len(message)
        return message


class Hub:
    """Every client of one server, and the task that looks for news while there are any. Lives on one event loop."""

    def __init__(self, lake: Lake, bounds: Bounds = Bounds(), poll_s: float = POLL_S) -> None:
        self._lake = lake
        self.bounds = bounds
        self._poll_s = poll_s
        self._clients: set[Client] = set()
        self._looking: asyncio.Task[None] | None = None
        self._booked: dict[str, dict[int, datetime]] = {}
        self._seen: dict[str, int] = {}
        self._looked_at: dict[str, datetime] = {}

    @property
    def is_idle(self) -> bool:
        """Whether nobody listens and nothing is looked at."""
        return not self._clients and self._looking is None

    def join(self) -> Client:
        """Return a new client."""
        client = Client(self.bounds)
        self._clients.add(client)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_again())
            self._looking.add_done_callback(self._ended)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client; without any nobody looks."""
        self._clients.discard(client)
        if not self._clients and self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._looked_at.clear()
            self._booked.clear()
            self._seen.clear()

    async def subscribe(self, client: Client, ask: Mapping[str, object]) -> None:
        """Enter a subscription and offer its snapshot, or the updates since a position. Raises errors of ours."""
        name, kind, rows = str(ask.get("id", "")), str(ask.get("kind")), ask.get("rows", 1)
        if kind not in KINDS:
            raise InvalidValueError(f"kind {kind!r}; expected one of {', '.join(KINDS)}")
        if not isinstance(rows, int) or not 0 <= rows <= 10_000:
            raise InvalidValueError(f"rows {rows!r}; expected 0 to 10000")
        if name in client.subscriptions or len(client.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise InvalidValueError(f"id {name!r} is taken, or {MAX_SUBSCRIPTIONS} subscriptions are open already")
        provider = None if ask.get("provider") is None else str(ask["provider"])
        instrument = await run_in_threadpool(instrument_named, self._lake, str(ask.get("symbol", "")), provider)
        entered = Subscription(name, kind, instrument, provider)
        client.subscriptions[name] = entered
        try:
            position = ask.get("position")
            if position is None:
                first, cut = await run_in_threadpool(self._snapshot, entered, rows)
            else:
                first, cut = await run_in_threadpool(self._missed, entered, str(position))
        except BaseException:
            del client.subscriptions[name]
            raise
        for message in first:
            client.offer(message)
        entered.cut = cut
        for entry, update in entered.early:
            _deliver(client, entered, entry, update)
        entered.early.clear()

    def _snapshot(self, entered: Subscription, rows: int) -> tuple[list[bytes], Cut]:
        cut = published.cut_now(self._lake, KINDS[entered.kind])
        found = published.newest_rows(self._lake, entered.kind, entered.instrument.instrument_id, entered.provider, cut, rows)
        return [_message("snapshot", entered, cut.last, found)], cut

    def _missed(self, entered: Subscription, position: str) -> tuple[list[bytes], Cut]:
        table = KINDS[entered.kind]
        entries, cut = published.entries_after(self._lake, table, position)
        found = [(entry, self._update(table, entry, [entered])) for entry in entries]
        return [update for _, updates in found if (update := updates[entered]) is not None], cut

    def _update(self, table: str, entry: Settled, entered: list[Subscription]) -> dict[Subscription, bytes | None]:
        """Return the message of an entry for each subscription to its table, None where it published nothing of it."""
        rows = published.rows_of(self._lake, table, entry, sorted({one.instrument.instrument_id for one in entered}))
        found: dict[Subscription, bytes | None] = {}
        for one in entered:
            mine = rows.filter(pc.equal(rows["instrument_id"], one.instrument.instrument_id))
            if one.provider is not None:
                mine = mine.filter(pc.equal(mine["provider"], one.provider))
            found[one] = _message("update", one, entry, published.in_order(one.kind, mine)) if mine.num_rows else None
        return found

    async def _look_again(self) -> None:
        while True:
            for table in {KINDS[one.kind] for client in self._clients for one in client.subscriptions.values()}:
                try:
                    await self._look(table)
                except TickhouseError as error:
                    LOGGER.error("stream of %s: %s", table, error)  # the next look finds what this one did not
            await asyncio.sleep(self._poll_s)

    async def _look(self, table: str) -> None:
        """Find what was published since the last look and offer it to whoever subscribed and has not had it by its cut."""
        now = to_datetime(self._lake.clock())
        head = await run_in_threadpool(lambda: self._lake.head(table).snapshot_id)
        if self._seen.get(table) == head:
            self._looked_at[table] = now
            return
        booked = self._booked.setdefault(table, {})
        since = self._looked_at.get(table, now) - _LOOKED_BACK
        for entry in await run_in_threadpool(published.news, self._lake, table, since, tuple(booked)):
            wanted = [
                (client, one) for client in self._clients for one in client.subscriptions.values() if one.wants(table, entry)
            ]
            if wanted:
                updates = await run_in_threadpool(self._update, table, entry, [one for _, one in wanted])
                for client, one in wanted:
                    _deliver(client, one, entry, updates[one])
            booked[entry.snapshot_id] = entry.published_at
        for snapshot_id in [number for number, moment in booked.items() if moment < since]:
            del booked[snapshot_id]
        self._seen[table], self._looked_at[table] = head, now

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            LOGGER.error("the stream broke", exc_info=task.exception())
            for client in self._clients:
                client.drop(1011, "the server failed; its log has the rest")


def _deliver(client: Client, entered: Subscription, entry: Settled, update: bytes | None) -> None:
    if entered.cut is None:
        entered.early.append((entry, update))
    elif entry.snapshot_id not in entered.cut.booked and update is not None:
        client.offer(update)


def _message(type_: str, entered: Subscription, entry: Settled | None, rows: pa.Table) -> bytes:
    """Return one message: what it is of, the place in the ledger it brings the client to, and the rows by column."""
    body = {
        "type": type_,
        "id": entered.name,
        "kind": entered.kind,
        "instrument": entered.instrument.document(),
        "position": published.position_of(entry),
        "published_at": None if entry is None else entry.published_at,
        "run_id": None if entry is None else entry.run_id,
        "basis": "as_traded",
        "status": "confirmed",
        "source": "lake",
        "row_count": rows.num_rows,
    }
    return orjson.dumps({**{name: plain_value(value) for name, value in body.items()}, "columns": columns(rows)})
