"""Saved answers: which feed a file is of, and the request that its name tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingest.containers.answers import iex_answer_or_events, is_polygon, polygon_answer, polygon_path
from ingest.containers.registry import CONTAINERS
from ingest.containers.source import Source, Told

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("v3_trades_AAPL_limit=2.json", "/v3/trades/AAPL?limit=2"),
        ("v2_aggs_ticker_AAPL_range_1_day_2005-04-01_2005-04-04.json", "/v2/aggs/ticker/AAPL/range/1/day/2005-04-01/2005-04-04"),
        ("v1_conversion_AUD_USD_amount=100_precision=2.json", "/v1/conversion/AUD/USD?amount=100&precision=2"),
        ("v3_snapshot_options_AAPL_O;AAPL230616C00150000.json", "/v3/snapshot/options/AAPL/O:AAPL230616C00150000"),
        ("v1_open-close_AAPL_2005-04-01_adjusted=true.json.gz", "/v1/open-close/AAPL/2005-04-01?adjusted=true"),
        ("=.json", None),
        ("answer.json", None),
    ],
)
def test_a_name_tells_the_request(name, path):
    assert polygon_path(name) == path


def test_a_manifest_is_believed_before_a_name(tmp_path):
    file = tmp_path / "v3_trades_AAPL.json"
    file.write_bytes(b"{}")
    by_name, by_manifest = (
        next(iter(polygon_answer(Source(file), Told(file.name, manifest=told)))).request
        for told in ({}, {"url": "https://api.polygon.io/v3/trades/MSFT"})
    )
    assert (by_name["url"], by_manifest["url"]) == tuple(f"https://api.polygon.io/v3/trades/{n}" for n in ("AAPL", "MSFT"))


@pytest.mark.parametrize("feed", ["market", "actions", "reference"])
def test_every_sample_is_known_for_its_feed_alone(feed):
    folder = SAMPLES / "polygon" / feed
    case = json.loads((folder / "case.json").read_text())
    for told in (one for one in case["messages"] if "file" in one):
        name = told["request"]["url"].removeprefix("https://api.polygon.io/").replace("/", "_").replace("?", "_") + ".json"
        beginning = Source(folder / told["file"]).beginning()
        assert [key for key, container in CONTAINERS.items() if container.is_one(name, beginning)] == [("polygon", feed)]


def test_other_files_are_none_of_polygon_s():
    for name, body in [("a.json", b'{"chart":{}}'), ("v1_x.json", b"<html>"), ("v1_x.json", b"{}"), ("x", b"")]:
        assert not any(is_polygon(feed)(name, body) for feed in ("market", "actions", "reference"))


@pytest.mark.parametrize("feed", ["daily", "iex", "crypto"])
def test_every_file_of_tiingo_is_known_for_its_feed_alone(feed):
    folder = SAMPLES / "tiingo" / feed
    case = json.loads((folder / "case.json").read_text())
    for told in (one for one in case["messages"] if "file" in one):
        beginning = Source(folder / told["file"]).beginning()
        claims = [key for key, container in CONTAINERS.items() if container.is_one(told["file"], beginning)]
        assert [key for key in claims if key[0] != "csv"] == [("tiingo", feed)]


@pytest.mark.parametrize("feed", ["market", "stock", "reference"])
def test_every_file_of_iex_cloud_is_known_for_its_feed_alone(feed):
    folder = SAMPLES / "iex_cloud" / feed
    case = json.loads((folder / "case.json").read_text())
    for told in (one for one in case["messages"] if "file" in one):
        beginning = Source(folder / told["file"]).beginning()
        claims = [key for key, container in CONTAINERS.items() if container.is_one(told["file"], beginning)]
        assert claims == [("iex_cloud", feed)]


def test_a_recorded_event_stream_is_cut_at_its_empty_lines(tmp_path):
    file = tmp_path / "tops.sse"
    file.write_bytes(
        b': hello\n\nevent: message\r\ndata: [{"symbol":"A",\r\ndata: "bidPrice":1}]\r\n\r\n\ndata: [{"symbol":"B"}]'
    )
    pieces = list(iex_answer_or_events(Source(file), Told(file.name)))
    assert [piece.payload for piece in pieces] == [
        b": hello",
        b'event: message\ndata: [{"symbol":"A",\ndata: "bidPrice":1}]',
        b'data: [{"symbol":"B"}]',
    ]
    assert [piece.request["event"] for piece in pieces] == [0, 1, 2]


def test_recorded_messages_one_a_line_are_messages(tmp_path):
    file = tmp_path / "tops.json"
    file.write_bytes(b'{"symbol":"A","seq":1}\n{"symbol":"A","seq":2}\n')
    assert len(list(iex_answer_or_events(Source(file), Told(file.name)))) == 2
