"""Every question of every provider against answers that are none: no exception, the right verdict, raw kept, no fact made."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from ingest.asks import Address, Ask, Pages, Request, Response
from ingest.capture import capture_pages
from ingest.landing import land
from ingest.offers import Offer
from ingest.providers.registry import PROVIDERS
from ingest.providers.yahoo import Chart
from ingest.providers.yahoo_rest import Search
from ingest.simulator.asking import recorded_symbols
from ingest.transport.backoff import Backoff
from ingest.transport.http import Call, HttpTransport
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from quality_checks.promotion import promote
from tests.ingest.hostile_server import hostile_server, part, whole
from tests.ingest.test_quotas import Calls
from transforms.feeds import feed_named

NOW = datetime(2024, 6, 3, tzinfo=UTC)
JSON, HTML = "Content-Type: application/json", "Content-Type: text/html"
PAGE = b"<!DOCTYPE html><html><body><h1>Service Unavailable</h1></body></html>"
LIKELY = orjson.dumps(
    {"status": "OK", "data": [{"x": 1}], "results": [], "bars": {}, "result": [], "trades": []} | {"pad": "x" * 500}
)
GARBAGE = bytes(random.Random(8).randrange(256) for _ in range(4_096))
CUT = {
    "gzip cut short": whole(gzip.compress(LIKELY)[:-40], "200 OK", JSON, "Content-Encoding: gzip"),
    "gzip that is none": whole(GARBAGE, "200 OK", JSON, "Content-Encoding: gzip"),
    "body cut short": part(LIKELY[:50], "200 OK", JSON, "Content-Length: 560"),
    "chunks cut short": part(b"8\r\n[{\"a\":1,\r\n", "200 OK", JSON, "Transfer-Encoding: chunked"),
    "a chunk without size": part(b"zz\r\n[]\r\n0\r\n\r\n", "200 OK", JSON, "Transfer-Encoding: chunked"),
}  # fmt: skip
"""Answers that broke on the way."""
NO_HTTP = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "TLS": b"\x16\x03\x01\x02\x00" + GARBAGE,
    "an endless header": b"HTTP/1.1 200 OK\r\nX-Bomb: " + b"x" * 1_000_000,
    "a bomb of headers": part(b"[]", "200 OK", *(f"X-{number}: {'x' * 1_000}" for number in range(1_000))),
    "lengths that differ": part(b"[]", "200 OK", "Content-Length: 2", "Content-Length: 3"),
    "a status of words": b"HTTP/1.1 two hundred\r\n\r\n",
}
"""What is no HTTP, or too much of it: there is no answer."""
NO_DATA = {
    "a page": whole(PAGE, "200 OK", HTML),
    "a page called JSON": whole(PAGE, "200 OK", JSON),
    "a page in gzip": whole(gzip.compress(PAGE), "200 OK", HTML, "Content-Encoding: gzip"),
    "an empty body": whole(b"", "200 OK", JSON),
    "blanks": whole(b" \r\n\t", "200 OK", JSON),
    "no content": part(b"", "204 No Content"),
    "XML": whole(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "200 OK", "Content-Type: application/xml"),
    "plain words": whole(b"upstream connect error or disconnect/reset before headers", "200 OK", "Content-Type: text/plain"),
    "garbage": whole(GARBAGE, "200 OK", "Content-Type: application/octet-stream"),
    "garbage called JSON": whole(GARBAGE, "200 OK", JSON),
    "null": whole(b"null", "200 OK", JSON),
    "a word": whole(b'"maintenance"', "200 OK", JSON),
    "a number": whole(b"1e999", "200 OK", JSON),
    "NaN": whole(b"NaN", "200 OK", JSON),
    "UTF-16": whole('{"a":1}'.encode("utf-16"), "200 OK", JSON),
    "half a letter": whole(b'{"a":"\xc3"}', "200 OK", JSON),
    "depth": whole(b"[" * 100_000, "200 OK", JSON),
    "depth of objects": whole(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "200 OK", JSON),
    "a list of nulls": whole(b"[null,null]", "200 OK", JSON),
    "a list of lists": whole(b"[[[]],[[]]]", "200 OK", JSON),
    "somebody else's": whole(b'{"hello":"world","n":[1,2,{"x":null}]}', "200 OK", JSON),
    "an error in words": whole(b'{"error":"Service temporarily unavailable"}', "200 OK", JSON),
    "a loop of redirections": whole(b"", "302 Found", "Location: /"),
    "a page that moved": whole(PAGE, "301 Moved Permanently", HTML, "Location: https://example.org/login"),
}
"""Whole answers without data."""
BROKE = frozenset({Verdict.MALFORMED, Verdict.UPSTREAM_5XX, Verdict.NO_ANSWER})
FIRST_STEPS = {
    "cookie": Response(404, {"set-cookie": "A3=d=x; Path=/"}, b""),
    "crumb": Response(200, {"content-type": "text/plain"}, b"abc.DEF/12x"),
}
"""What a session begins with is answered as it should be, so that the question itself meets the rest."""


@dataclass
class Heard:
    """What came through the sockets of each answer: by its name the response that was recorded, and the call."""

    responses: dict[str, Response]
    calls: dict[str, Call]


@pytest.fixture(scope="module")
def heard() -> Iterator[Heard]:
    """Ask for every answer once; what comes of it does not depend on the provider that it is read as."""
    calls, found = Calls(), Heard({}, {})
    with (
        hostile_server() as server,
        HttpTransport(
            Address(server.address), calls, clock=system_clock, sleep=lambda _: None, rng=random.Random(1),
            backoff=Backoff(attempts=1), timeout_s=60.0,
        ) as transport,
    ):  # fmt: skip
        for name, wire in (CUT | NO_HTTP | NO_DATA).items():
            server.wires.append(wire)
            count = len(calls.answers)
            transport.fetch(Request("GET", "/"), Search().read)
            found.calls[name] = calls.all[-1]
            if len(calls.answers) > count:
                found.responses[name] = calls.answers[-1]
    yield found


def test_what_broke_on_the_way_is_incomplete_and_what_is_no_http_no_answer(heard: Heard) -> None:
    assert {name for name, response in heard.responses.items() if not response.is_complete} == set(CUT)
    assert {name for name, call in heard.calls.items() if call.reading.verdict is Verdict.NO_ANSWER} == set(NO_HTTP)
    assert set(heard.responses) == set(CUT) | set(NO_DATA)  # each is recorded, whatever it is
    for name in NO_DATA.keys() - {"a page in gzip"}:
        assert heard.responses[name].body == NO_DATA[name].partition(b"\r\n\r\n")[2], name
    assert heard.responses["a page in gzip"].body == PAGE
    assert LIKELY.startswith(heard.responses["gzip cut short"].body[:100])


def asking(offer: Offer) -> Pages:
    """Return what asks, at the question itself."""
    pages, symbols = offer.pages(), recorded_symbols(offer.provider, offer.feed, offer.word) or ("AAPL",)
    request: Request | None = pages.first(Ask(symbols[0], (offer.intervals or ("1d",))[0], NOW - timedelta(days=2), NOW))
    while request is not None and request.endpoint in FIRST_STEPS:
        request = pages.read(FIRST_STEPS[request.endpoint]).next
    assert request is not None
    return pages


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_answer_is_taken_for_data_by_any_question(heard: Heard, provider: str) -> None:
    wrong = []
    for offer in (*PROVIDERS[provider].offers, *PROVIDERS[provider].named_only):
        for name, response in heard.responses.items():
            verdict = asking(offer).read(response).reading.verdict
            is_data = verdict in (Verdict.OK, Verdict.EMPTY_VALID)
            if is_data or ((name in CUT or 300 <= response.status < 400) and verdict not in BROKE):
                wrong.append((offer.feed, offer.endpoint, name, verdict.value))
    assert wrong == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_fact_is_made_of_it(heard: Heard, provider: str) -> None:
    offers = {(one.feed, one.endpoint): one for one in (*PROVIDERS[provider].offers, *PROVIDERS[provider].named_only)}
    for offer in offers.values():
        pages = offer.pages()
        symbols = recorded_symbols(offer.provider, offer.feed, offer.word) or ("AAPL",)
        request = pages.first(Ask(symbols[0], (offer.intervals or ("1d",))[0], NOW - timedelta(days=2), NOW))
        told = orjson.dumps(
            {"method": "GET", "url": request.url("http://x"), "ts_request_ns": 1_717_372_800_000_000_000}
        ).decode()
        names = list(heard.responses)
        messages = pa.table(
            {
                "payload": [heard.responses[name].body for name in names],
                "request": [told] * len(names),
                "status": [heard.responses[name].status for name in names],
                "headers": [orjson.dumps(dict(heard.responses[name].headers)).decode() for name in names],
            }
        )
        found = feed_named(provider, offer.feed).decode(messages)
        rows = {name: table.num_rows for name, table in found.tables.items() if table.num_rows}
        assert rows == {}, (offer.feed, offer.endpoint)


def test_all_of_it_is_kept_and_none_promoted(tmp_path: Path) -> None:
    def ask(number: int) -> Ask:
        return Ask(f"S{number}", "1d", NOW - timedelta(days=2), NOW)

    wires = CUT | NO_HTTP | NO_DATA | {"five megabytes of garbage": whole(GARBAGE * 1_280, "200 OK", JSON)}
    kept: list[bytes] = []
    with (
        Lake.create(load_settings(home=tmp_path), system_clock) as lake,
        SegmentLog(lake.settings.log_path, system_clock, min_free_bytes=1 << 20) as log,
        hostile_server() as server,
    ):
        server.wires.extend(wires.values())
        report = capture_pages(
            lake, log, Chart(), [ask(number) for number in range(len(wires))], Address(server.address), provider="yahoo",
            feed="chart", sleep=lambda _: None, backoff=Backoff(attempts=1),
        )  # fmt: skip
        assert (report.ended, len(report.outcomes)) == ("all asked", len(wires))
        assert not report.verdicts.keys() & {"OK", "EMPTY_VALID"}
        land(lake, log)
        promoted = promote(lake, "yahoo")
        kept = read(lake, "raw.messages", ["payload"])["payload"].to_pylist()
        tables = {name: read(lake, name, ["provider"]).num_rows for name in promoted.tables}
    assert len(kept) == len(CUT) + len(NO_DATA) + 1
    assert GARBAGE * 1_280 in kept and PAGE in kept
    assert (promoted.waiting, set(tables.values())) == (0, {0})
