"""Holds: a poisoned batch waits, the feed goes on, a person decides once, and nothing is lost or doubled."""

from __future__ import annotations

import pytest

from lake.as_of import ledger
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError, QualityError
from lake.instants import to_datetime
from lake.scan import read
from quality_checks.holds import list_holds, reject, release
from quality_checks.levels import known_levels
from quality_checks.promotion import adds_up, promote
from quality_checks.rebuild import rebuild
from tests.quality_checks import raw

TRADES = "normalized.trades"


def poisoned(lake: Lake, *, bad: range = range(10, 13)) -> str:
    """Land twenty trades of which some are a hundred times too dear; returns the hold's id."""
    payloads = [(ns, raw.trade(n, 6_000_000 if n in bad else 60000)) for n, (ns, _) in enumerate(raw.trades(range(20)))]
    raw.land(lake, "cap1", payloads)
    report = promote(lake, "binance")
    assert report.tables[TRADES].held == 20 and read(lake, TRADES).num_rows == 0
    [hold] = report.holds
    return hold


def trade_ids(lake: Lake) -> list[int]:
    return sorted(int(text) for text in read(lake, TRADES)["trade_id"].to_pylist())


def assert_counts_add_up(lake: Lake) -> None:
    settled = [one.counts for one in ledger(lake, TRADES) if one.owner == "binance"] + [h.counts for h in list_holds(lake)]
    assert all(adds_up(counts) for counts in settled)


def test_a_poisoned_batch_is_held_with_its_report_and_the_feed_goes_on(lake):
    hold_id = poisoned(lake)
    [hold] = list_holds(lake)
    assert hold.hold_id == hold_id and hold.row_count == 20
    assert hold.report["failed_checks"] == ["price_jump"] and hold.report["failing_rows"] == {"price_jump": 3.0}
    raw.land(lake, "cap2", raw.trades(range(20, 30)))
    assert promote(lake, "binance").tables[TRADES].rows == 10
    assert trade_ids(lake) == list(range(20, 30))
    assert promote(lake, "binance").messages == 0
    assert_counts_add_up(lake)


def batch(lake: Lake, number: int, price: object) -> list[str]:
    """Land ten trades as a capture of their own and promote them; returns the holds."""
    raw.land(lake, f"cap{number}", raw.trades(range(10 * number, 10 * number + 10), price))
    return promote(lake, "binance").holds


def test_a_batch_wrong_throughout_by_one_factor_is_held_beside_what_was_published(lake):
    assert batch(lake, 0, 60000) == []
    assert batch(lake, 1, 600_000) == [] and batch(lake, 2, 60000) == []
    [held] = batch(lake, 3, 6_000_000)
    assert list_holds(lake)[0].report["failed_checks"] == ["price_level"]
    assert batch(lake, 4, 60001) == []
    with pytest.raises(QualityError, match="still fails price_level"):
        release(lake, held, "looked at it")
    assert known_levels(lake, TRADES, "binance")["price"].to_pylist() == [60001]
    assert release(lake, held, "pounds from now on", waive=["price_level"]).rows == 10
    assert batch(lake, 5, 6_000_000) != []  # trades of batch 4 are newer than those released
    assert rebuild(lake, TRADES).is_same
    assert_counts_add_up(lake)


def test_once_the_new_level_is_released_the_other_batches_are_released_without_a_waiver(lake):
    batch(lake, 0, 60000)
    holds = batch(lake, 1, 600) + batch(lake, 2, 600)
    assert len(holds) == 2
    assert release(lake, holds[0], "split 100:1", waive=["price_level"]).rows == 10
    assert release(lake, holds[1], "split 100:1").rows == 10
    assert batch(lake, 3, 601) == [] and trade_ids(lake) == list(range(40))


def test_a_release_without_failed_rows_leaves_a_wrong_level_out(lake):
    batch(lake, 0, 60000)
    prices = [2_000_000 if n < 3 else 1_000_000 for n in range(10)]
    raw.land(lake, "cap1", [(raw.trades([10 + n])[0][0], raw.trade(10 + n, price)) for n, price in enumerate(prices)])
    [held] = promote(lake, "binance").holds
    decision = release(lake, held, "scaled", without_failed=True)
    assert (decision.rows, decision.quarantined) == (7, 3)
    assert set(read(lake, "quality.quarantine")["rule"].to_pylist()) == {"held_price_level"}
    assert_counts_add_up(lake)


def test_levels_that_were_lost_are_made_from_main(lake):
    batch(lake, 0, 60000)
    kept = known_levels(lake, TRADES, "binance")
    lake.state.save_document("levels", f"{TRADES}/binance", {})
    assert known_levels(lake, TRADES, "binance").num_rows == 0
    with lake.state.writing() as connection:
        connection.exec_driver_sql("DELETE FROM documents WHERE kind = 'levels'")
    assert known_levels(lake, TRADES, "binance").equals(kept) and kept["price"].to_pylist() == [60000]
    assert len(batch(lake, 1, 6_000_000)) == 1


