"""Yahoo beyond the chart: downloads beside the charts of the same days, chains counted in their payload, frames of the stream."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.registry import CONTAINERS
from ingest.containers.source import Source, Told
from ingest.containers.yahoo import download_request, downloaded
from lake.errors import ProtocolError
from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.decode.protobuf_wire import scalar_fields
from transforms.decode.yahoo_values import hinted, printed_image
from transforms.feeds import feed_named

RECORDINGS = Path(__file__).parents[3] / "ingest" / "simulator" / "recordings" / "yahoo"
B, Q, M = "normalized.bars", "normalized.quotes", "normalized.option_open_interest"
SAME_DAYS = {
    "OCDO.L_2020-01-01_2020-01-03_status200.csv": "chart_OCDO.L_1d_pence.json",
    "BTC-USD_2020-01-01_2020-01-03_status200.csv": "chart_BTC-USD_1d.json",
    "EURUSD=X_2020-01-01_2020-01-03_status200.csv": "chart_EURUSD=X_1d.json",
}
"""Download -> the chart of the same symbol and days, answered years apart."""


def rows_of(feed, payload, request=None, table=B):
    return feed_named("yahoo", feed).decode(messages([payload], [request])).tables[table].to_pylist()


@pytest.mark.parametrize("file", SAME_DAYS)
def test_a_download_tells_what_the_chart_of_its_days_tells(file):
    path = SAMPLES / "yahoo" / "download" / file
    piece = next(iter(downloaded(Source(path), Told(file))))
    mine = {row["session_date"]: row for row in rows_of("download", piece.payload, piece.request)}
    chart = {row["session_date"]: row for row in rows_of("chart", (RECORDINGS / SAME_DAYS[file]).read_bytes())}
    assert mine
    for day, row in mine.items():
        assert row["symbol"] == chart[day]["symbol"]
        assert row["volume"] == chart[day]["volume"]
        assert (row["price_type"], row["basis"]) == (chart[day]["price_type"], chart[day]["basis"])
        for name in ("open", "high", "low", "close"):  # a download prints six places, a chart the whole float
            assert np.float32(f"{float(np.float32(chart[day][name])):.6f}") == np.float32(row[name])


def test_every_contract_of_a_chain_is_a_row_and_every_side_a_quote():
    payload = (SAMPLES / "yahoo" / "options" / "options_EBAY.json").read_bytes()
    result = json.loads(payload)["optionChain"]["result"][0]
    contracts = [each for part in result["options"] for kind in ("calls", "puts") for each in part[kind]]
    told = rows_of("quote", payload, table=M)
    assert [row["symbol"] for row in told] == [each["contractSymbol"] for each in contracts]
    assert [row["open_interest"] for row in told] == [each["openInterest"] for each in contracts]
    quoted = {each["contractSymbol"] for each in contracts if each["bid"] or each["ask"]}
    assert {row["symbol"] for row in rows_of("quote", payload, table=Q)} == quoted | {"EBAY"}


def test_a_screener_s_entries_are_quotes():
    payload = (SAMPLES / "yahoo" / "quote" / "screener_aggressive_small_caps.json").read_bytes()
    quotes = json.loads(payload)["finance"]["result"][0]["quotes"]
    rows = rows_of("quote", payload)
    assert [(row["symbol"], float(row["close"]), float(row["volume"])) for row in rows] == [
        (each["symbol"], each["regularMarketPrice"], each["regularMarketVolume"]) for each in quotes
    ]


@given(st.floats(width=32, min_value=1 / 1024, max_value=2**23), st.integers(2, 6))
def test_a_printed_float32_is_its_shortest_decimal(number, places):
    single = np.float32(number)
    shortest = np.format_float_positional(single, unique=True, trim="0")
    text = f"{float(single):.{places}f}"
    found = f"{printed_image(text):f}"
    if len(shortest.partition(".")[2]) <= places:  # the print is long enough to hold it
        assert float(found) == float(shortest)
    assert abs(float(found) - float(text)) <= np.spacing(single) + 1e-9


@pytest.mark.parametrize(
    ("text", "price"),
    [("74.059998", "74.06"), ("1279.500000", "1279.5"), ("773.450012", "773.45"), ("52.48", "52.48"), ("7", "7"), ("0.1", "0.1")],
)
def test_prints_of_real_days(text, price):
    assert f"{printed_image(text).normalize():f}" == price


@pytest.mark.parametrize("text", ["", "x", "1e5", "nan", "1,5", "9" * 40])
def test_what_is_no_print_is_refused(text):
    with pytest.raises(ProtocolError):
        printed_image(text)


@pytest.mark.parametrize(
    ("value", "hint", "price"),
    [(129.04, 2, "129.04"), (153.64999, 2, "153.65"), (153.645, 2, "153.645"), (1.0489877, 4, "1.0489877"),
     (96077.45, 2, "96077.45"), (5.5, None, "5.5"), (5.5, 99, "5.5")],
)  # fmt: skip
def test_a_price_hint_takes_away_noise_and_nothing_else(value, hint, price):
    assert f"{hinted(float(np.float32(value)), hint).normalize():f}" == price


def test_the_name_of_a_download_tells_its_request():
    assert download_request("AAPL_2020-01-01_2020-01-03_status200.csv") == ("/v7/finance/download/AAPL", 200)
    assert download_request("GOOG_5Y_W.csv.gz") == ("/v7/finance/download/GOOG?interval=1wk", None)
    assert download_request("EURUSD=X_1mo.csv") == ("/v7/finance/download/EURUSD%3DX?interval=1mo", None)


@pytest.mark.parametrize("folder", ["quote", "options", "search", "download"])
def test_every_file_is_known_for_its_feed_alone(folder):
    case, _ = sample(SAMPLES / "yahoo" / folder)
    for told in (one for one in case["messages"] if "file" in one):
        beginning = Source(SAMPLES / "yahoo" / folder / told["file"]).beginning()
        claims = [key for key, container in CONTAINERS.items() if container.is_one(told["file"], beginning)]
        assert [key for key in claims if key[0] != "csv"] == [("yahoo", case["feed"])]


def test_frames_of_the_stream_are_known_in_both_forms():
    case, given_ = sample(SAMPLES / "yahoo" / "stream")
    for payload in given_["payload"].to_pylist()[:4]:
        assert [key for key, container in CONTAINERS.items() if container.is_one("a.jsonl", payload)] == [("yahoo", "stream")]
    assert case["feed"] == "stream"


FIELDS = {1: ("name", "text"), 2: ("single", "float"), 3: ("signed", "sint"), 4: ("whole", "int"), 5: ("double", "double")}


def varint(number: int) -> bytes:
    out = b""
    while number >= 128:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@given(st.text(max_size=10), st.floats(width=32, allow_nan=False), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=9))
def test_fields_of_a_message_come_back_and_unknown_ones_are_passed_over(name, single, signed, unknown):
    zigzag = (signed << 1) ^ (signed >> 63)
    text = name.encode()
    parts = [
        b"\x0a" + varint(len(text)) + text,
        b"\x15" + struct.pack("<f", single),
        b"\x18" + varint(zigzag & (1 << 64) - 1),
        b"\x20" + varint(signed & (1 << 64) - 1),
        b"\x29" + struct.pack("<d", single),
        varint(77 << 3 | 2) + varint(len(unknown)) + unknown,
    ]
    whole = {"name": name, "single": single, "signed": signed, "whole": signed, "double": single}
    assert scalar_fields(b"".join(parts), FIELDS) == whole
    assert scalar_fields(b"".join(reversed(parts)), FIELDS) == whole


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_refused(data):
    try:
        found = scalar_fields(data, FIELDS)
    except ProtocolError:
        return
    assert set(found) <= {name for name, _ in FIELDS.values()}


@given(st.binary(max_size=60))
def test_any_pricing_is_accounted_for(data):
    frame = json.dumps({"type": "pricing", "message": base64.b64encode(data).decode()}).encode()
    found = feed_named("yahoo", "stream").decode(messages([frame, base64.b64encode(data)]))
    told = set(found.refused["message_index"].to_pylist())
    for rows in found.tables.values():
        told |= set(rows["message_index"].to_pylist())
    assert len(told) + found.control == 2
