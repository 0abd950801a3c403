"""Topics over a whole story: restated, late, moved, held, released, rejected, rebuilt, rescinded, rewritten, vanished.

The law: whoever folds a topic (of each event id the highest revision; withdrawn means gone) has what main says, whichever log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from lake.catalog import Lake
from lake.expiry import expire
from lake.instants import system_clock
from lake.log.kafka import KafkaLog
from lake.log.log import Log
from lake.log.segments import SegmentLog
from lake.scan import PUBLISHED_AT, read
from lake.tables import table_named
from serving.streaming.published import cut_now, entries_after
from serving.topics.publisher import EMBEDDED, still_wanted, waiting
from serving.topics.publisher import position_of as position_of_topic
from serving.topics.publisher import publish as publish_topics
from serving.topics.topics import TOPICS, Form, topic_named
from serving.topics.versions import Version, holding_of, turns
from tests.serving import small_lake
from tests.serving.test_topics import delivered_bars, payloads
from tests.serving.topic_story import CAPTURE, Story, daily, happened, other_close
from transforms.revisions import effective

TRADES, BARS, FACTORS = "market.normalized.trades.v1", "market.normalized.bars.v1", "market.corporate_actions.v1"
READY, QUALITY, MINUTES = "market.analysis_ready.1d.v1", "market.quality.v1", "market.analysis_ready.1m.v1"
TRADE_BLOCKS = "market.normalized.trades.blocks.v1"
Event = dict[str, object]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    lake = small_lake.make(folder / "home")
    with SegmentLog(folder / "log", system_clock, min_free_bytes=0) as log:
        told = Story(lake, log, {})
        happened(told)
        yield told
    lake.close()


# --- what main says, read without the topics


def holding(lake: Lake, table: str, interval: str | None = None) -> dict[str, object]:
    """Return what holds on main: event id -> the price that tells versions apart."""
    definition = table_named(table)
    found = read(lake, table, [*definition.column_names, PUBLISHED_AT]).to_pylist()
    names = [name for name in definition.key if name != "known_at"]
    if "known_at" not in definition.key:
        return {_id(table, row): _price(row) for row in found}
    newest: dict[tuple[object, ...], dict[str, object]] = {}
    whole = effective(definition, read(lake, table, [*definition.column_names, PUBLISHED_AT])).to_pylist()
    for row in sorted(whole, key=lambda row: row["known_at"]):
        newest[tuple(row[name] for name in names)] = row
    return {_id(table, row): _price(row) for row in newest.values() if interval in (None, row.get("interval"))}


def _id(table: str, row: dict[str, object]) -> str:
    if table.startswith("normalized."):
        return f"{row['capture_id']}:{row['message_seq']}:{row['ordinal']}"
    if table == "adjusted.bars_1d":
        return f"{table}/{row['instrument_id']}/{row['session_date']}"
    known = row["known_at"]
    assert isinstance(known, datetime)
    stamp = known.isoformat().replace("+00:00", "Z")
    return f"{table}/{row['instrument_id']}/{row['ex_date']}/{row['kind']}/{stamp}"


def _price(row: dict[str, object]) -> object:
    return next(row[name] for name in ("adj_close", "price_factor", "price", "close") if row.get(name) is not None)


# --- what a consumer makes of the topic


def folded(events: Iterable[Event]) -> dict[str, object]:
    """Return what a consumer holds to be true, and prove that each (event id, revision, status) came once."""
    seen: Counter[tuple[object, object, object]] = Counter()
    held: dict[str, tuple[int, object]] = {}
    for event in events:
        name, revision, status = str(event["event_id"]), event["revision"], event["status"]
        assert isinstance(revision, int)
        seen[(name, revision, status)] += 1
        if revision >= held.get(name, (0, None))[0]:
            held[name] = revision, (None if status == "withdrawn" else _told(event))
    assert max(seen.values(), default=1) == 1
    return {name: told for name, (_, told) in held.items() if told is not None}


def _told(event: Event) -> object:
    for name in ("market_data", "analysis_data", "corporate_action", "quality_data"):
        body = event.get(name)
        if isinstance(body, dict):
            prices = body.get("price_data", body)
            found = [prices.get(one) for one in ("adjusted_close", "price_factor", "price", "close")]
            return next((Decimal(one) for one in found if one is not None), body.get("type"))
    raise AssertionError(event)


def events_of(log: Log, topic: str) -> list[Event]:
    return [orjson.loads(payload) for part in payloads(log, topic).values() for payload in part]


HELD = [
    (TRADES, "normalized.trades", None),
    (BARS, "normalized.bars", None),
    (MINUTES, "normalized.bars", "1m"),
    (FACTORS, "adjusted.factors", None),
    (READY, "adjusted.bars_1d", None),
]


@pytest.mark.parametrize(("topic", "table", "interval"), HELD)
def test_a_folded_topic_is_what_main_says(story: Story, topic: str, table: str, interval: str | None) -> None:
    assert folded(events_of(story.log, topic)) == holding(story.lake, table, interval)


@pytest.mark.parametrize(("topic", "table", "interval"), HELD)
def test_a_kafka_consumer_hears_the_same_story(
    story: Story, kafka_broker: str, topic: str, table: str, interval: str | None
) -> None:
    with KafkaLog(f"kafka://{kafka_broker}/story", system_clock) as log:
        publish_topics(story.lake, log, "kafka", [topic])
        assert payloads(log, topic) == payloads(story.log, topic)
    consumer = KafkaConsumer(bootstrap_servers=kafka_broker, enable_auto_commit=False, auto_offset_reset="none")
    parts = [TopicPartition(f"story.{topic}", number) for number in sorted(consumer.partitions_for_topic(f"story.{topic}") or ())]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    ends, heard = consumer.end_offsets(parts), []
    while any(consumer.position(part) < ends[part] for part in parts):
        for records in consumer.poll(timeout_ms=1_000).values():
            heard += [orjson.loads(record.value) for record in records]
    consumer.close()
    assert folded(heard) == holding(story.lake, table, interval)


def test_told_at_once_or_chapter_by_chapter_the_records_are_the_same(story: Story, tmp_path: Path) -> None:
    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=0) as log:
        publish_topics(story.lake, log, "at once")
        for topic in TOPICS.values():
            if topic.name != QUALITY:  # a hold that was settled meanwhile is told with its end
                assert payloads(log, topic.name) == payloads(story.log, topic.name), topic.name


def test_each_instrument_is_told_in_order_in_one_partition(story: Story) -> None:
    for topic, _, _ in HELD:
        places: dict[str, int] = {}
        known: dict[str, list[int]] = {}
        for partition, part in payloads(story.log, topic).items():
            for event in map(orjson.loads, part):
                if event["status"] == "confirmed":
                    body = next(event[name] for name in ("market_data", "analysis_data", "corporate_action") if name in event)
                    assert places.setdefault(body["instrument_id"], partition) == partition
                    known.setdefault(event["event_id"], []).append(event["revision"])
        assert all(revisions == sorted(revisions) for revisions in known.values())


def test_what_never_held_is_told_and_taken_back_at_once(story: Story) -> None:
    told = [one for one in events_of(story.log, BARS) if str(one["event_id"]).startswith("capture-late")]
    assert [(one["status"], one["revision"]) for one in told] == [
        ("confirmed", 1),
        ("withdrawn", 1),
        ("confirmed", 2),
    ]
    assert told[1]["superseded_by"] == "capture-first:0:1"
    assert told[2]["supersedes"] == "capture-first:0:1"


def test_a_held_batch_is_told_when_it_is_released_and_a_rejected_one_never(story: Story) -> None:
    heard = {str(one["event_id"]) for one in events_of(story.log, TRADES)}
    assert {f"{CAPTURE}:{number}:0" for number in range(10, 20)} <= heard
    assert not {f"{CAPTURE}:{number}:0" for number in range(20, 30)} & heard
    told = [one for one in events_of(story.log, QUALITY) if str(one["event_id"]).startswith("holds/")]
    assert [(one["status"], one.get("outcome")) for one in told] == [
        ("confirmed", None),
        ("confirmed", None),
        ("withdrawn", "released"),
        ("withdrawn", "rejected"),
    ]
    body = told[0]["quality_data"]
    assert isinstance(body, dict) and body["metadata"]["failed_checks"] == ["price_jump"]


def test_a_rebuild_withdraws_what_it_lost_and_nothing_else(story: Story) -> None:
    events = [one for one in events_of(story.log, TRADES) if int(str(one["revision"])) > 0 or one["status"] == "withdrawn"]
    assert sorted((str(one["event_id"]), str(one["status"])) for one in events) == [
        (f"{CAPTURE}:0:0", "withdrawn"),
        (f"{CAPTURE}:1:0", "confirmed"),
        (f"{CAPTURE}:3:1", "confirmed"),
    ]
    told: Counter[str] = Counter()
    for part in payloads(story.log, TRADE_BLOCKS).values():
        for payload in part:
            table = pa.ipc.open_stream(payload).read_all()
            sign = 1 if table.schema.metadata[b"tickhouse.status"] == b"confirmed" else -1
            told.update(
                {
                    f"{name} {price}": sign
                    for name, price in zip(table["event_id"].to_pylist(), table["price"].to_pylist(), strict=True)
                }
            )
    there = read(story.lake, "normalized.trades").to_pylist()
    assert {name for name, count in told.items() if count} == {f"{_id('normalized.trades', row)} {row['price']}" for row in there}


def test_a_rescinded_split_is_no_action_applied(story: Story) -> None:
    told = [(one["event_type"], one["status"]) for one in events_of(story.log, FACTORS) if "event_type" in one]
    assert told == [("CorporateActionApplied", "confirmed")] * 3 + [("CorporateActionRescinded", "confirmed")]


def test_minutes_name_their_provider_and_invent_nothing(story: Story) -> None:
    told = [one["analysis_data"] for one in events_of(story.log, MINUTES) if one["status"] == "confirmed"]
    assert [(one["timeframe"], one["price_data"]["close"]) for one in told if isinstance(one, dict)] == [
        ("1m", "125.1"),
        ("1m", "125.2"),
    ]
    last = told[-1]
    assert isinstance(last, dict)
    assert (last["processing_metadata"]["source"], last["processing_metadata"]["basis"]) == ("yahoo", "split_adjusted")
    assert last["price_data"]["adjusted_close"] is None and last["volume_data"]["dollar_volume"] is None


def test_expiry_keeps_what_topics_must_still_compare(story: Story) -> None:
    lake = story.lake
    wanted = still_wanted(lake, "adjusted.bars_1d")
    assert wanted == {position_of_topic(lake, topic_named(READY), "story").last}
    for number in range(3):
        now = read(lake, "adjusted.bars_1d").sort_by("session_date")
        daily(lake, f"later-{number}", other_close(now, 0, f"12{number}.5", f"later-{number}"))
    assert expire(lake, "adjusted.bars_1d", keep=1, slack=0, also=wanted) > 0
    story.goes_on()
    assert folded(events_of(story.log, READY)) == holding(lake, "adjusted.bars_1d")
    assert waiting(lake, topic_named(READY), position_of_topic(lake, topic_named(READY), "story")) == []


# --- retention


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = system_clock()

    def __call__(self) -> int:
        return self.now


def test_old_events_leave_the_embedded_log_once_every_reader_passed(tmp_path: Path) -> None:
    clock = Clock()
    lake = small_lake.make(tmp_path / "home")
    lake.settings = lake.settings.model_copy(update={"topic_retention_s": 3_600.0})
    lake.clock = clock
    name, listener = BARS, cut_now(lake, "normalized.bars").position
    with SegmentLog(tmp_path / "log", clock, segment_age_s=60, min_free_bytes=0, min_age_s=60) as log:
        for hour in range(4):
            delivered_bars(lake, f"run-{hour}", [(27, f"50{hour}.04", hour + 1)])
            publish_topics(lake, log, EMBEDDED, [name])
            if not hour:
                log.release(name, "a consumer", {})  # registered: nothing goes before it has passed
            clock.now += 1_800 * 10**9
        (partition,) = log.bounds(name)
        assert log.bounds(name)[partition].first == 0
        log.release(name, "a consumer", {partition: log.bounds(name)[partition].next})
        delivered_bars(lake, "run-4", [(27, "504.04", 5)])
        publish_topics(lake, log, EMBEDDED, [name])
        bound = log.bounds(name)[partition]
        assert 0 < bound.first < bound.next
        kept = events_of(log, name)
        assert [one["event_id"] for one in kept][-1] == "capture-run-4:0:0"
        assert publish_topics(lake, log, EMBEDDED, [name])[0].records == 0
        assert len(entries_after(lake, "normalized.bars", listener)[0]) == 5, "the stream reads the ledger: its places stay"
    lake.close()


# --- the chain alone


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=8))
def test_turns_end_with_the_version_that_holds(told: Sequence[tuple[int, bool]]) -> None:
    chain = [
        Version(str(number), number, datetime(2020, 1, 1 + known, tzinfo=UTC), None, number, is_new=True)
        for number, (known, _) in enumerate(told)
    ]
    true: set[str] = set()
    for turn in turns(chain):
        true.add(turn.version.event_id)
        true -= {turn.before.event_id} if turn.before else {turn.version.event_id} if turn.holding else set()
    holds = holding_of(chain)
    assert true == (set() if holds is None else {holds.event_id})
    old = [replace(one, is_new=False) for one in chain[:-1]]
    assert [turn.version for turn in turns([*old, *chain[-1:]])] == chain[-1:]
    assert all(topic.form in Form for topic in TOPICS.values())
