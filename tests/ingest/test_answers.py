"""Saved answers: which feed a file is of, and the request that its name tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.alpaca import alpaca_answer
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


@pytest.mark.parametrize(
    ("body", "feeds"),
    [
        (b'{"bars": {"AAPL": [{"t": "2022-03-09T05:00:00Z"}]}}', {"iex", "sip"}),
        (b'{"AAPL":{"latestTrade":{"p":1}}}', {"iex", "sip"}),
        (b'{"snapshots":{"AAPL240126P00050000":{"latestQuote":{}}}}', {"opra", "indicative"}),
        (b'{"quotes":{"BTC/USD":[]}}', {"crypto"}),
        (b'{"trades":{}}', {"iex", "sip", "opra", "indicative", "crypto"}),
        (b'[{"T":"t","S":"AAPL","p":1}]', {"iex", "sip"}),
        (b'[{"T":"n","id":1}]', {"news"}),
        (b'{"news":[]}', {"news"}),
        (b'{"last_updated":"2023-06-23T14:13:00Z","losers":[]}', {"screener"}),
        (b'[{"ca_type":"dividend"}]', {"actions"}),
        (b'[{"id":"1","class":"us_equity","tradable":true}]', {"reference"}),
        (b"\x91\x83\xa1T\xa1t\xa1S\xb3SPXW220309P04280000\xa1p\x01", {"opra", "indicative"}),
        (b"\x91\x01", set()),
        (b"", set()),
    ],
)
def test_files_of_alpaca_are_of_the_market_of_their_symbols(body, feeds):
    assert {feed for (provider, feed), one in CONTAINERS.items() if provider == "alpaca" and one.is_one("x", body)} == feeds


@given(st.lists(st.sampled_from(["trade", "quotes", "hello"]), max_size=6), st.binary(max_size=3))
def test_frames_in_msgpack_are_cut_by_their_own_lengths(tmp_path_factory, names, rest):
    frames = [(SAMPLES / "alpaca" / "msgpack" / f"{name}.msgpack").read_bytes() for name in ("trade", *names)]
    file = tmp_path_factory.mktemp("frames") / "stream.msgpack"
    file.write_bytes(b"".join(frames) + rest)
    cut = [piece.payload for piece in alpaca_answer(Source(file), Told(file.name))]
    assert b"".join(cut) == file.read_bytes()
    assert cut[: len(frames)] == frames
