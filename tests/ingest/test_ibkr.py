"""Recordings of Interactive Brokers: the forms they come in, and what an answer was asked with."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.ibkr import history_records, is_history, is_wire, wire_messages
from ingest.containers.source import Piece, Source, Told
from lake.errors import InvalidValueError
from tests.transforms.decode.cases import messages
from transforms.decode import ibkr_history, ibkr_wire

SAMPLES = Path(__file__).parents[1] / "samples" / "ibkr"
CONTRACT = ["265598", "AAPL", "STK", "", "0", "", "", "SMART", "NASDAQ", "USD", "AAPL", "NMS"]


def text(*fields: str) -> str:
    return "".join(f"{field}\0" for field in fields)


def framed(*payloads: str) -> bytes:
    return b"".join(len(one.encode()).to_bytes(4, "big") + one.encode() for one in payloads)


class Chunks(Source):
    """A file that is read in the chunks given."""

    def __init__(self, path: Path, edges: list[int]) -> None:
        super().__init__(path)
        self._edges = edges

    def chunks(self):
        whole = self.path.read_bytes()
        yield from (whole[a:b] for a, b in pairwise([0, *self._edges, len(whole)]))


def pieces(path: Path) -> list[Piece]:
    source = Source(path)
    assert is_wire(path.name, source.beginning())
    return list(wire_messages(source, Told(path.name)))


def test_a_recording_in_yaml_tells_version_and_direction():
    found = pieces(SAMPLES / "wire" / "tws_interactions.yaml")
    assert [piece.payload for piece in found[:2]] == [b"49\x001\x00", b"49\x001\x001752606307\x00"]
    assert [piece.request["direction"] for piece in found[:2]] == ["request", "response"]
    assert {piece.request["server_version"] for piece in found} == {173}
    assert all(piece.payload.endswith(b"\0") for piece in found)


def test_messages_as_json_texts_are_their_bytes():
    path = SAMPLES / "wire" / "wire_messages.jsonl"
    assert [piece.payload.decode() for piece in pieces(path)] == [json.loads(line) for line in path.read_text().splitlines()]


def test_an_answer_knows_what_was_asked(tmp_path: Path):
    path = tmp_path / "session.yaml"
    asked = text("20", "7", *CONTRACT, "0", "", "1 min", "1 D", "1", "MIDPOINT", "2")
    answer = text("17", "7", "a", "b", "1", "1704465000", "1", "2", "1", "2", "-1", "-1", "-1")
    lines = [
        "header:",
        "  server_version: 178",
        "- request:",
        f"    raw: {json.dumps(asked)}",
        "  responses:",
        f"  - raw: {json.dumps(answer)}",
    ]
    path.write_text("\n".join(lines) + "\n")
    found = pieces(path)
    assert found[1].request["contract"]["symbol"] == "AAPL"
    decoded = ibkr_wire.decode(messages([piece.payload for piece in found], [piece.request for piece in found]))
    (bar,) = decoded.tables["normalized.bars"].to_pylist()
    assert (bar["symbol"], bar["interval"], bar["price_type"], bar["volume"], decoded.control) == ("AAPL", "1m", "mid", None, 1)


FRAMES = framed("178\x0020240105 09:30:00 EST\0", text("49", "1", "5"), text("15", "1", "DU1"))


@given(st.lists(st.integers(0, len(FRAMES)), max_size=5))
def test_frames_are_the_same_wherever_they_are_cut(tmp_path_factory, cuts):
    path = tmp_path_factory.getbasetemp() / "frames.bin"
    path.write_bytes(FRAMES)
    found = list(wire_messages(Chunks(path, sorted(cuts)), Told("frames.bin")))
    assert [piece.payload.count(b"\0") for piece in found] == [2, 3, 3]
    assert {piece.request["server_version"] for piece in found} == {178}


def test_every_truncation_of_frames_keeps_every_byte(tmp_path: Path):
    path = tmp_path / "frames.bin"
    for end in range(len(FRAMES)):
        path.write_bytes(FRAMES[:end])
        found = list(wire_messages(Source(path), Told("x")))
        held = sum(len(piece.payload) for piece in found)
        assert end - 4 * len(found) <= held <= end


def test_a_frame_of_an_impossible_length_is_an_error(tmp_path: Path):
    path = tmp_path / "frames.bin"
    path.write_bytes(b"\xff\xff\xff\xff1\0")
    assert not is_wire(path.name, path.read_bytes())
    with pytest.raises(InvalidValueError, match="a frame of"):
        list(wire_messages(Source(path), Told("x")))


def test_bars_of_an_archive_show_their_interval_and_the_manifest_names_them(tmp_path: Path):
    path = tmp_path / "bars.json"
    bar = {"open": 1.5, "high": 2.0, "low": 1.25, "close": 1.75, "volume": 3.0, "average": 1.5, "barCount": 2}
    path.write_text("".join(json.dumps({"date": f"2021-01-05T09:{minute:02d}:00", **bar}) + "\n" for minute in (30, 35, 45)))
    assert is_history(path.name, Source(path).beginning())
    named = Told(
        path.name, manifest={"file": path.name, "symbol": "MSFT", "secType": "STK", "currency": "USD", "zone": "America/New_York"}
    )
    for told, symbol, hour in ((named, "MSFT", 14), (Told(path.name), "file:bars", 9)):
        found = list(history_records(Source(path), told))
        decoded = ibkr_history.decode(messages([piece.payload for piece in found], [piece.request for piece in found]))
        rows = decoded.tables["normalized.bars"].to_pylist()
        assert [(row["symbol"], row["interval"], row["ts_open"].hour) for row in rows] == [(symbol, "5m", hour)] * 3
