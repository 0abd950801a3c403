"""Schedules: due by time, market and state; followed as they change; a restart does not ask again too soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.capture import CaptureReport
from ingest.configuration_text import read_configuration
from ingest.configured import Configured
from ingest.configured import Configured as Watched
from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.errors import SettingsError
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.settings import load_settings
from serving.operate.asking import Wanted
from serving.operate.configured import open_configured
from serving.operate.planning import Plan
from serving.operate.planning import planned as planned_children
from serving.operate.scheduled import begun, due, planned
from serving.operate.schedules import Schedules, run
from serving.operate.standing import Standings

TEXT = """
[universes.tech]
symbols = ["AAPL"]
[universes.coins]
asset_class = "crypto"
symbols = ["BTCUSDT"]
[schedules.daily]
provider = "alpaca"
feed = "iex"
data = "bars"
universe = "tech"
when = "closed"
calendar = "XNYS"
from_time = "21:15"
every_s = 3600
[schedules.often]
provider = "yahoo"
feed = "chart"
universe = "tech"
every_s = 60
[schedules.live]
provider = "binance"
feed = "spot"
universe = "coins"
"""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NANOS_PER_SECOND


def names(begun_at: dict[str, str], now: str) -> list[str]:
    plans = planned(read_configuration(TEXT))
    return [plan.name for plan in due(plans, {name: at(told) for name, told in begun_at.items()}, at(now))]


def test_polls_are_due_by_market_time_of_day_and_what_was_asked_before() -> None:
    assert names({}, "2024-07-03T15:00") == ["often"]  # New York trades
    assert names({}, "2024-07-03T20:30") == ["often"]  # it has closed; not yet 21:15
    assert names({}, "2024-07-03T21:20") == ["daily", "often"]
    assert names({}, "2024-07-04T21:20") == ["daily", "often"]  # a holiday
    assert names({"daily": "2024-07-03T21:16"}, "2024-07-03T21:20") == ["often"]
    assert names({"daily": "2024-07-03T21:16", "often": "2024-07-03T22:10"}, "2024-07-03T22:16") == ["daily", "often"]
    assert names({"often": "2030-01-01T00:00"}, "2024-07-03T15:00") == ["often"]  # the clock was set back
    plans = planned(read_configuration(TEXT.replace('provider = "yahoo"', 'provider = "yahoo"\nenabled = false')))
    assert set(plans) == {"daily", "live"} and plans["live"].is_stream
    wanted = plans["daily"].wanted(datetime(2024, 7, 3, 21, 20, tzinfo=UTC))
    assert (wanted.symbols, wanted.start) == (("AAPL",), datetime(2024, 6, 28, 21, 20, tzinfo=UTC))


class Hands:
    """What captures: notes what it was asked, listens to a stream until told to stop."""

    def __init__(self) -> None:
        self.polled: list[Wanted] = []
        self.listening: list[tuple[str, ...]] = []
        self.left: list[tuple[str, ...]] = []

    def __call__(self, wanted: Wanted, is_stopped: Callable[[], bool]) -> list[CaptureReport]:
        if wanted.provider == "alpaca":
            raise SettingsError("no keys")
        if wanted.provider == "binance":
            self.listening.append(wanted.symbols)
            while not is_stopped():
                threading.Event().wait(0.01)
            self.left.append(wanted.symbols)
        else:
            self.polled.append(wanted)
        return [CaptureReport("c", wanted.provider, "f", "poll", messages=1, ended="all asked")]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    now = [at("2024-07-03T22:00")]

    def clock() -> int:
        now[0] += 20_000_000  # every look at the clock takes 20 ms
        return now[0]

    with Lake.create(load_settings(home=tmp_path / "home"), clock) as made:
        yield made


def wait_until(is_so: Callable[[], bool]) -> bool:
    """Wait for something with patience."""
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return is_so()


def test_schedules_follow_the_configuration_while_they_run(lake: Lake) -> None:
    lake.settings.config.write_text(TEXT)
    configured = Configured(lake.state, lake.settings.config, lake.clock)
    hands, told, stopping = Hands(), [], threading.Event()
    schedules = Schedules(lake, configured, hands, lambda event, **more: told.append((event, more["words"])), stopping)
    schedules.turn()
    assert [wanted.provider for wanted in hands.polled] == ["yahoo"]
    assert ("trouble", "schedule daily: SettingsError: no keys") in told
    assert wait_until(lambda: hands.listening == [("BTCUSDT",)])
    schedules.turn()
    assert len(hands.polled) == 1  # not yet due again
    Watched(lake.state, lake.settings.config, lake.clock).change(
        lambda text: text.replace('["BTCUSDT"]', '["ETHUSDT"]').replace("every_s = 60", "every_s = 0.001"), "ann", "other coins"
    )
    assert wait_until(lambda: hands.left == [("BTCUSDT",)])

    def turned() -> bool:
        schedules.turn()
        return ("ETHUSDT",) in hands.listening and len(hands.polled) > 1

    assert wait_until(turned)
    stopping.set()
    schedules.close()
    assert hands.left == [("BTCUSDT",), ("ETHUSDT",)]
    assert set(begun(lake.state)) == {"daily", "often", "live"}
    left = due(planned(configured.in_force()), begun(lake.state), begun(lake.state)["daily"] + 1)
    assert "daily" not in [plan.name for plan in left]  # a process that starts now does not ask again


def test_up_follows_schedules_of_an_operators_own_address(tmp_path: Path) -> None:
    with Simulator() as simulator:
        settings = load_settings(home=tmp_path / "home")
        with Lake.create(settings, system_clock) as lake:
            http = simulator.yahoo.http
            settings.config.write_text(
                f'[providers.yahoo]\nhttp = "{http}"\n[universes.one]\nsymbols = ["AAPL"]\n'
                '[schedules.often]\nprovider = "yahoo"\nuniverse = "one"\nlookback_days = 30\n'
            )
            told: list[str] = []
            stopping = threading.Event()

            def tell(event: str, **more: object) -> None:
                told.append(f"{event} {more['words']}")
                if event in ("captured", "trouble"):
                    stopping.set()

            run(lake, stopping, tell)
            assert told[-1].startswith("captured schedule often: chart: 1 messages, all asked")
            (standing,) = [each for each in Standings(lake, open_configured(lake)).all() if each["provider"] == "yahoo"]
            assert standing["quotas"][0]["month"]["live"] == 1
    children = planned_children(settings, Plan("127.0.0.1", 0, is_scheduled=True, has_notebooks=False), {})
    assert {child.name for child in children} == {"pipeline", "topics", "http", "schedules", "gaps"}
