"""Keys are nowhere: not in lake, log, state, backup, logs, errors, answers or reports of a run whose providers tell them."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import subprocess
import sys
import traceback
import zlib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ingest.asks import Address, Ask, Credentials
from ingest.breaker import Breakers, Limits
from ingest.capture import capture_pages, capture_stream
from ingest.configured import write_file
from ingest.health import Health
from ingest.landing import land
from ingest.providers.registry import provider_named
from ingest.reach import Reach, themselves
from ingest.secret_forms import secret_forms
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import system_clock
from lake.log.blocks import decode_messages, decode_rows
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.telemetry import set_up_logging
from quality_checks.promotion import promote
from serving import lineage
from serving.cli.app import run as run_verb
from serving.operate.configured import open_configured
from serving.topics.publisher import publish
from tests.end_to_end.echoing import answer_next, echoing, forms_of
from tests.serving.market_lake import served

SECRETS = {
    "APCA_API_KEY_ID": "PKleak7Qz+1/odd=id",
    "APCA_API_SECRET_KEY": "alpacaLEAK/secret+with=odd&chars%41",
    "FINNHUB_API_KEY": "finnhubLEAKtoken0d9s8f7g",
    "ALPHAVANTAGE_API_KEY": "AVLEAK5T6Y7U8I9O",
    "POLYGON_API_KEY": "polygonLEAK_a1b2c3d4e5",
    "TIINGO_API_KEY": "tiingoLEAK0f1e2d3c4b5a",
}
PROVIDERS = ("alpaca", "finnhub", "alpha_vantage", "polygon", "tiingo")
SPRING = (datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 6, 1, tzinfo=UTC))
FAST = Backoff(attempts=4, first_s=0.01, ceiling_s=0.02)
WANTED = (
    ("alpaca", "iex", "bars"),
    ("alpaca", "iex", "stream"),
    ("finnhub", "quote", None),
    ("finnhub", "trades", None),
    ("alpha_vantage", "stocks", None),
    ("polygon", "market", "bars"),
    ("tiingo", "daily", None),
)


class Heard:
    """Says stop after so many looks: a stream that goes on for ever is left in the end."""

    def __init__(self, looks: int = 40) -> None:
        self._looks = looks

    def __call__(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@dataclass
class Run:
    """One full run: where its files are, and everything else that it said."""

    home: Path
    lake: Lake
    said: dict[str, bytes] = field(default_factory=dict)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("secrets") / "home"
    settings = load_settings(home=home)
    texts = {"text": io.StringIO(), "json": io.StringIO()}
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # the provider's own log is not ours
    with echoing() as (http, stream), Lake.create(settings, system_clock) as lake:
        write_file(settings.config, "".join(f'[providers.{name}]\nhttp = "{http}"\nstream = "{stream}"\n' for name in PROVIDERS))
        made = Run(home, lake)
        with SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
            words = set_up_logging(texts["text"], "text", logging.DEBUG)
            words.set_name("words")  # the next one replaces it otherwise
            handlers = [words, set_up_logging(texts["json"], "json", logging.DEBUG)]
            reach = themselves(SECRETS, open_configured(lake).in_force)
            made.said["repr"] = repr((reach, settings, reach.asked("alpaca", "iex"))).encode()
            for number, (provider, feed, data) in enumerate(WANTED):
                made.said[f"report {number}"] = _captured(made, log, reach, provider, feed, data)
            for handler in handlers:
                logging.getLogger().removeHandler(handler)
            land(lake, log)
            for provider in PROVIDERS[:2]:
                promote(lake, provider)
            publish(lake, log, "here")
        for form, sink in texts.items():
            made.said[f"log {form}"] = sink.getvalue().encode()
        made.said |= _asked(lake) | _verbs(home)
        for handler in [each for each in logging.getLogger().handlers if each.get_name() == "tickhouse"]:
            logging.getLogger().removeHandler(handler)  # of the verbs
        logging.getLogger().setLevel(logging.WARNING)
        made.said["state"] = json.dumps(lake.state.dump(), default=str).encode()
        yield made


def _captured(made: Run, log: SegmentLog, reach: Reach, provider: str, feed: str, data: str | None) -> bytes:
    """Capture until the provider has said everything; return the report, or the traceback of what ended it."""
    known, symbols, is_heard = provider_named(provider), ("AAPL", "MSFT"), Heard()
    health = Health(made.lake.state, made.lake.clock, log)  # what providers say reaches events, alerts and topics by it
    breakers = Breakers(made.lake.state, made.lake.clock, limits=lambda: Limits(failures=1, open_s=0.0), told=health)
    permits = breakers.permits(provider)
    push = known.push(feed)
    try:
        if push is not None and data in (None, "stream"):
            session = push.session(symbols, reach.secrets(provider))
            address = reach.listened(provider, push)
            report = capture_stream(
                made.lake, log, session, address, provider=provider, feed=feed, backoff=FAST, is_stopped=is_heard, permits=permits
            )
        else:
            asks = [Ask(symbol, "1d", *SPRING) for symbol in symbols * 4]
            pages, address = known.offers_of(feed, data)[0].pages(), reach.asked(provider, feed)
            report = capture_pages(
                made.lake,
                log,
                pages,
                asks,
                address,
                provider=provider,
                feed=feed,
                backoff=FAST,
                sleep=lambda _: None,
                permits=permits,
            )
        return json.dumps(report.document()).encode()
    except TickhouseError:
        return traceback.format_exc().encode()


def _asked(lake: Lake) -> dict[str, bytes]:
    """Return what HTTP answers about the run, errors included, and how each message is explained."""
    paths = (
        "config",
        "config/history",
        "providers",
        "alerts",
        "health/events",
        "quality",
        "quality/findings",
        "gaps",
        "health",
        "bars/NOPE",
    )
    with served(lake) as client:
        told = {path: _bytes(client.get(f"/api/v1/{path}")) for path in paths}
        told["metrics"] = _bytes(client.get("/metrics"))
    for row in read(lake, "raw.messages").to_pylist()[::4]:
        event = f"{row['capture_id']}:{row['message_seq']}"
        told[event] = json.dumps(lineage.explain(lake, event).document(), default=str).encode()
    return told


def _bytes(response: httpx.Response) -> bytes:
    return repr(response.headers).encode() + response.content


def _verbs(home: Path) -> dict[str, bytes]:
    """Return what verbs print with the keys in the environment and every logger awake, and how a program crashes with them."""
    words = {
        "capture": ["capture", "finnhub", "--feed", "quote", "-s", "AAPL", "--from", "provider", "--json"],
        "backup": ["backup", "--to", str(home.parent / "backup"), "--json"],
        "providers": ["providers"],
    }
    told = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SECRETS, "TICKHOUSE_HOME": str(home), "TICKHOUSE_LOG_LEVEL": "DEBUG"}.items():
            patch.setenv(name, value)
        for name, word in words.items():
            answer_next(401)
            out, err = (io.TextIOWrapper(io.BytesIO()) for _ in range(2))
            with redirect_stdout(out), redirect_stderr(err):
                run_verb(word)
            for stream in (out, err):
                stream.flush()
                told[name] = told.get(name, b"") + stream.buffer.getvalue()
        crash = (
            "import os\nfrom ingest.reach import themselves\n"
            "reach = themselves(os.environ)\nraise RuntimeError(reach, reach.asked('alpaca', 'iex'))"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", crash], env=environment, capture_output=True, timeout=120, check=False)
    return told | {"crash": done.stdout + done.stderr}


def unpacked(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """Yield bytes, and what they hold compressed."""
    yield data
    if depth and data[:2] == b"\x1f\x8b":
        yield from unpacked(gzip.decompress(data), depth - 1)
    if depth and data[:4] == b"\x28\xb5\x2f\xfd":
        yield from unpacked(zstandard.ZstdDecompressor().decompressobj().decompress(data), depth - 1)
    if depth and data[:2] in (b"\x78\x9c", b"\x78\x01", b"\x78\xda"):
        try:
            yield from unpacked(zlib.decompress(data), depth - 1)
        except zlib.error:
            return


def contents(path: Path) -> Iterator[bytes]:
    """Yield every byte string that a file holds: as it lies, and as Parquet, Avro or compressed."""
    data = path.read_bytes()
    yield from unpacked(data)
    if data[:4] == b"PAR1":
        for column in pq.read_table(path).to_pydict().values():
            yield from (value if isinstance(value, bytes) else str(value).encode() for value in column)
    elif data[:3] == b"Obj":
        yield str(list(fastavro.reader(io.BytesIO(data)))).encode()


def leaks(data: bytes) -> list[str]:
    """Return the names of the secrets that are in `data` in any form that the provider told them in, or that we know of."""
    forms = {name: {*forms_of(secret), *secret_forms(secret)} for name, secret in SECRETS.items()}
    return [name for name in SECRETS if any(form in data for form in forms[name])]


def test_the_run_is_worth_searching(run: Run) -> None:
    messages = read(run.lake, "raw.messages").to_pylist()
    assert {row["provider"] for row in messages} == set(PROVIDERS)
    statuses = {row["status"] for row in messages}
    assert {200, 302, 400} <= statuses and len(statuses) >= 5
    assert sum(b"REDACTED" in row["payload"] for row in messages) > 20
    assert b"REDACTED" in b"".join(str(row["headers"]).encode() for row in messages)
    assert all(run.said[f"log {form}"] for form in ("text", "json"))
    assert b"RuntimeError" in run.said["crash"] and b"captures" in run.said["capture"]
    assert (run.home.parent / "backup").exists()


def test_nothing_that_was_said_has_a_key(run: Run) -> None:
    assert {name: found for name, data in run.said.items() if (found := leaks(data))} == {}


def test_no_file_has_a_key(run: Run) -> None:
    files = [path for path in run.home.parent.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".parquet", ".avro", ".json", ".db"}
    assert {str(path): found for path in files for data in contents(path) if (found := leaks(data))} == {}


def test_no_block_of_the_log_has_a_key(run: Run) -> None:
    found, seen = [], 0
    with SegmentLog(run.lake.settings.log_path, system_clock, min_free_bytes=1) as log:
        for topic in ("raw", "history"):
            for partition, bounds in log.bounds(topic).items():
                for _, block in log.read(topic, partition, bounds.first, 1 << 28, 0.0).blocks:
                    rows = decode_messages(block.payload) if topic == "raw" else decode_rows(block.payload)[1]
                    found += leaks(str(rows.to_pylist()).encode())
                    seen += rows.num_rows
    assert seen > 40 and found == []


def test_no_topic_has_a_key(run: Run) -> None:
    """Of the embedded log, which has the records that Kafka gets: JSON events, and Arrow blocks."""
    path, found, told = run.lake.settings.log_path, [], b""
    with SegmentLog(path, system_clock, min_free_bytes=1) as log:
        for topic in sorted(each.name for each in path.iterdir() if each.is_dir() and each.name.startswith("market.")):
            for partition, bounds in log.bounds(topic).items():
                for _, block in log.read(topic, partition, bounds.first, 1 << 28, 0.0).blocks:
                    is_event = block.payload.startswith(b"{")
                    whole = block.payload if is_event else str(pa.ipc.open_stream(block.payload).read_all().to_pylist()).encode()
                    found += leaks(block.key.encode() + whole)
                    told += whole
    assert b'"breaker_opened"' in told and b"REDACTED" in told, "no words of providers are in the topics"
    assert found == []


@pytest.mark.parametrize("secret", [*SECRETS.values(), "Basic " + __import__("base64").b64encode(b"db-LEAKEDkey0:").decode()])
def test_a_secret_is_found_in_every_form_and_data_without_it_stay(secret: str) -> None:
    credentials = Credentials(headers=(("X-Key", secret),))
    for form in secret_forms(secret):
        told, count = credentials.blotted(b'{"said":"' + form + b'"}')
        assert count >= 1 and form not in told
    assert credentials.blotted(b'{"price": 12.5}') == (b'{"price": 12.5}', 0)
    assert secret not in repr(Address("http://x", credentials=credentials))
    assert secret_forms("demo") == frozenset()
