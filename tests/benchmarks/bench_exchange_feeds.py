"""Exchange feeds through to Arrow: ITCH 5.0 against itchfeed, IEX TOPS captures, and order books replayed.

Ours ends in Arrow columns of exact decimals, with symbols, trades of executions and sessions; itchfeed ends in one Python object
a message (`pip install tickhouse[bench]`), iex_parser in one dict. ITCH is RITCH's file (MIT, packaged), TOPS a capture made by
hand.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from ingest.containers.captures import capture_packets
from ingest.containers.itch import itch_messages
from ingest.containers.source import Piece, Source, Told
from tests.benchmarks.cases import Case, Skipped
from tests.transforms.decode.iex_made import TOPS16, packets_of, pcap, quote, trade
from transforms.decode import iex, nasdaq_itch
from transforms.decode.decoded import Decoded
from transforms.kernels import book as kernel
from transforms.kernels import itch as itch_kernel

RITCH = Path(__file__).parents[1] / "samples" / "nasdaq" / "itch" / "ex20101224.TEST_ITCH_50.gz"
ITCH, TOPS, BOOKS = "decode ITCH 5.0", "decode IEX TOPS from pcap", "replay an order book"
REPEATED = 10


class _Bytes(Source):
    """A file that lies in memory."""

    def __init__(self, content: bytes) -> None:
        super().__init__(Path("memory"))
        self._content = content

    def chunks(self):
        """Yield the content."""
        yield from (self._content[at : at + 65_536] for at in range(0, len(self._content), 65_536))


def cases() -> list[Case | Skipped]:
    """Return ours and the others, on the packaged ITCH file and on a made capture of 40,000 messages."""
    day = _prefixed(gzip.decompress(RITCH.read_bytes()))
    itch = day * REPEATED
    made = [quote(b"ZIEXT", (n, 100), (n + 100, 100)) for n in range(10_000, 40_000)]
    made += [trade(b"QCOM", 100, 718_100, n) for n in range(10_000)]
    capture = _Bytes(pcap(packets_of(made, TOPS16, each=4)))
    runs, packets = list(itch_messages(_Bytes(itch), Told("20240103"))), list(capture_packets(capture, Told("made")))
    return [
        Case(ITCH, "tickhouse", "messages", partial(_decode, nasdaq_itch.decode, _table(runs), 12_012 * REPEATED), is_ours=True),
        _itchfeed(day),
        Case(f"{ITCH}, cut into runs", "tickhouse", "messages", partial(_cut_itch, itch), is_ours=True),
        Case(TOPS, "tickhouse", "messages", partial(_decode, iex.decode_tops, _table(packets), len(made)), is_ours=True),
        _iex_parser(capture),
        Case(f"{TOPS}, cut into runs", "tickhouse", "messages", partial(_cut_capture, capture, len(made)), is_ours=True),
        Case(BOOKS, "tickhouse", "events", partial(_replay, _orders(60_000), 60_000), is_ours=True),
    ]


def _prefixed(zeros: bytes) -> bytes:
    found, at = bytearray(), 0
    while at < len(zeros):
        length = itch_kernel.LENGTHS[chr(zeros[at + 2])]
        found += length.to_bytes(2, "big") + zeros[at + 2 : at + 2 + length]
        at += 2 + length
    return bytes(found)


def _table(pieces: list[Piece]) -> pa.Table:
    requests = [json.dumps(piece.request) for piece in pieces]
    return pa.table({"payload": pa.array([piece.payload for piece in pieces], pa.binary()), "request": requests})


def _decode(decode: Callable[[pa.Table], Decoded], table: pa.Table, messages: int) -> int:
    found = decode(table)
    if found.refused.num_rows or not found.fact_count:
        raise ValueError(f"{found.fact_count} facts, {found.refused.num_rows} refused: the input is not what it was")
    return messages


def _cut_itch(content: bytes) -> int:
    return 12_012 * REPEATED if sum(1 for _ in itch_messages(_Bytes(content), Told("20240103"))) else 0


def _cut_capture(capture: Source, messages: int) -> int:
    return messages if sum(1 for _ in capture_packets(capture, Told("made"))) else 0


def _replay(columns: bytes, count: int) -> int:
    kernel.replay(kernel.Book(count), columns, count)
    return count


def _orders(count: int) -> bytes:
    """Return events of orders that come, are executed in part and go, as the kernel's columns."""
    rows = [(action, order, order) for order in range(count // 3) for action in (kernel.ADD, kernel.EXECUTE, kernel.DELETE)]
    sides = [order % 2 + 1 for _, order, _ in rows]
    away = [(-1 if side == kernel.BUY else 1) * (order * 7919 % 200) for (_, order, _), side in zip(rows, sides, strict=True)]
    columns = [*zip(*rows, strict=True), sides, [10**12 + steps * 10**7 for steps in away], [5] * len(rows)]
    return b"".join(value.to_bytes(8, "little", signed=True) for column in columns for value in column)


def _itchfeed(day: bytes) -> Case | Skipped:
    if find_spec("itch") is None:
        return Skipped(ITCH, "itchfeed", "not installed: pip install tickhouse[bench]")
    from itch.parser import MessageParser

    def run() -> int:
        # it stops at the end of the day's messages, so the days are given one by one
        return sum(1 for _ in range(REPEATED) for _ in MessageParser().parse_stream(day))

    return Case(ITCH, "itchfeed, one object a message", "messages", run)


def _iex_parser(capture: _Bytes) -> Case | Skipped:
    if find_spec("iex_parser") is None or find_spec("scapy") is None:
        return Skipped(
            TOPS, "iex_parser", "not installed: pip install iex_parser (it wants scapy, which is GPL: no extra of ours)"
        )
    from iex_parser import TOPS_1_6, Parser

    content = b"".join(capture.chunks())

    def run() -> int:
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(content)
            file.flush()
            with Parser(file.name, TOPS_1_6) as reader:
                return sum(1 for _ in reader)

    return Case(TOPS, "iex_parser, one dict a message", "messages", run)
