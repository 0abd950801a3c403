"""An object store that refuses, or loses its answer, in the middle of a commit: a clear error, and the batch lands once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from lake.backup.stores import get, open_store, put_bytes
from lake.catalog import Lake
from lake.durable import exists
from lake.errors import CommitUnknownError, StorageError
from lake.instants import system_clock
from lake.maintenance.maintaining import maintain
from lake.publish import publish, stage
from lake.scan import read
from lake.settings import load_settings
from tests.lake.made import trade_batch
from tests.lake.maintenance.answers import TRADES, data_files
from tests.object_store import KEY, SECRET, Store
from tests.web_server import QuietHandler, web_server

HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


class Between:
    """A way to a store on which puts can fail: before the store has them, or after, when only the answer is lost."""

    def __init__(self, store: Store) -> None:
        self.ending, self.is_stored, self.refused = "", False, 0
        self.pause_s, self.pausing = 0.0, threading.Event()
        between, (host, port) = self, store.endpoint.removeprefix("http://").split(":")

        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                """Pass a request on, unless it is one that fails."""
                body = self.body()
                between.pausing.wait(between.pause_s)
                is_refused = self.command == "PUT" and between.fails(self.path.partition("?")[0])
                if is_refused and not between.is_stored:
                    return self.answer(503, {}, b"")
                there = HTTPConnection(host, int(port), timeout=60)
                try:
                    there.request(self.command, self.path, body, dict(self.headers))
                    told = there.getresponse()
                    given = told.read()
                finally:
                    there.close()
                if is_refused:
                    return self.answer(500, {}, b"")
                kept = {name: value for name, value in told.getheaders() if name.lower() not in HOP}
                return self.answer(told.status, kept, given, told.getheader("Content-Length"))

            def body(self) -> bytes:
                """Return what was sent, chunks as they came: the store is told of them by the same header."""
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                whole, size = b"", 1
                while size:
                    line = self.rfile.readline()
                    size = int(line.partition(b";")[0], 16)
                    whole += line + self.rfile.read(size + 2)
                return whole

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

            def answer(self, status: int, headers: dict[str, str], body: bytes, size: str | None = None) -> None:
                """Answer; a HEAD tells the size of what it does not send."""
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", (size if self.command == "HEAD" else None) or str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

        self.handler = Handler

    def fails(self, path: str) -> bool:
        """Return whether a put to this path fails now."""
        is_refused = bool(self.ending) and path.endswith(self.ending)
        self.refused += is_refused
        return is_refused


@dataclass
class Place:
    """A lake in a bucket, and the way to it."""

    lake: Lake
    between: Between
    endpoint: str
    batches: int = 0

    def publish_next(self) -> None:
        """Publish the next ten trades."""
        publish(self.lake, stage(self.lake, trade_batch(self.batches * 10, self.batches * 10 + 9)))
        self.batches += 1

    def numbers(self) -> list[int]:
        """Return the message numbers on main."""
        return sorted(read(self.lake, TRADES, ["message_seq"])["message_seq"].to_pylist())


@pytest.fixture(scope="module")
def place(object_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    between = Between(object_store)
    with web_server(between.handler) as endpoint:
        given = object_store.settings("failing") | {"s3_endpoint": endpoint}
        settings = load_settings(home=tmp_path_factory.mktemp("failing"), compact_quiet_s=0.0, **given)
        with Lake.create(settings, system_clock) as lake:
            yield Place(lake, between, endpoint)


@pytest.mark.parametrize("is_stored", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize(
    ("ending", "expected"), [(".parquet", StorageError), (".avro", StorageError), (".metadata.json", CommitUnknownError)]
)
def test_a_batch_whose_put_fails_lands_once(place: Place, ending: str, expected: type[Exception], is_stored: bool) -> None:
    before = place.numbers()
    place.between.ending, place.between.is_stored, place.between.refused = ending, is_stored, 0
    try:
        with pytest.raises(expected, match=TRADES):
            place.publish_next()
    finally:
        place.between.ending = ""
    assert place.between.refused > 0 and place.numbers() == before
    place.publish_next()
    assert place.numbers() == list(range(len(before) + 10))
    assert all(exists(file) for file in data_files(place.lake))


def test_a_rewrite_whose_put_fails_leaves_main_as_it_is(place: Place) -> None:
    for _ in range(2):
        place.publish_next()
    before, files = place.numbers(), data_files(place.lake)
    place.between.ending, place.between.is_stored = ".parquet", False
    try:
        with pytest.raises(StorageError, match=f"maintaining {TRADES}"):
            maintain(place.lake, [TRADES], ("compact",))
    finally:
        place.between.ending = ""
    assert (place.numbers(), data_files(place.lake)) == (before, files)
    maintain(place.lake, [TRADES], ("compact",))
    assert place.numbers() == before and len(data_files(place.lake)) < len(files)


def test_a_store_that_takes_its_time_is_waited_for(place: Place) -> None:
    """pyarrow's own patience ends after three seconds without an answer, also that of the store of backups."""
    address = place.endpoint.removeprefix("http://")
    store = open_store(
        f"s3://{KEY}:{quote(SECRET, safe='')}@failing/kept?scheme=http&region=us-east-1&endpoint_override={address}"
    )
    place.between.pause_s = 4.0
    try:
        assert store.size("none") is None
    finally:
        place.between.pause_s = 0.0
    assert put_bytes(store, "one", b"1") and get(store, "one") == b"1"
    assert SECRET not in store.address and KEY in store.address
