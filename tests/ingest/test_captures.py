"""Packet captures: cut without losing a byte, sessions' gaps told, replayed sessions and damage imported to the end."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ingest.containers.captures import capture_packets, is_capture_of
from ingest.containers.registry import CONTAINERS
from ingest.containers.runs import RUN_BYTES
from ingest.containers.sequences import Sequences
from ingest.containers.source import Source, Told
from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.log.segments import SegmentLog
from lake.scan import read
from quality_checks.promotion import promote
from quality_checks.verify import verify
from tests.transforms.decode.iex_made import (
    DEEP10,
    TOPS16,
    deep_messages,
    packet,
    packets_of,
    pcap,
    pcapng,
    quote,
    segment,
    tops_messages,
    trade,
)
from transforms.decode.iex import DEEP, TOPS

BIG = packets_of([quote(b"ZIEXT", (n, 100), (n + 100, 100)) for n in range(10_000, 14_000)], TOPS16, each=2)


def pieces_of(folder: Path, capture: bytes):
    path = folder / "one.pcap.gz"
    path.write_bytes(gzip.compress(capture, 1))
    return list(capture_packets(Source(path), Told(path.name)))


@pytest.mark.parametrize(("capture", "head"), [(pcap(BIG), 24), (pcapng(BIG), 28 + 32)], ids=["pcap", "pcapng"])
def test_messages_without_their_repeated_headers_are_the_file(tmp_path, capture, head):
    for cut in (len(capture), len(capture) - 7):
        pieces = pieces_of(tmp_path, capture[:cut])
        assert b"".join([pieces[0].payload, *(piece.payload[head:] for piece in pieces[1:])]) == capture[:cut]
        assert all(piece.payload.startswith(capture[:head]) for piece in pieces)
        assert len(pieces) > 2 and max(len(piece.payload) for piece in pieces) < RUN_BYTES + 1_000
        assert [piece.request["run"] for piece in pieces] == list(range(len(pieces)))
        assert pieces[0].ts_recv_ns // 1000 == 1_499_697_277_643_876 and not any(piece.gaps for piece in pieces)


def test_a_capture_is_of_the_feed_whose_segments_it_holds():
    tops, deep = pcap(packets_of(tops_messages(), TOPS16)), pcapng(packets_of(deep_messages(), DEEP10))
    assert [is_capture_of(feed)("x", capture) for feed in (TOPS, DEEP) for capture in (tops, deep)] == [True, False, False, True]
    assert not is_capture_of(TOPS)("x", pcap([packet(b"hello")])) and not is_capture_of(TOPS)("x", b"\xd4\xc3\xb2\xa1")
    assert [key for key, container in CONTAINERS.items() if container.is_one("x", tops)] == [("iex", "tops")]


def test_numbers_left_out_open_a_gap_and_late_messages_close_it():
    def run(*numbers: tuple[int, int]):
        first, count = (np.array(column, np.int64) for column in zip(*numbers, strict=True))
        return [(gap.status, gap.first_missing, gap.last_missing) for gap in sequences.follow("s", first, count)]

    sequences = Sequences()
    assert run((5, 2), (7, 0), (7, 3)) == [], "a session joined late, heartbeats"
    assert run((12, 2), (20, 1)) == [("open", "10", "11"), ("open", "14", "19")]
    assert run((10, 1), (5, 3), (21, 4)) == [], "part of what is missing, a repetition, and on"
    assert run((11, 1), (14, 6)) == [("filled", "10", "11"), ("filled", "14", "19")]
    assert run((25, 1)) == []
    assert [gap.number for gap in sequences.follow("t", np.array([1, 9]), np.array([1, 1]))] == [2]


def test_replayed_sessions_gaps_and_a_cut_packet_are_imported_to_the_end(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    def session(number: int, price: int) -> list[bytes]:
        told = [trade(b"ZIEXT", 100, price, trade_id) for trade_id in range(1, 9)]
        return packets_of([*told, trade(b"ZIEXT", 100, price, 3, kind=b"B")], TOPS16, each=1, session=number)

    first, again = session(7, 100_000), session(8, 101_000)
    capture = pcap([*first, first[2], *again[:4], *again[6:]])
    (tmp_path / "replayed.pcap").write_bytes(capture[:-30])
    report = import_paths(lake, log, "iex", "tops", [tmp_path / "replayed.pcap"])
    assert (report.errors, report.files[0].gaps, report.files[0].messages) == ((), 1, 2)
    land(lake, log)
    promoted = promote(lake, "iex")
    assert (promoted.holds, promoted.refused_messages) == ([], 1)
    trades = read(lake, "normalized.trades").sort_by([("venue_session", "ascending"), ("sequence", "ascending")])
    assert trades["trade_id"].to_pylist() == [*"12345678", *"123478"]
    assert trades["venue_session"].to_pylist() == ["7"] * 8 + ["8"] * 6
    assert promoted.tables["normalized.trades"].repeated == 1
    assert read(lake, "normalized.trade_events")["trade_id"].to_pylist() == ["3"], "the second break was cut off"
    assert read(lake, "quality.quarantine")["rule"].to_pylist() == ["truncated_packet"]
    (gap,) = read(lake, "quality.gaps").to_pylist()
    assert (gap["status"], gap["first_missing"], gap["last_missing"]) == ("open", "5", "6")
    assert import_paths(lake, log, "iex", "tops", [tmp_path / "replayed.pcap"]).appended == 0
    assert [check.name for check in verify(lake).checks if check.faults] == []


def test_an_empty_book_before_the_open_is_a_quote(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    quotes = [quote(b"ZIEXT", (0, 0), (0, 0)), quote(b"ZIEXT", (100, 100), (0, 0)), quote(b"ZIEXT", (101_000, 1), (100_000, 1))]
    (tmp_path / "quotes.pcapng").write_bytes(pcapng([packet(segment(quotes))]))
    import_paths(lake, log, "iex", "tops", [tmp_path])
    land(lake, log)
    assert promote(lake, "iex").tables["normalized.quotes"].rows == 3
    assert read(lake, "quality.findings")["kind"].to_pylist() == ["crossed_quote"]
