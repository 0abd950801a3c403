"""Retention drops whole partitions, remembers them, and questions about them are told so."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.dropped import Dropped, dropped_of, property_of
from lake.errors import NotFoundError, SettingsError
from lake.instants import system_clock, to_datetime
from lake.maintenance.maintaining import maintain
from lake.maintenance.retention import days_kept
from lake.publish import publish, stage
from lake.scan import Where, dataset, read
from lake.settings import load_settings
from lake.tables import table_named
from tests.lake.made import trade_batch
from tests.lake.maintenance.answers import TRADES, published

RETAIN = ("retain",)


def days_since(day: date) -> int:
    return (datetime.now(UTC).date() - day).days


def test_dropped_days_are_remembered_audited_and_told(tmp_path: Path) -> None:
    kept = days_since(date(2024, 3, 5))  # the first of the two days of the rows is older, the second is not
    settings = load_settings(home=tmp_path / "home", retention={f"{TRADES}/binance": kept})
    with Lake.create(settings, system_clock) as lake:
        published(lake, 2)
        published(lake, 1, provider="alpaca")
        (planned,) = maintain(lake, [TRADES], RETAIN, plan_only=True).tables
        assert len(planned.planned) == 1 and "drop 10 rows" in planned.planned[0]
        (done,) = maintain(lake, [TRADES], RETAIN, who="me").tables
        assert (done.before.rows, done.after.rows) == (30, 20)
        assert dropped_of(lake.table(TRADES)) == (Dropped("binance", date(2024, 3, 4), date(2024, 3, 5), 10),)
        assert [(entry["who"], entry["what"]) for entry in lake.state.audit_log()] == [("me", "retain")]
        assert lake.head(TRADES).position == {"binance": {"0": 20}, "alpaca": {"0": 10}}
        assert maintain(lake, [TRADES], RETAIN).tables[0].planned == []
        assert read(lake, TRADES, tells_dropped=True).num_rows == 20, "what is there is answered"
        first, second = Where("session_date", "=", date(2024, 3, 4)), Where("session_date", "=", date(2024, 3, 5))
        mine, other = Where("provider", "=", "binance"), Where("provider", "=", "alpaca")
        with pytest.raises(NotFoundError, match=r"dropped by retention .10 rows of binance of 2024-03-04 to 2024-03-04"):
            read(lake, TRADES, where=[first, mine], tells_dropped=True)
        assert read(lake, TRADES, where=[first, mine]).num_rows == 0, "the job asks whether rows are there"
        assert read(lake, TRADES, where=[second, mine], tells_dropped=True).num_rows == 10
        assert read(lake, TRADES, where=[first, other], tells_dropped=True).num_rows == 5
        for never in (Where("session_date", "<", date(2024, 3, 4)), Where("ts_event", ">", datetime(2024, 4, 1, tzinfo=UTC))):
            assert read(lake, TRADES, where=[never, mine], tells_dropped=True).num_rows == 0, "never there"
        now = to_datetime(system_clock())
        for past in ({"as_of": now}, {"known_as_of": now}):
            with pytest.raises(NotFoundError, match="dropped by retention"):
                read(lake, TRADES, **past)  # would have shown them
            assert read(lake, TRADES, where=[other], **past).num_rows == 10
        with pytest.raises(NotFoundError, match="dropped by retention"):
            dataset(lake, TRADES, as_of=now)
        publish(lake, stage(lake, trade_batch(20, 29)))
        assert read(lake, TRADES, where=[first, mine]).num_rows == 5, "late rows are there until the next time"


def test_rules_that_could_never_drop_anything_are_refused(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        for wrong in ({"nothing": 3}, {"adjusted.bars_1d": 3}, {TRADES: 0}, {"normalized.bars/": 3, "reference": 3}):
            given = load_settings(home=lake.settings.home, retention=wrong)
            with Lake.open(given, system_clock) as told, pytest.raises(SettingsError, match="TICKHOUSE_RETENTION"):
                maintain(told, [TRADES], RETAIN)


def test_the_narrowest_rule_counts_and_without_one_all_is_kept() -> None:
    rules = {"normalized": 9, "normalized/binance": 8, TRADES: 7, f"{TRADES}/binance": 6}
    trades, quotes, raw = (table_named(name) for name in (TRADES, "normalized.quotes", "raw.messages"))
    given = load_settings(retention=rules)
    assert [days_kept(given, *asked) for asked in ((trades, "binance"), (trades, "x"), (quotes, "binance"), (quotes, "x"))] == [
        6,
        7,
        8,
        9,
    ]
    assert days_kept(given, raw, "binance") is None


def test_adjacent_days_become_one_entry() -> None:
    day = date(2024, 3, 4)
    days = [Dropped("p", day + timedelta(days=n), day + timedelta(days=n + 1), 2) for n in (2, 0, 1, 5)]
    assert property_of(days) == '[["p","2024-03-04","2024-03-07",6],["p","2024-03-09","2024-03-10",2]]'


def test_raw_is_dropped_only_once_every_table_has_read_it(tmp_path: Path) -> None:
    from tests.lake.maintenance.test_compaction import landed

    with Lake.create(load_settings(home=tmp_path / "home", retention={"raw": 1}), system_clock) as lake:
        landed(lake, 0, 9)
        assert maintain(lake, ["raw.messages"], RETAIN).tables[0].dropped == []
        published(lake, 1)
        (done,) = maintain(lake, ["raw.messages"], RETAIN).tables
        assert done.after.rows == 0
        assert lake.head("raw.messages").position == {"raw": {"0": 10}}
        landed(lake, 10, 19)
        assert maintain(lake, ["raw.messages"], RETAIN).tables[0].after.rows == 10, "not promoted yet"
