"""FIX increments of a recorded index feed: ours through to Arrow against simplefix, which parses fields alone.

Ours checks length and sum, parts groups, and ends in Arrow columns of exact decimals; simplefix ends in messages, lists of
(tag, value), groups and sums unread (`pip install tickhouse[bench]`). Also the cutting of a log into messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from ingest.containers.fix import split
from tests.benchmarks.cases import Case, Skipped
from transforms.decode import fix
from transforms.kernels import fix as kernel

SAMPLE = Path(__file__).parents[1] / "samples" / "fix" / "jse_indices" / "excerpt.fix"
DECODE = "decode FIX increments, batches of 2,000"
CUT = "cut a FIX log into messages"
BATCH = 2_000
REQUEST = json.dumps({"file": "log.fix"})


def cases() -> list[Case | Skipped]:
    """Return ours and the others, on the increments of the packaged excerpt, over and over."""
    lines = [line for line in SAMPLE.read_bytes().splitlines() if b"\x0135=X\x01" in line]
    increments = (lines * (BATCH // len(lines) + 1))[:BATCH]
    table = _messages(increments)
    case = partial(Case, DECODE, unit="messages")
    return [
        case(name="tickhouse", run=partial(_decode, table, kernel.read_increments), is_ours=True),
        case(name="tickhouse, by the tree alone", run=partial(_decode, table, None)),
        _simplefix(increments),
        Case(CUT, name="tickhouse", unit="messages", run=partial(_cut, b"".join(increments)), is_ours=True),
    ]


def _messages(payloads: list[bytes]) -> pa.Table:
    count = len(payloads)
    return pa.table({"payload": pa.array(payloads, pa.binary()), "request": pa.repeat(pa.scalar(REQUEST), count)})


def _decode(table: pa.Table, scan: Callable[[bytes, bytes], kernel.Increments] | None) -> int:
    found = fix.decode_with(table, scan)
    if not found.fact_count or found.refused.num_rows:
        raise ValueError(f"{found.fact_count} facts, {found.refused.num_rows} refused: the excerpt is not what it was")
    return table.num_rows


def _cut(log: bytes) -> int:
    return sum(1 for _ in split(log[at : at + 65_536] for at in range(0, len(log), 65_536)))


def _simplefix(payloads: list[bytes]) -> Case | Skipped:
    if find_spec("simplefix") is None:
        return Skipped(DECODE, "simplefix", "not installed: pip install tickhouse[bench]")
    from simplefix import FixParser

    def run() -> int:
        parser = FixParser()
        done = 0
        for payload in payloads:
            parser.append_buffer(payload)
            done += parser.get_message() is not None
        return done

    return Case(DECODE, "simplefix, fields alone", "messages", run)
