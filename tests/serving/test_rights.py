"""Who may be asked, by configuration, keys, ledger and past; what happens when patience with a feed runs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.breaker import Position
from ingest.giving_up import KIND, GivingUp
from ingest.permits import FREE
from ingest.reach import Reach, simulated
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.log.segments import SegmentLog
from quality_checks.alerts import Alerts
from serving.operate import asking
from serving.operate.rights import live_permits, reading_through, rights
from tests.ingest.conftest import Waits
from tests.ingest.standing_state import QUOTE, Clock, call
from tests.serving import configured_lake

CONFIGURED = """
[thresholds]
breaker_failures = 2
min_active_providers = 2
read_through = true
read_through_open_s = 7.0

[providers.alpaca]
priority = 1
windows = [{ calls = 2, per = "second" }]

[providers.yahoo]
enabled = false

[providers.finnhub]
windows = [{ calls = 2, per = "hour" }]
"""
KEYLESS = Reach({"alpaca": ("a", "b"), "finnhub": ("token",), "alpha_vantage": ("",)})


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Lake]:
    with configured_lake.made(tmp_path_factory.mktemp("rights") / "home", CONFIGURED, clock) as lake:
        yield lake


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path / "log", clock, min_free_bytes=1 << 20) as log:
        yield log


def test_configuration_keys_and_ledger_decide_who_is_asked(lake: Lake, log: SegmentLog, clock: Clock) -> None:
    with rights(lake, log, KEYLESS) as found:
        assert "alpha_vantage" not in found.router.providers
        assert {"alpaca", "finnhub", "yahoo"} <= set(found.router.providers)
        preferences = found.preferences()
        assert preferences.priority["alpaca"] < preferences.priority["finnhub"]
        assert "yahoo" in preferences.disabled
        permits = found.permits("finnhub", "live")
        for _ in range(2):
            assert permits.before(QUOTE).is_given
            permits.after(QUOTE, call(Verdict.OK))
        assert not permits.before(QUOTE).is_given
        assert found.preferences().left["finnhub"] == 0.0
        assert found.health.alerts.is_open("quota_low", "finnhub")
        a_second = found.permits("alpaca", "live")
        for _ in range(2):
            assert a_second.before(QUOTE).is_given
            a_second.after(QUOTE, call(Verdict.OK))
        assert 0 < a_second.before(QUOTE).wait_s <= 1
        assert found.preferences().left["alpaca"] == 1.0  # a second is waited for: no reason to ask another, or to alert
        assert not found.health.alerts.is_open("quota_low", "alpaca")
        for _ in range(2):
            found.breakers.answered("alpaca", "stocks/bars", call(Verdict.NO_ANSWER), "me")
        assert found.breakers.find("alpaca", "stocks/bars").position is Position.OPEN
        clock.move(4_000)
        assert permits.before(QUOTE).is_given
        permits.unspent(QUOTE)


def test_reading_through_is_as_configured_and_nobody_is_asked_without_a_reach(lake: Lake) -> None:
    with reading_through(lake, KEYLESS) as through:
        assert through is not None
        policy = through.policy()
        assert (policy.is_on, policy.open_s) == (True, 7.0)
    with reading_through(lake, None) as through:
        assert through is None


def test_patience_that_runs_out_is_an_alert_until_the_feed_answers(lake: Lake, log: SegmentLog) -> None:
    alerts = Alerts(lake.state, lake.clock, log)
    wanted = asking.Wanted("finnhub", symbols=("AAPL",))
    faults = Faults((HttpFault("status", "/api/v1/quote", 502, times=5),))
    with Simulator(faults, markets=(), streams=()) as sim:
        reach = simulated(sim.addresses(), sim.keys)
        with live_permits(lake, log, reach) as permits:
            assert permits("finnhub") is FREE
            (report,) = asking.capture(lake, log, wanted, reach, permits=permits, sleep=Waits())
            assert report.verdicts == {"UPSTREAM_5XX": 5}
            (alert,) = [one for one in alerts.listed() if one.kind == KIND]
            assert alert.name == "feed_given_up/finnhub/quote"
            assert "1 of 1 asks were given up: UPSTREAM_5XX" in alert.detail
            asking.capture(lake, log, wanted, reach, permits=permits)
    assert not alerts.is_open(KIND, "finnhub/quote")


def test_a_stream_that_stays_dead_is_an_alert_and_an_error(lake: Lake) -> None:
    alerts = Alerts(lake.state, lake.clock)
    patience = GivingUp(alerts, "alpaca", "iex")
    with pytest.raises(ProviderUnavailableError), patience.listening():
        raise ProviderUnavailableError("5 connections in a row brought nothing", 60.0)
    assert alerts.is_open(KIND, "alpaca/iex")
    patience.after(QUOTE, call(Verdict.NO_ANSWER))
    assert alerts.is_open(KIND, "alpaca/iex")
    patience.after(QUOTE, call(Verdict.OK))
    assert not alerts.is_open(KIND, "alpaca/iex")
