"""Fetching files from the providers that give files, from themselves or from the simulator."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ingest.asks import Address, Request, Response
from ingest.files import FileAsking, asking_for_files, fetch_file
from ingest.imports import ImportReport
from ingest.permits import FREE, Permits, Together
from ingest.plans import key_name
from ingest.providers import databento, iex_hist
from ingest.reach import themselves
from ingest.simulator import Simulator
from ingest.verdicts import Reading, Verdict
from lake.catalog import Lake
from lake.errors import NotFoundError, SettingsError
from lake.log.log import Log
from serving.choices import From
from serving.operate.rights import rights


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch: of Databento the records of symbols over `[start, end)`, of IEX the file of the day of `start`."""

    provider: str
    feed: str
    schema: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime | None
    folder: Path


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of it."""

    verdict: str
    detail: str
    files: list[dict[str, object]] = field(default_factory=list)

    @property
    def is_ok(self) -> bool:
        """Whether the provider answered; a day without a file is an answer."""
        return self.verdict in (Verdict.OK, Verdict.EMPTY_VALID)

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"verdict": self.verdict, "detail": self.detail, "files": self.files}

    def words(self) -> str:
        """Return it as a line for a person."""
        told = "; ".join(f"{each['path']}: {each['status']}, {each['messages']} messages" for each in self.files)
        return f"{self.detail}. {told}" if told else f"{self.verdict}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the providers are reached.

    place         one address that stands for them all; None: themselves
    is_recorded   whether recordings answer there: they are given without limit
    """

    place: str | None
    databento_key: str = field(repr=False)
    is_recorded: bool = False

    def databento(self) -> Address:
        """Return where Databento is reached. Raises SettingsError without a key."""
        if not self.databento_key:
            raise SettingsError(f"databento needs {databento.KEY_VARIABLES[0]} in the environment")
        return Address(self.place or databento.ADDRESS, credentials=databento.credentials(self.databento_key))

    def iex(self, address: str) -> Address:
        """Return where IEX's list or file is reached."""
        return Address(self.place or address)


@contextmanager
def reached(source: From) -> Iterator[Reach]:
    """Give where the providers are reached: a simulator that lives as long as the context, or themselves."""
    if source is From.PROVIDER:
        yield Reach(None, os.environ.get(databento.KEY_VARIABLES[0], ""))
        return
    with Simulator(markets=(), streams=()) as simulator:
        yield Reach(simulator.addresses()["http"], simulator.keys.databento_key, is_recorded=True)


def fetched(lake: Lake, log: Log, wanted: Wanted, reach: Reach, sleep: Callable[[float], None] = time.sleep) -> Fetched:
    """Download and import what is wanted. Raises NotFoundError for another provider or feed, SettingsError without a key."""
    if wanted.provider == databento.PROVIDER:
        return _range_fetched(lake, log, wanted, reach, sleep)
    if (wanted.provider, wanted.feed) not in {(iex_hist.PROVIDER, feed) for feed in iex_hist.FEEDS}:
        raise NotFoundError(f"no files of {wanted.provider} {wanted.feed}; there are databento DATASET, iex tops, iex deep")
    address = reach.iex(iex_hist.ADDRESS)
    found: list[iex_hist.HistFile] = []

    def read(response: Response) -> Reading:
        reading, files = iex_hist.read_list(response)
        found[:] = [file for file in files if file.feed == wanted.feed]
        return reading

    with _asking(lake, log, wanted, address, iex_hist.LISTS, reach, sleep) as asking:
        reading, _ = asking.answer(address, iex_hist.list_request(wanted.start.date()), read)
        if not found:
            return Fetched((Verdict.EMPTY_VALID if reading.verdict is Verdict.OK else reading.verdict).value, reading.detail)
        file, target = found[0], wanted.folder / found[0].name
        there = reach.iex(file.address)
        return _of(
            *fetch_file(lake, log, asking, there, file.request, iex_hist.read_refusal, target, wanted.provider, wanted.feed)
        )


