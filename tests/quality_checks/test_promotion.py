"""Promotion: every fact once, counts that add up, a poisoned batch held while the feed goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.as_of import ledger
from lake.catalog import Lake
from lake.conditions import Where
from lake.content import content_hash
from lake.errors import CommitConflictError, QualityError
from lake.instants import system_clock
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from lake.tables import table_named
from quality_checks.contract import CONTRACTS
from quality_checks.promotion import adds_up, promote
from tests.quality_checks import raw

TRADES = "normalized.trades"
BINANCE = ("normalized.trades", "normalized.quotes", "normalized.book_events")


class Stopped(Exception):
    """Stands in for a crash at a step boundary."""


class StopAt(Steps):
    """Raises the n-th time a boundary is reached."""

    def __init__(self, name: str, count: int = 1) -> None:
        self.name, self.left = name, count

    def reached(self, name: str) -> None:
        if name == self.name:
            self.left -= 1
            if self.left == 0:
                raise Stopped(name)


def small_lake(path: Path, **settings: object) -> Lake:
    return Lake.create(load_settings(home=path, **settings), system_clock)


def hashes(lake: Lake, tables: tuple[str, ...] = BINANCE) -> dict[str, str]:
    return {name: content_hash(table_named(name), read(lake, name)) for name in tables}


def assert_complete(lake: Lake, table: str, provider: str = "binance") -> None:
    """Every settled interval adds up, and together they begin where the one before ended."""
    reached: dict[str, int] = {}
    for one in ledger(lake, table):
        if one.owner == provider:
            assert adds_up(one.counts), one
            assert {k: v for k, v in one.before.items() if v} == reached
            reached = dict(one.after)
    assert reached == lake.head(table).vector(provider)


def test_recorded_frames_become_facts_once_with_counts_that_add_up(lake):
    raw.land(lake, "cap1", raw.frames(1500), block=100)
    report = promote(lake, "binance")
    assert report.messages == 1500 and report.batches == 1 and report.waiting == 0
    for table in BINANCE:
        told = report.tables[table]
        assert told.decoded == told.rows + told.repeated + told.quarantined
        assert read(lake, table).num_rows == told.rows > 0
        assert_complete(lake, table)
    again = promote(lake, "binance")
    assert again.messages == 0 and again.batches == 0
    runs = read(lake, "quality.gate_runs")
    assert set(runs["verdict"].to_pylist()) == {"passed"}
    assert runs["checks_expected"].to_pylist() == runs["checks_evaluated"].to_pylist()
    assert read(lake, "reference.instruments")["identity"].to_pylist() == ["listing:BINANCE/BTCUSDT:spot"]


def test_batch_size_and_landing_in_pieces_change_nothing(tmp_path):
    frames = raw.trades(range(300))
    with small_lake(tmp_path / "one") as one, small_lake(tmp_path / "two", batch_messages=120) as two:
        raw.land(one, "cap1", frames, block=50)
        promote(one, "binance")
        raw.land(two, "cap1", frames[:133], block=50)
        promote(two, "binance")
        raw.land(two, "cap1", frames[133:], block=50, first_seq=133, with_capture=False, partition=2)
        report = promote(two, "binance")
        assert report.batches > 1
        assert hashes(one) == hashes(two)
        for table in BINANCE:
            assert_complete(two, table)


def test_a_fact_delivered_twice_is_one_row_and_a_contradiction_is_quarantined(lake):
    raw.land(lake, "cap1", raw.trades(range(10)))
    raw.land(lake, "cap2", raw.trades(range(5, 15)), partition=1)
    raw.land(lake, "cap3", raw.trades([14], price=61000), partition=2)
    report = promote(lake, "binance").tables[TRADES]
    assert (report.decoded, report.rows, report.repeated, report.quarantined) == (21, 15, 5, 1)
    raw.land(lake, "cap4", raw.trades(range(20)), partition=3)
    later = promote(lake, "binance").tables[TRADES]
    assert (later.decoded, later.rows, later.repeated) == (20, 5, 15)
    refused = read(lake, "quality.quarantine")
    assert refused["rule"].to_pylist() == ["conflicting_duplicate"] and refused["event_id"].to_pylist() == ["cap3:0:0"]


def test_refused_rows_and_unreadable_messages_are_in_quarantine_once(lake):
    good, now = raw.trades(range(3)), raw.trades([0])[0][0]
    bad = [(now, b"\x00garbled"), (now, raw.trade(3, 0)), (now, raw.trade(4, "1e99")), (now, b"")]
    raw.land(lake, "cap1", [*good, *bad])
    report = promote(lake, "binance")
    told = report.tables[TRADES]
    assert told.rows == 3 and told.decoded == told.rows + told.quarantined
    assert report.messages == 7
    refused = read(lake, "quality.quarantine")
    assert refused.num_rows + report.control == 4
    assert len(set(refused["event_id"].to_pylist())) == refused.num_rows
    assert "price_not_positive" in refused["rule"].to_pylist()


def test_a_provider_that_nobody_can_read_waits_in_raw_and_an_unknown_feed_is_quarantined(lake):
    raw.land(lake, "cap1", raw.trades([1, 2]), provider="binance", feed="options")
    report = promote(lake, "binance")
    assert report.messages == 2 and report.refused_messages == 2
    assert read(lake, "quality.quarantine")["rule"].to_pylist() == ["unknown_feed"] * 2
    assert promote(lake, "nobody").messages == 0


def test_messages_wait_until_their_capture_is_known(lake):
    raw.land(lake, "cap1", raw.trades(range(10)), block=5)
    raw.land(lake, "cap2", raw.trades(range(10, 20)), block=5, with_capture=False)
    report = promote(lake, "binance")
    assert (report.messages, report.waiting) == (10, 10)
    raw.land_capture(lake, "cap2")
    report = promote(lake, "binance")
    assert (report.messages, report.waiting) == (10, 0)
    assert read(lake, TRADES).num_rows == 20


def mixed_frames() -> list[raw.Payload]:
    """Trades, one of them refused, and recorded frames of all three tables."""
    return [*raw.trades(range(40)), (raw.trades([0])[0][0], raw.trade(99, 0)), *raw.frames(80)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with small_lake(tmp_path_factory.mktemp("whole")) as whole:
        raw.land(whole, "cap1", mixed_frames(), block=40)
        promote(whole, "binance")
        return hashes(whole)


@pytest.mark.parametrize(
    ("boundary", "count"),
    [("promote.quarantined", 1), ("publish.files", 2), ("publish.staged", 3), ("publish.published", 4), ("append.committed", 3)],
)
def test_a_promotion_stopped_anywhere_goes_on_to_the_same_end(tmp_path, undisturbed, boundary, count):
    settings = load_settings(home=tmp_path / "home", batch_messages=100)
    with Lake.create(settings, system_clock) as stopped:
        raw.land(stopped, "cap1", mixed_frames(), block=40)
        stopped.steps = StopAt(boundary, count)
        with pytest.raises(Stopped):
            promote(stopped, "binance")
    with Lake.open(settings, system_clock) as again:
        promote(again, "binance")
        assert hashes(again) == undisturbed
        assert read(again, "quality.quarantine")["rule"].to_pylist().count("price_not_positive") == 1
        for table in BINANCE:
            assert_complete(again, table)
            assert [ref for ref in again.table(table).metadata.refs if ref != "main"] == []


def test_where_nothing_is_to_do_no_lease_is_waited_for_and_what_a_crash_left_is_mended(tmp_path):
    settings = load_settings(home=tmp_path / "home", lease_timeout_s=0)
    with Lake.create(settings, system_clock) as stopped:
        raw.land(stopped, "cap1", raw.trades(range(10)))
        stopped.steps = StopAt("publish.published", 3)  # instruments, listings, and the trades: their position has moved
        with pytest.raises(Stopped):
            promote(stopped, "binance")
    with Lake.open(settings, system_clock) as lake:
        published = [lake.head(TRADES).snapshot_id]
        assert lake.state.booked(TRADES, published) == set()
        with lake.state.lease(TRADES):
            assert promote(lake, "binance").messages == promote(lake, "yahoo").messages == 0
            assert lake.state.booked(TRADES, published) == set(published)
            raw.land(lake, "cap2", raw.trades(range(5, 15)), partition=1)
            with pytest.raises(CommitConflictError, match=TRADES):
                promote(lake, "binance")
        lake.steps = StopAt("publish.staged")
        with pytest.raises(Stopped):
            promote(lake, "binance")
        assert len(lake.table(TRADES).metadata.refs) == 2
        lake.steps = Steps()
        told = promote(lake, "binance").tables[TRADES]
        assert (told.rows, told.repeated, read(lake, TRADES).num_rows) == (5, 5, 15)
        assert list(lake.table(TRADES).metadata.refs) == ["main"]


def test_an_unfinished_audit_stops_the_feed_and_holds_nothing(lake, tmp_path):
    folder = tmp_path / "contracts"
    folder.mkdir()
    for path in CONTRACTS.glob("*.yml"):
        text = path.read_text()
        (folder / path.name).write_text(text.replace("size < 0", "siez < 0") if path.stem == TRADES else text)
    raw.land(lake, "cap1", raw.trades(range(10)))
    before = lake.head(TRADES).vector("binance")
    with pytest.raises(QualityError, match="could not be finished"):
        promote(lake, "binance", contracts=folder)
    assert lake.head(TRADES).vector("binance") == before and lake.head(TRADES).holds == ()
    assert [ref for ref in lake.table(TRADES).metadata.refs if ref != "main"] == []
    runs = read(lake, "quality.gate_runs", where=[Where("table_name", "=", TRADES)])
    assert runs["verdict"].to_pylist() == ["error"]
    assert promote(lake, "binance").tables[TRADES].rows == 10
