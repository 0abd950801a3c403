"""The gap ledger: opened once whoever races, told once whatever crashes, found again where state was lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ingest.landing import land
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.steps import Steps
from quality_checks.gap_bounds import _instant, table_of
from quality_checks.gaps import GAPS, GapLedger, GapStatus, KnownGap, newest_gaps
from tests.postgres import Server

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
SQLITE, POSTGRES = "sqlite", "postgres"


class Stopped(Exception):
    """Stands in for a crash at a step boundary."""


class StopAt(Steps):
    """Raises when `name` is reached, while it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""

    def reached(self, name: str) -> None:
        super().reached(name)
        if name == self.name:
            raise Stopped(name)


@pytest.fixture(scope="module")
def steps() -> StopAt:
    return StopAt()


@pytest.fixture(scope="module", params=[SQLITE, POSTGRES])
def held(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, steps: StopAt
) -> Iterator[tuple[Lake, SegmentLog]]:
    home = tmp_path_factory.mktemp("gaps")
    more = {}
    if request.param == POSTGRES:
        server: Server = request.getfixturevalue("postgres")
        more = {"state_url": server.database("gap_states")}
    with (
        Lake.create(load_settings(home=home, **more), system_clock, steps) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1) as log,
    ):
        yield lake, log


def gap(gap_id: str, **more: object) -> KnownGap:
    end = NOW + timedelta(minutes=1)
    made = KnownGap(gap_id, "yahoo", "chart", "AAPL", GapStatus.OPEN, "wanted", NOW, gap_start=NOW, gap_end=end, interval="1d")
    return replace(made, **more)  # type: ignore[arg-type]


def asked(before: KnownGap) -> KnownGap:
    return replace(before, status=GapStatus.FILLING, attempts=(before.attempts or 0) + 1)


def closed(before: KnownGap) -> KnownGap:
    return replace(before, status=GapStatus.FILLED)


def statuses(lake: Lake, gap_id: str) -> Counter[str]:
    return Counter(read(lake, GAPS, ["status"], [Where("gap_id", "=", gap_id)])["status"].to_pylist())


def test_a_gap_is_opened_once_whoever_races(held: tuple[Lake, SegmentLog]) -> None:
    lake, log = held
    opened: list[bool] = []

    def race() -> None:
        opened.append(GapLedger(lake, log, "racer").open(gap("raced")))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(opened) == [False] * 5 + [True]
    land(lake, log)
    assert statuses(lake, "raced") == {"open": 1}
    assert not GapLedger(lake, log, "later").open(gap("raced"))


@pytest.mark.parametrize("boundary", ["gap.stepped", "gap.told"])
def test_what_a_crash_left_untold_is_told_once(held: tuple[Lake, SegmentLog], steps: StopAt, boundary: str) -> None:
    lake, log = held
    ledger, name = GapLedger(lake, log, "worker"), f"crashed at {boundary}"
    assert ledger.open(gap(name))
    for step in (asked, closed):
        steps.name = boundary
        with pytest.raises(Stopped):
            ledger.step(name, step)
        steps.name = ""
    land(lake, log)
    ledger.refresh()
    land(lake, log)
    assert statuses(lake, name) == {"open": 1, "filling": 1, "filled": 1}
    (newest,) = newest_gaps(lake, [Where("gap_id", "=", name)])
    assert (newest.status, newest.attempts, newest.worker) == (GapStatus.FILLED, 1, "worker")


def test_a_closed_gap_takes_no_step_and_leaves_once_its_closing_landed(held: tuple[Lake, SegmentLog]) -> None:
    lake, log = held
    ledger = GapLedger(lake, log, "worker")
    assert ledger.open(gap("closed"))
    ledger.step("closed", closed)
    after = ledger.step("closed", asked)
    assert after is not None and after.status is GapStatus.FILLED
    ledger.refresh()
    assert ledger.gap("closed") is not None
    land(lake, log)
    ledger.refresh()
    assert ledger.gap("closed") is None
    assert not ledger.open(gap("closed"))


def test_state_that_was_lost_is_found_again_from_history(held: tuple[Lake, SegmentLog]) -> None:
    lake, log = held
    ledger = GapLedger(lake, log, "worker")
    assert ledger.open(gap("lost", attempts=3))
    land(lake, log)
    with lake.state.writing() as connection:
        connection.execute(sa.text("DELETE FROM documents WHERE kind IN ('gap', 'gaps_seen')"))
    assert ledger.gap("lost") is None
    ledger.refresh()
    found = ledger.gap("lost")
    assert found is not None
    assert (found.status, found.attempts, found.gap_start, found.interval) == (GapStatus.OPEN, 3, NOW, "1d")


@given(st.text(max_size=40) | st.integers(0, 10**24).map(str))
def test_any_text_of_a_feed_is_an_instant_or_none(text: str) -> None:
    found = _instant(text)
    assert found is None or found.tzinfo is not None


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1672348887666", datetime(2022, 12, 29, 21, 21, 27, 666_000, UTC)),
        ("2022-03-09T05:00:02.183Z", datetime(2022, 3, 9, 5, 0, 2, 183_000, UTC)),
        ("2022-03-09T09:00:00.000059123Z", datetime(2022, 3, 9, 9, 0, 0, 59, UTC)),
        ("soon", None),
    ],
)
def test_instants_as_feeds_write_them(text: str, instant: datetime | None) -> None:
    assert _instant(text) == instant


def test_channels_name_their_tables() -> None:
    names = {
        "btcusdt@trade": "trades",
        "btcusdt@depth@100ms": "book_events",
        "btcusdt@bookTicker": "quotes",
        "updatedBars": "bars",
    }
    assert {channel: table_of(channel) for channel in names} == {each: f"normalized.{table}" for each, table in names.items()}
    assert table_of("TargetComp 7") is None