def _range_fetched(lake: Lake, log: Log, wanted: Wanted, reach: Reach, sleep: Callable[[float], None]) -> Fetched:
    request, address = _range(wanted, databento.range_request), reach.databento()
    symbols = "-".join(wanted.symbols)[:60]
    name = f"{wanted.feed}_{wanted.schema}_{symbols}_{wanted.start:%Y%m%dT%H%M%S}_{wanted.end:%Y%m%dT%H%M%S}.dbn.zst"
    with _asking(lake, log, wanted, address, databento.METADATA, reach, sleep) as asking:
        target = wanted.folder / name
        return _of(*fetch_file(lake, log, asking, address, request, databento.read_refusal, target, wanted.provider, "dbn"))


def priced(lake: Lake, log: Log, wanted: Wanted, reach: Reach, sleep: Callable[[float], None] = time.sleep) -> Fetched:
    """Return what Databento would charge. Raises NotFoundError for another provider, SettingsError without a key."""
    request = _of_databento(wanted, "names prices", lambda: _range(wanted, databento.cost_request))
    return _answered(lake, log, wanted, reach, request, lambda response: databento.read_cost(response)[0], sleep)


def resolved(lake: Lake, log: Log, wanted: Wanted, reach: Reach, sleep: Callable[[float], None] = time.sleep) -> Fetched:
    """Ask Databento which numbers symbols had over the days of the window; landed and promoted, they are identifiers.

    Raises NotFoundError for another provider, SettingsError without a key.
    """

    def request() -> Request:
        last = (wanted.end or wanted.start) - timedelta(microseconds=1)
        days = wanted.start.date(), max(last, wanted.start).date() + timedelta(days=1)
        return databento.resolve_request(wanted.feed, wanted.symbols, *days)

    return _answered(
        lake, log, wanted, reach, _of_databento(wanted, "resolves symbols", request), databento.read_resolution, sleep
    )


def _of_databento(wanted: Wanted, does: str, request: Callable[[], Request]) -> Request:
    if wanted.provider != databento.PROVIDER:
        raise NotFoundError(f"of the providers that give files databento alone {does}, not {wanted.provider}")
    return request()


def _range(wanted: Wanted, make: Callable[..., Request]) -> Request:
    return make(wanted.feed, wanted.schema, wanted.symbols, wanted.start, wanted.end)


def _answered(
    lake: Lake,
    log: Log,
    wanted: Wanted,
    reach: Reach,
    request: Request,
    read: Callable[[Response], Reading],
    sleep: Callable[[float], None],
) -> Fetched:
    """Ask Databento a small question, whose answer is a message."""
    address = reach.databento()
    with _asking(lake, log, wanted, address, databento.METADATA, reach, sleep) as asking:
        reading, _ = asking.answer(address, request, read)
    return Fetched(reading.verdict.value, reading.detail)


@contextmanager
def _asking(
    lake: Lake, log: Log, wanted: Wanted, address: Address, feed: str, reach: Reach, sleep: Callable[[float], None]
) -> Iterator[FileAsking]:
    """Give one capture of what is asked, with leave of the provider's breakers and of its key's quota."""
    asked = {"feed": wanted.feed, "schema": wanted.schema, "symbols": list(wanted.symbols), "start": wanted.start.isoformat()}
    with (
        _leave(lake, log, wanted.provider, reach) as permits,
        asking_for_files(lake, log, wanted.provider, feed, asked, address=address, sleep=sleep, permits=permits) as asking,
    ):
        yield asking


@contextmanager
def _leave(lake: Lake, log: Log, provider: str, reach: Reach) -> Iterator[Permits]:
    """Give leave to call a provider; recordings are given without limit."""
    if reach.is_recorded:
        yield FREE
        return
    with rights(lake, log, themselves(os.environ)) as found:
        keys = (reach.databento_key,) if provider == databento.PROVIDER else ()
        yield Together([found.breakers.permits(provider), found.quotas.permits(provider, key_name(keys), "backfill")])


def _of(reading: Reading, report: ImportReport | None) -> Fetched:
    files: list[dict[str, object]] = []
    for each in report.files if report is not None else ():
        files.append({"path": each.path, "status": each.status, "messages": each.messages, "error": each.error})
    return Fetched(reading.verdict.value, reading.detail, files)