def test_recorded_frames_scaled_a_hundred_times_are_held_and_the_rest_of_the_recording_is_not(lake):
    frames = raw.frames(900)
    scaled = [(ns, body.replace(b'"p":"', b'"p":"99') if b"@trade" in body and 300 <= n < 360 else body)
              for n, (ns, body) in enumerate(frames)]  # fmt: skip
    raw.land(lake, "cap1", scaled, block=100)
    report = promote(lake, "binance")
    assert len(report.holds) == 1 and report.tables[TRADES].held > 0 and report.tables[TRADES].rows == 0
    assert report.tables["normalized.quotes"].rows > 0 and report.tables["normalized.book_events"].rows > 0


def test_a_release_is_audited_again_and_refused_while_checks_fail(lake):
    hold_id = poisoned(lake)
    with pytest.raises(QualityError, match="still fails price_jump") as refused:
        release(lake, hold_id, "looked at it")
    assert refused.value.report["failed_checks"] == ["price_jump"]
    assert [hold.hold_id for hold in list_holds(lake)] == [hold_id] and trade_ids(lake) == []
    assert [ref for ref in lake.table(TRADES).metadata.refs if ref != "main"] == []
    assert [row["what"] for row in lake.state.audit_log()] == ["release refused"]


def test_a_waived_release_publishes_everything_once(lake):
    hold_id = poisoned(lake)
    before = to_datetime(lake.clock())
    decision = release(lake, hold_id, "a real squeeze", waive=["price_jump"], who="ann")
    assert (decision.outcome, decision.rows) == ("released", 20)
    assert trade_ids(lake) == list(range(20)) and list_holds(lake) == []
    again = release(lake, hold_id, "a real squeeze", waive=["price_jump"])
    assert again.outcome == "already" and again.detail.startswith("release at")
    assert trade_ids(lake) == list(range(20))
    entry = lake.state.audit_log()[-1]
    assert (entry["who"], entry["what"], entry["reason"]) == ("ann", "release", "a real squeeze")
    assert read(lake, TRADES, as_of=before).num_rows == 0
    assert_counts_add_up(lake)


def test_a_release_without_failed_rows_sends_just_those_to_quarantine(lake):
    hold_id = poisoned(lake)
    decision = release(lake, hold_id, "three frames scaled", without_failed=True)
    assert (decision.rows, decision.quarantined) == (17, 3)
    assert trade_ids(lake) == [n for n in range(20) if n not in range(10, 13)]
    refused = read(lake, "quality.quarantine")
    assert sorted(refused["event_id"].to_pylist()) == ["cap1:10:0", "cap1:11:0", "cap1:12:0"]
    assert set(refused["rule"].to_pylist()) == {"held_price_jump"} and set(refused["value"].to_pylist()) == {
        "three frames scaled"
    }
    assert_counts_add_up(lake)
    assert release(lake, hold_id, "again").outcome == "already"


def test_what_was_delivered_again_meanwhile_is_repeated_at_release(lake):
    hold_id = poisoned(lake)
    raw.land(lake, "cap2", raw.trades(range(5, 15)))
    assert promote(lake, "binance").tables[TRADES].rows == 10
    decision = release(lake, hold_id, "the rest", without_failed=True)
    # 10, 11 and 12 came again with the right price: the held copies contradict them.
    assert (decision.rows, decision.repeated, decision.quarantined) == (10, 7, 3)
    assert trade_ids(lake) == list(range(20))
    assert set(read(lake, TRADES)["price"].to_pylist()) == {60000}
    assert_counts_add_up(lake)


def test_a_hold_that_came_again_whole_is_released_without_rows(lake):
    hold_id = poisoned(lake)
    raw.land(lake, "cap2", raw.trades(range(20)))
    promote(lake, "binance")
    decision = release(lake, hold_id, "came again", without_failed=True)
    assert (decision.outcome, decision.rows) == ("released", 0)
    assert trade_ids(lake) == list(range(20)) and list_holds(lake) == []
    assert_counts_add_up(lake)


def test_reject_sends_every_row_to_quarantine_first(lake):
    hold_id = poisoned(lake)
    decision = reject(lake, hold_id, "wrong feed", who="bob")
    assert (decision.outcome, decision.quarantined) == ("rejected", 20)
    assert list_holds(lake) == [] and trade_ids(lake) == []
    assert read(lake, "quality.quarantine")["rule"].to_pylist() == ["held_rejected"] * 20
    assert reject(lake, hold_id, "wrong feed").outcome == "already"
    assert release(lake, hold_id, "changed my mind").outcome == "already"
    assert_counts_add_up(lake)


def test_a_decision_needs_a_reason_and_a_hold(lake):
    hold_id = poisoned(lake)
    with pytest.raises(InvalidValueError, match="reason"):
        release(lake, hold_id, " ")
    with pytest.raises(NotFoundError):
        reject(lake, "trades-binance-none", "why not")
