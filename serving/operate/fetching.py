"""Fetching files from the providers that give files, from themselves or from the simulator."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ingest.asks import Address, Request, Response
from ingest.files import fetch_file
from ingest.imports import ImportReport
from ingest.ledger import PATIENCE
from ingest.providers import databento, iex_hist
from ingest.simulator import Simulator
from ingest.transport.download import Download
from ingest.verdicts import Reading, Verdict
from lake.catalog import Lake
from lake.errors import NotFoundError, SettingsError
from lake.instants import system_clock
from lake.log.log import Log
from serving.choices import From


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
    """Where the providers are reached: at `simulator`, or themselves."""

    simulator: str | None
    databento_key: str = field(repr=False)

    def databento(self) -> Address:
        """Return where Databento is reached. Raises SettingsError without a key."""
        if not self.databento_key:
            raise SettingsError(f"databento needs {databento.KEY_VARIABLES[0]} in the environment")
        return Address(self.simulator or databento.ADDRESS, credentials=databento.credentials(self.databento_key))

    def iex(self, address: str) -> Address:
        """Return where IEX's list or file is reached."""
        return Address(self.simulator or address)


@contextmanager
def reached(source: From) -> Iterator[Reach]:
    """Give where the providers are reached: a simulator that lives as long as the context, or themselves."""
    if source is From.PROVIDER:
        yield Reach(None, os.environ.get(databento.KEY_VARIABLES[0], ""))
        return
    with Simulator(markets=(), streams=()) as simulator:
        yield Reach(simulator.addresses()["http"], simulator.keys.databento_key)


def fetched(lake: Lake, log: Log, wanted: Wanted, reach: Reach) -> Fetched:
    """Download and import what is wanted. Raises NotFoundError for another provider or feed, SettingsError without a key."""
    if wanted.provider == databento.PROVIDER:
        request = _range(wanted, databento.range_request)
        symbols = "-".join(wanted.symbols)[:60]
        name = f"{wanted.feed}_{wanted.schema}_{symbols}_{wanted.start:%Y%m%dT%H%M%S}_{wanted.end:%Y%m%dT%H%M%S}.dbn.zst"
        download = _download(reach.databento(), databento.read_refusal)
        return _of(*fetch_file(lake, log, download, request, wanted.folder / name, wanted.provider, "dbn"))
    if (wanted.provider, wanted.feed) not in {(iex_hist.PROVIDER, feed) for feed in iex_hist.FEEDS}:
        raise NotFoundError(f"no files of {wanted.provider} {wanted.feed}; there are databento DATASET, iex tops, iex deep")
    answer = _answered(reach.iex(iex_hist.ADDRESS), iex_hist.list_request(wanted.start.date()), wanted.folder)
    reading, files = iex_hist.read_list(answer)
    found = next((file for file in files if file.feed == wanted.feed), None)
    if found is None:
        return Fetched(reading.verdict.value if not files else Verdict.EMPTY_VALID.value, reading.detail)
    download = _download(reach.iex(found.address), iex_hist.read_refusal)
    return _of(*fetch_file(lake, log, download, found.request, wanted.folder / found.name, wanted.provider, wanted.feed))


def priced(wanted: Wanted, reach: Reach) -> Fetched:
    """Return what Databento would charge. Raises NotFoundError for another provider, SettingsError without a key."""
    if wanted.provider != databento.PROVIDER:
        raise NotFoundError(f"{wanted.provider} names no prices; databento does")
    reading, _ = databento.read_cost(_answered(reach.databento(), _range(wanted, databento.cost_request), wanted.folder))
    return Fetched(reading.verdict.value, reading.detail)


def _range(wanted: Wanted, make: Callable[..., Request]) -> Request:
    return make(wanted.feed, wanted.schema, wanted.symbols, wanted.start, wanted.end)


def _download(address: Address, judge: Callable[[Response], Reading]) -> Download:
    return Download(address, judge, clock=system_clock, sleep=time.sleep, rng=random.Random(), backoff=PATIENCE)


def _answered(address: Address, request: Request, folder: Path) -> Response:
    """Return the answer to a small question: it is downloaded like a file, which is then taken away."""
    refused: list[Response] = []

    def judge(response: Response) -> Reading:
        refused[:] = [response]
        return databento.read_refusal(response)

    target = folder / f".{request.endpoint}.answer"
    try:
        reading = _download(address, judge).fetch(request, target)
        if target.exists():
            return Response(200, {}, target.read_bytes())
    finally:
        target.unlink(missing_ok=True)
    return refused[0] if refused else Response(503, {}, reading.detail.encode())


def _of(reading: Reading, report: ImportReport | None) -> Fetched:
    files: list[dict[str, object]] = []
    for each in report.files if report is not None else ():
        files.append({"path": each.path, "status": each.status, "messages": each.messages, "error": each.error})
    return Fetched(reading.verdict.value, reading.detail, files)
