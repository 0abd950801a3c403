"""A story of one lake, told in chapters: what is delivered, held, released, rebuilt, rescinded, rewritten. Topics tell it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.log.segments import SegmentLog
from lake.publish import Increment, hold, publish, reject, replace_all, stage, stage_release
from lake.scan import read, replaced_files
from lake.tables import rows, table_named
from lake.values import MessageRange
from serving.topics.publisher import publish as publish_topics
from tests.serving import small_lake
from tests.serving.test_topics import delivered_bars

CAPTURE = "binance-spot-2"


def trades(first: int, last: int, price: str = "60000") -> pa.Table:
    count = last - first + 1
    return rows(
        table_named("normalized.trades"),
        {
            "instrument_id": [(small_lake.SPOT, small_lake.USDM)[number % 2] for number in range(count)],
            "provider": ["binance"] * count,
            "feed": ["spot"] * count,
            "symbol": ["BTCUSDT"] * count,
            "session_date": [date(2024, 8, 9)] * count,
            "ts_event": [datetime(2024, 8, 9, 0, number // 60, number % 60, tzinfo=UTC) for number in range(first, last + 1)],
            "ts_event_nanos": [0] * count,
            "ts_recv": [datetime(2026, 11, 21, tzinfo=UTC)] * count,
            "price": [Decimal(price)] * count,
            "size": [Decimal("0.5")] * count,
            "capture_id": [CAPTURE] * count,
            "message_seq": list(range(first, last + 1)),
            "ordinal": [0] * count,
        },
    )


def batch(first: int, last: int) -> Increment:
    """Trades of messages [first, last] as a batch of the provider."""
    before = {"0": first} if first else {}
    ranges = (MessageRange(CAPTURE, first, last),)
    return Increment("normalized.trades", "binance", trades(first, last), before, {"0": last + 1}, f"run-{first}", ranges)


def factor(lake: Lake, run: str, known: int, ratio: int, status: str = "announced") -> None:
    """Publish a version of the split of 2020-08-31, known on a day of August."""
    factor_ = Decimal(1) if status == "rescinded" else Decimal(1) / ratio
    small_lake.put(
        lake,
        "adjusted.factors",
        {
            "instrument_id": [small_lake.AAPL],
            "ex_date": [date(2020, 8, 31)],
            "kind": ["split"],
            "status": [status],
            "price_factor": [factor_],
            "volume_factor": [1 / factor_],
            "ratio_old": [1],
            "ratio_new": [ratio],
            "method": ["split_ratio"],
            "inputs_hash": [run],
            "known_at": [datetime(2020, 8, known, tzinfo=UTC)],
            "provider": ["ice"],
            "action_key": ["2103357"],
            "capture_id": [small_lake.CAPTURE],
            "message_seq": [0],
            "ordinal": [0],
            "run_id": [run],
        },
        run,
    )


def minutes(lake: Lake, run: str, close: str, known: int) -> None:
    """Deliver a minute bar of AAPL, of a provider that restates it."""
    small_lake.put(
        lake,
        "normalized.bars",
        {
            "instrument_id": [small_lake.AAPL],
            "provider": ["yahoo"],
            "feed": ["chart"],
            "symbol": ["AAPL"],
            "session_date": [date(2020, 8, 28)],
            "interval": ["1m"],
            "ts_open": [datetime(2020, 8, 28, 13, 30, tzinfo=UTC)],
            "close": [Decimal(close)],
            "volume": [Decimal(1200)],
            "basis": ["split_adjusted"],
            "price_type": ["trade"],
            "is_final": [True],
            "known_at": [datetime(2020, 9, known, tzinfo=UTC)],
            "capture_id": [f"capture-{run}"],
            "message_seq": [0],
            "ordinal": [0],
            "run_id": [run],
        },
        run,
    )


def moved_bar(lake: Lake, known: int) -> None:
    """Publish a bar that was published before once more, known later: what a late arrival does to it."""
    first = read(lake, "normalized.bars").filter(pc.field("capture_id") == "capture-late")
    at = first.schema.get_field_index("known_at")
    moved = first.set_column(
        at, first.schema.field(at), pa.array([datetime(2020, 9, known, tzinfo=UTC)], first.schema.field(at).type)
    )
    columns = {name: column.to_pylist() for name, column in zip(moved.column_names, moved.columns, strict=True)}
    small_lake.put(lake, "normalized.bars", {**columns, "run_id": ["moved"]}, "moved")


def daily(lake: Lake, run: str, changed: pa.Table) -> None:
    """Rewrite adjusted.bars_1d."""
    head = lake.head("adjusted.bars_1d")
    before = head.vector("adjusted")
    after = {"0": before.get("0", 0) + 1}
    increment = Increment("adjusted.bars_1d", "adjusted", changed, before, after, run)
    publish(lake, stage(lake, increment, replaced_files(lake, "adjusted.bars_1d")))


def other_close(table: pa.Table, row: int, close: str, run: str) -> pa.Table:
    """Return daily rows with another answer in one of them."""
    found = table.to_pylist()
    found[row] = {**found[row], "adj_close": Decimal(close), "run_id": run}
    return pa.Table.from_pylist(found, table.schema)


@dataclass
class Story:
    lake: Lake
    log: SegmentLog
    told: dict[str, list[int]]

    def goes_on(self) -> None:
        """Publish, and write down how many records each topic got."""
        for one in publish_topics(self.lake, self.log, "story"):
            self.told.setdefault(one.topic, []).append(one.records)


def happened(story: Story) -> None:
    """The story, published after each of its chapters."""
    lake = story.lake
    story.goes_on()
    delivered_bars(lake, "first", [(27, "500.04", 5), (28, "499.23", 5)])
    delivered_bars(lake, "late", [(28, "498.00", 2)])  # known before the one that holds
    story.goes_on()
    moved_bar(lake, 8)
    minutes(lake, "m1", "125.10", 1)
    minutes(lake, "m2", "125.20", 2)
    story.goes_on()
    publish(lake, stage(lake, batch(0, 9)))
    refused = [hold(lake, stage(lake, batch(first, first + 9)), {"failed_checks": ["price_jump"]}) for first in (10, 20)]
    publish(lake, stage(lake, batch(30, 39)))
    story.goes_on()
    publish(lake, stage_release(lake, refused[0]))
    reject(lake, refused[1])
    story.goes_on()
    factor(lake, "corrected", 10, 5)
    factor(lake, "corrected-again", 10, 4)  # the same key, published anew
    factor(lake, "rescinded", 20, 4, "rescinded")
    story.goes_on()
    now = read(lake, "adjusted.bars_1d").sort_by("session_date")
    daily(lake, "second", other_close(now, 0, "124.00", "second"))
    daily(lake, "third", other_close(other_close(now, 0, "124.00", "second"), 1, "123.00", "third").slice(0, 2))
    story.goes_on()
    rebuilt(lake)
    publish(lake, stage(lake, batch(40, 44)))
    delivered_bars(lake, "after", [(27, "500.05", 9)])
    story.goes_on()


def rebuilt(lake: Lake) -> None:
    """Rebuild trades and bars as another decoder would: a row less, a row more, one with another price."""
    now = read(lake, "normalized.trades").sort_by([("capture_id", "ascending"), ("message_seq", "ascending")])
    own = now.filter(pc.equal(now["capture_id"], CAPTURE)).to_pylist()
    found = [*own[1:], {**own[3], "ordinal": 1}]
    found[0] = {**found[0], "price": Decimal("61000")}
    kept = now.filter(pc.not_equal(now["capture_id"], CAPTURE))
    made = pa.concat_tables([kept, pa.Table.from_pylist(found, now.schema)])
    publish(lake, replace_all(lake, "normalized.trades", made, "again-trades", lake.head("normalized.trades").snapshot_id))
    bars = read(lake, "normalized.bars")
    made = pa.Table.from_pylist(
        [{**row, "close": row["close"] + 1} if row["capture_id"] == "capture-first" else row for row in bars.to_pylist()],
        bars.schema,
    )
    publish(lake, replace_all(lake, "normalized.bars", made, "again-bars", lake.head("normalized.bars").snapshot_id))
