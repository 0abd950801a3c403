"""Proofs of raw: the log against raw.messages, and the messages against what they say of themselves.

Each returns how much it looked at, and what is wrong; quality_checks/verify.py runs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.conditions import Where
from lake.dropped import dropped_of
from lake.log.log import RAW_TOPIC, Log
from lake.scan import read


def as_frame(rows: pa.Table) -> pl.DataFrame:
    """Return rows as a Polars frame, without copying where the types allow it."""
    return pl.DataFrame({name: pl.from_arrow(rows[name]) for name in rows.column_names})


def landed(lake: Lake, log: Log) -> tuple[int, Iterator[str]]:
    """Everything in the log has landed: its ends are the position of raw.messages."""
    position = lake.head("raw.messages").vector("raw")
    bounds = log.bounds(RAW_TOPIC)
    faults = (
        f"log partition {partition} goes to {bound.next}, raw.messages to {position.get(str(partition), 0)}"
        for partition, bound in bounds.items()
        if bound.next != position.get(str(partition), 0)
    )
    return sum(bound.next for bound in bounds.values()), faults


def messages_dense(lake: Lake) -> tuple[int, Iterator[str]]:
    """Every capture has its messages once, numbered without a hole."""
    rows = read(lake, "raw.messages", ["capture_id", "message_seq"])
    counted = (
        as_frame(rows)
        .group_by("capture_id")
        .agg(
            n=pl.len(),
            distinct=pl.col("message_seq").n_unique(),
            first=pl.col("message_seq").min(),
            last=pl.col("message_seq").max(),
        )
    )
    is_whole = not dropped_of(lake.table("raw.messages"))  # otherwise a capture may have lost its first days
    has_hole = pl.col("last") - (0 if is_whole else pl.col("first")) != pl.col("n") - 1
    wrong = counted.filter((pl.col("n") != pl.col("distinct")) | (is_whole & (pl.col("first") != 0)) | has_hole)
    return rows.num_rows, (f"capture {name}: {n} messages, {d} numbers from {a} to {b}" for name, n, d, a, b in wrong.iter_rows())


def payloads(lake: Lake) -> tuple[int, list[str]]:
    """Every payload has the SHA-256 that was taken when it came."""
    faults: list[str] = []
    count = 0
    for capture_id in read(lake, "raw.messages", ["capture_id"])["capture_id"].unique().to_pylist():
        where = [Where("capture_id", "=", capture_id)]
        rows = read(lake, "raw.messages", ["message_seq", "sha256", "payload"], where)
        for seq, told, payload in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            count += 1
            if hashlib.sha256(payload).hexdigest() != told:
                faults.append(f"message {capture_id}:{seq} does not have the SHA-256 {told}")
    return count, faults


def captures_known(lake: Lake) -> tuple[int, Iterator[str]]:
    """Every message is of a capture that ops.captures describes."""
    used = set(read(lake, "raw.messages", ["capture_id"])["capture_id"].unique().to_pylist())
    known = set(read(lake, "ops.captures", ["capture_id"])["capture_id"].to_pylist())
    return len(used), (f"capture {name} of raw.messages is not in ops.captures" for name in sorted(used - known))
