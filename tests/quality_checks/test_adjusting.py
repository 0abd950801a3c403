"""Adjusting, rebuilding and verifying: late facts, blocked instruments, crashes; the same end whatever the way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.catalog import Lake
from lake.content import content_hash
from lake.instants import system_clock, to_datetime
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from lake.tables import table_named
from quality_checks.adjusting import AGREED, BARS_1D, FACTORS, adjust, effective_rows
from quality_checks.differences import changes
from quality_checks.levels import keep_levels, known_levels
from quality_checks.promotion import promote, promote_all
from quality_checks.rebuild import rebuild
from quality_checks.verify import verify
from tests.quality_checks import raw, samples
from tests.quality_checks.test_promotion import StopAt, Stopped
from transforms.revisions import collapsed, effective

NVDA = "chart_NVDA_1d_2021-02_2022-01_split.json"
MSFT = "chart_MSFT_1d_2021-02_2022-01_dividends.json"
ADJUSTED = (AGREED, FACTORS, BARS_1D)


def changed(payload: raw.Payload, **events: object) -> raw.Payload:
    """Return a chart answer, delivered a day earlier, with other events."""
    document = json.loads(payload[1])
    document["chart"]["result"][0]["events"] = events
    return payload[0] - 86_400_000_000_000, json.dumps(document).encode()


def land_charts(lake: Lake, capture: str, *payloads: raw.Payload) -> None:
    raw.land(lake, capture, list(payloads), provider="yahoo", feed="chart", kind="poll", status=200)


def seen(lake: Lake, table: str) -> str:
    """Return the hash of what readers see: rows in force without mere repetitions."""
    definition = table_named(table)
    if table == BARS_1D:
        return content_hash(definition, read(lake, table))
    return content_hash(definition, collapsed(definition, effective_rows(lake, table)))


def assert_proved(lake: Lake) -> None:
    report = verify(lake)
    assert report.is_ok, report.failed


def assert_rebuilt(lake: Lake, *tables: str) -> None:
    for table in tables:
        before = read(lake, table, [*table_named(table).key, "published_at"]).to_pydict()
        report = rebuild(lake, table)
        assert report.is_same and report.is_replaced, report
        after = read(lake, table, [*table_named(table).key, "published_at"]).to_pydict()
        assert sorted(zip(*before.values(), strict=True), key=str) == sorted(zip(*after.values(), strict=True), key=str)


def test_charts_become_agreed_bars_factors_and_daily_answers_once(lake):
    land_charts(lake, "y1", raw.chart(MSFT), raw.chart(NVDA))
    done = promote_all(lake)
    assert [report.provider for report in done.providers] == ["yahoo"] and done.holds == []
    rows = done.adjusted.rows
    assert rows[AGREED] == rows[BARS_1D] == read(lake, AGREED).num_rows > 400
    assert rows[FACTORS] == read(lake, "normalized.corporate_actions").num_rows
    last = read(lake, BARS_1D).sort_by([("instrument_id", "ascending"), ("session_date", "descending")])
    assert last["all_factor"][0].as_py() == 1 and last["adj_close"][0].as_py() == last["close"][0].as_py()
    assert adjust(lake).rows == {}
    assert_proved(lake)
    assert_rebuilt(lake, "normalized.bars", "normalized.corporate_actions", *ADJUSTED)
    assert adjust(lake).rows == {}
    assert_proved(lake)


def test_a_split_learned_late_changes_what_is_in_force_and_nothing_that_was_answered(tmp_path):
    whole = raw.chart(NVDA)
    with Lake.create(load_settings(home=tmp_path / "late"), system_clock) as late:
        land_charts(late, "y1", changed(whole), raw.chart(MSFT))
        promote_all(late)
        moment = to_datetime(late.clock())
        answered = read(late, AGREED, as_of=moment)
        assert set(answered["undone_ratio_new"].to_pylist()) == {1}
        land_charts(late, "y2", whole)
        done = promote_all(late)
        assert done.providers[0].tables["normalized.bars"].rows == 0
        in_force = effective_rows(late, AGREED)
        assert set(in_force["undone_ratio_new"].to_pylist()) == {1, 4}
        assert in_force.num_rows == answered.num_rows < read(late, AGREED).num_rows
        again = read(late, AGREED, as_of=moment)
        assert content_hash(table_named(AGREED), again) == content_hash(table_named(AGREED), answered)
        assert_proved(late)
        assert_rebuilt(late, *ADJUSTED)
        with Lake.create(load_settings(home=tmp_path / "once"), system_clock) as once:
            land_charts(once, "y1", whole, raw.chart(MSFT))
            promote_all(once)
            for table in ADJUSTED:
                assert seen(once, table) == seen(late, table), table


def test_an_impossible_factor_blocks_its_instrument_alone(lake):
    absurd = {"splits": {"1": {"date": 1626787800, "numerator": 1, "denominator": 100, "splitRatio": "1:100"}}}
    land_charts(lake, "y1", changed(raw.chart(NVDA), **absurd), raw.chart(MSFT))
    done = promote_all(lake)
    [blocked] = done.adjusted.blocked
    assert blocked not in read(lake, BARS_1D)["instrument_id"].to_pylist()
    assert len(read(lake, BARS_1D)["instrument_id"].unique()) == 1
    refused = read(lake, "quality.quarantine")
    assert refused["table_name"].to_pylist() == [FACTORS]
    assert "no_factor" in read(lake, "quality.findings")["kind"].to_pylist()
    assert_proved(lake)
    assert_rebuilt(lake, BARS_1D)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("whole")), system_clock) as lake:
        land_charts(lake, "y1", raw.chart(NVDA))
        promote_all(lake)
        return [content_hash(table_named(table), read(lake, table)) for table in ADJUSTED]


@pytest.mark.parametrize(("boundary", "count"), [("adjust.staged", 3), ("publish.published", 2), ("append.committed", 2)])
def test_an_adjustment_stopped_anywhere_goes_on_to_the_same_end(lake, undisturbed, boundary, count):
    land_charts(lake, "y1", raw.chart(NVDA))
    promote(lake, "yahoo")
    lake.steps = StopAt(boundary, count)
    with pytest.raises(Stopped):
        adjust(lake)
    lake.steps = Steps()
    adjust(lake)
    assert_proved(lake)
    assert [content_hash(table_named(table), read(lake, table)) for table in ADJUSTED] == undisturbed


def test_a_rebuild_tells_what_differs_and_puts_it_right(lake):
    raw.land(lake, "cap1", raw.trades(range(30)))
    promote(lake, "binance")
    lost = read(lake, "normalized.trades").slice(5)
    _replace(lake, "normalized.trades", lost)
    assert "facts_counted" in [check.name for check in verify(lake).failed]
    report = rebuild(lake, "normalized.trades")
    assert (report.missing, report.extra, report.is_same) == (0, 5, False)
    assert len(report.shown) == 5 and report.shown[0].startswith("only in the replay")
    assert read(lake, "normalized.trades").num_rows == 30
    assert_proved(lake)
    assert rebuild(lake, "normalized.trades").is_same


def test_a_rebuild_that_differs_judges_levels_beside_what_it_replayed_and_keeps_them(lake):
    from quality_checks.holds import release

    for number, price in enumerate((60000, 600, 601)):
        raw.land(lake, f"cap{number}", raw.trades(range(10 * number, 10 * number + 10), price))
        for hold_id in promote(lake, "binance").holds:
            release(lake, hold_id, "split 100:1", waive=["price_level"])
    known = known_levels(lake, "normalized.trades", "binance")
    assert known["price"].to_pylist() == [601]
    _replace(lake, "normalized.trades", read(lake, "normalized.trades").slice(5))
    keep_levels(lake, "normalized.trades", "binance", known.slice(1))
    assert (rebuild(lake, "normalized.trades").extra, read(lake, "normalized.trades").num_rows) == (5, 30)
    assert known_levels(lake, "normalized.trades", "binance").equals(known)


def test_a_rebuild_keeps_holds_releases_and_rejects_as_they_are(lake):
    from quality_checks.holds import release

    for capture, numbers in (("cap1", range(20)), ("cap2", range(20, 40))):
        bad = raw.trade(numbers[3], 6_000_000)
        raw.land(lake, capture, [(ns, bad if n == 3 else body) for n, (ns, body) in enumerate(raw.trades(numbers))])
        promote(lake, "binance")
    raw.land(lake, "cap3", raw.trades(range(35, 50)))
    promote(lake, "binance")
    first, second = (hold.hold_id for hold in lake.head("normalized.trades").holds)
    release(lake, first, "one frame", without_failed=True)
    assert_proved(lake)
    assert_rebuilt(lake, "normalized.trades")
    assert [hold.hold_id for hold in lake.head("normalized.trades").holds] == [second]
    release(lake, second, "one frame", without_failed=True)
    assert read(lake, "normalized.trades").num_rows == 48
    assert_proved(lake)
    assert_rebuilt(lake, "normalized.trades")


def _replace(lake: Lake, table: str, rows: pa.Table) -> None:
    from lake.publish import publish, replace_all

    publish(lake, replace_all(lake, table, rows, "damage", lake.head(table).snapshot_id))


def test_verify_sees_messages_that_nobody_promoted_and_payloads_that_changed(lake):
    raw.land(lake, "cap1", raw.trades(range(5)))
    assert [check.name for check in verify(lake).failed] == ["everything_promoted"]
    promote(lake, "binance")
    assert_proved(lake)
    damaged = read(lake, "raw.messages")
    payloads = [
        b"{}" if seq == 2 else body
        for seq, body in zip(damaged["message_seq"].to_pylist(), damaged["payload"].to_pylist(), strict=True)
    ]
    at = damaged.schema.get_field_index("payload")
    _replace(lake, "raw.messages", damaged.set_column(at, damaged.schema.field(at), pa.array(payloads, pa.binary())))
    [check] = verify(lake).failed
    assert check.name == "payloads_unchanged" and "cap1:2" in check.faults[0]


# --- the law of `changes`

START = datetime(2024, 1, 3, tzinfo=UTC)
HISTORY = st.dictionaries(st.integers(1, 6), st.integers(1, 3), max_size=5)


def agreed_history(versions: dict[int, int]) -> pa.Table:
    """Return versions of one agreed bar: hour of knowledge -> close."""
    count = len(versions)
    return samples.numbered(
        AGREED, count, instrument_id=9, interval="1d", session_date=START.date(), ts_open=START,
        close=[Decimal(close) for close in versions.values()],
        provider="yahoo", feed="chart", symbol="AAPL", undone_ratio_old=1, undone_ratio_new=1, is_final=True,
        known_at=[START + timedelta(hours=hour) for hour in versions], capture_id="y1", message_seq=0, ordinal=0, run_id="r1",
    )  # fmt: skip


@settings(max_examples=15)
@given(st.lists(HISTORY, min_size=1, max_size=4))
def test_after_changes_readers_see_the_computed_history_along_known_at(histories):
    table = table_named(AGREED)
    main = agreed_history({}).append_column("published_at", pa.array([], pa.timestamp("us", tz="UTC")))
    for number, history in enumerate(histories):
        computed = agreed_history({0: 1, **history})
        existing = effective(table, main).select(list(table.column_names))
        change = changes(table, computed, existing)
        at = pa.array([START + timedelta(days=number)] * change.rows.num_rows, pa.timestamp("us", tz="UTC"))
        main = pa.concat_tables([main, change.rows.append_column("published_at", at)])
        now = collapsed(table, effective(table, main).select(list(table.column_names)))
        assert content_hash(table, now) == content_hash(table, collapsed(table, computed))
        assert changes(table, computed, effective(table, main).select(list(table.column_names))).rows.num_rows == 0
        assert pl.from_arrow(change.source).null_count() == 0
