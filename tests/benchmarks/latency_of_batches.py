"""Decode and normalise in batches of 1, 100, 2,000 and 20,000 messages, a feed at a time: rows a second, and the slowest batches.

    python -m tests.benchmarks.latency_of_batches [PROVIDER…]

Messages are those of tests/samples, and the packaged Binance recording, over and over: the work of the decoder and of
`normalize`, warm. Batches of 1,000 are repeated for a second, 20 at least: the 99th percentile is of those.
"""

from __future__ import annotations

import gzip
import sys
import time
from datetime import UTC, datetime

import pyarrow as pa

from lake.values import CaptureKind
from tests.benchmarks.bench_decode import RECORDING
from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.decode import binance
from transforms.feeds import Feed, feed_named
from transforms.normalize import normalize

BATCHES = (1, 100, 2_000, 20_000)
LATENCY_OF = 1_000
LEAST, MOST_S = 20, 1.0
NOW = datetime(2026, 11, 21, tzinfo=UTC)
_KINDS = {"bench": CaptureKind.BACKFILL}


def main(providers: list[str]) -> None:
    """Print a line a feed."""
    form = "compiled" if binance.IS_COMPILED else "interpreted"
    print(f"kernels are {form}; messages of the samples; rows a second in batches, then a batch of {LATENCY_OF:,}")
    print(f"{'feed':28}" + "".join(f"{f'of {size:,}':>14}" for size in BATCHES) + f"{'p50 ms':>10}{'p99 ms':>10}")
    recorded = recording()
    for name, (feed, told) in {"binance/spot (recording)": recorded, **dict(sampled())}.items():
        if providers and feed.provider not in providers:
            continue
        speeds = [f"{rate(feed, told, size):>14,.0f}" for size in BATCHES]
        middle, slowest = latency(feed, batch(told, LATENCY_OF))
        print(f"{name:28}" + "".join(speeds) + f"{middle * 1e3:>10.1f}{slowest * 1e3:>10.1f}", flush=True)


def recording() -> tuple[Feed, pa.Table]:
    """Return the packaged frames of Binance's spot market."""
    with gzip.open(RECORDING) as file:
        frames = [line.partition(b" ")[2].rstrip() for line in file]
    bodies = [frame for frame in frames if not frame.startswith(b'{"lastUpdateId"')]
    return feed_named("binance", "spot"), messages(bodies)


def sampled() -> list[tuple[str, tuple[Feed, pa.Table]]]:
    """Return the feed and messages of each sample."""
    found = []
    for folder in sorted(path.parent for path in SAMPLES.glob("*/*/case.json")):
        case, told = sample(folder)
        found.append((f"{folder.parent.name}/{folder.name}", (feed_named(str(case["provider"]), str(case["feed"])), told)))
    return found


def batch(told: pa.Table, size: int) -> pa.Table:
    """Return so many messages, those told over and over."""
    return told.take(pa.array([number % told.num_rows for number in range(size)]))


def once(feed: Feed, told: pa.Table) -> int:
    """Decode and normalise a batch; returns how many facts it gave."""
    decoded = feed.decode(told)
    count = told.num_rows
    place = {
        "provider": pa.repeat(feed.provider, count),
        "feed": pa.repeat(feed.feed, count),
        "capture_id": pa.repeat("bench", count),
        "message_seq": pa.array(range(count), pa.int64()),
        "ts_recv": pa.repeat(pa.scalar(NOW, pa.timestamp("us", tz="UTC")), count),
    }
    whole = pa.table({**{name: told[name] for name in told.column_names}, **place})
    normalize(feed, whole, decoded, _KINDS, "bench", NOW)
    return decoded.fact_count


def rate(feed: Feed, told: pa.Table, size: int) -> float:
    """Return facts a second of the middle one of three batches, or of one where it takes long."""
    one = batch(told, size)
    once(feed, batch(told, 1))
    taken, facts = list[float](), 0
    while len(taken) < 3 and sum(taken) < MOST_S:
        start = time.perf_counter()
        facts = once(feed, one)
        taken.append(time.perf_counter() - start)
    return facts / sorted(taken)[len(taken) // 2]


def latency(feed: Feed, one: pa.Table) -> tuple[float, float]:
    """Return the median and the 99th percentile of a batch's seconds."""
    taken: list[float] = []
    while len(taken) < LEAST or (sum(taken) < MOST_S and len(taken) < 1_000):
        start = time.perf_counter()
        once(feed, one)
        taken.append(time.perf_counter() - start)
    taken.sort()
    return taken[len(taken) // 2], taken[min(int(len(taken) * 0.99), len(taken) - 1)]


if __name__ == "__main__":
    main(sys.argv[1:])
