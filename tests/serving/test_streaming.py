"""Streams of a provider, shared among processes and sockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from ingest.capture import CaptureReport
from ingest.reach import Reach
from ingest.shards import ALONE, Shard
from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from quality_checks.alerts import Alerts
from serving.operate import asking
from serving.operate.asking import Wanted
from serving.operate.planning import Plan, planned
from tests.ingest.conftest import messages_of

SYMBOLS = ("AAPL", "TSLA", "BINANCE:BTCUSDT", "OANDA:EUR_USD")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("streaming")), system_clock) as lake:
        yield lake


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SegmentLog]:
    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=1) as log:
        yield log


def trades_of(log: SegmentLog, reports: list[CaptureReport]) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for row in messages_of(log):
        if row["capture_id"] in {report.capture_id for report in reports}:
            body = orjson.loads(str(row["payload"], "utf-8"))  # type: ignore[call-overload]
            found.update((each["s"], each["t"], each["p"], each["v"]) for each in body.get("data", []))
    return found


def test_shards_capture_together_what_one_would_alone(lake: Lake, log: SegmentLog) -> None:
    with Simulator(markets=()) as simulator:
        reach = asking.reach_of(simulator)
        alone = asking.capture(lake, log, Wanted("finnhub", "trades", SYMBOLS), reach)
        shares = [
            asking.capture(lake, log, Wanted("finnhub", "trades", SYMBOLS, shard=Shard(number, 2)), reach) for number in (1, 2)
        ]
    assert trades_of(log, alone) == sum((trades_of(log, share) for share in shares), Counter())
    assert all(trades_of(log, share) for share in shares)
    assert {"stream:finnhub-trades", "stream:finnhub-trades-shard1of2", "stream:finnhub-trades-shard2of2"} <= set(
        lake.state.jobs("stream:")
    )


def test_two_feeds_of_a_provider_are_listened_to_at_once(lake: Lake, log: SegmentLog) -> None:
    with Simulator(excerpt=60) as simulator:
        reports = asking.capture(lake, log, Wanted("binance"), asking.reach_of(simulator))
    assert [(report.feed, report.ended) for report in reports] == [("spot", "end of recording"), ("usdm", "end of recording")]


def test_a_shard_without_symbols_captures_nothing(lake: Lake, log: SegmentLog) -> None:
    share = Shard(1, 2).share("finnhub", "trades", ("AAPL",))
    empty = Shard(2 if share else 1, 2)
    with Simulator(markets=()) as simulator:
        assert asking.capture(lake, log, Wanted("finnhub", "trades", ("AAPL",), shard=empty), asking.reach_of(simulator)) == []
    assert messages_of(log) == []


def test_a_stream_that_stays_dead_is_an_alert_and_an_error(lake: Lake, log: SegmentLog) -> None:
    with Simulator(markets=()) as simulator:
        reach = asking.reach_of(simulator)
    dead: Reach = reach  # the simulator is gone
    with pytest.raises(ProviderUnavailableError, match="brought nothing"):
        asking.capture(lake, log, Wanted("finnhub", "trades", ("AAPL",)), dead, sleep=lambda seconds: None)
    assert [alert.subject for alert in Alerts(lake.state, lake.clock, log).listed()] == ["finnhub/trades"]


def test_up_starts_a_process_for_each_shard_of_a_stream(tmp_path: Path) -> None:
    live = Plan("", 0, symbols=("alpaca:AAPL", "binance:BTCUSDT"), has_notebooks=False, shards=2)
    keys = {"APCA_API_KEY_ID": "a", "APCA_API_SECRET_KEY": "b"}
    found = {child.name: child.command for child in planned(load_settings(home=tmp_path), live, keys)}
    streams = {name: command for name, command in found.items() if "stream" in name}
    assert {name: command[command.index("--shard") + 1] for name, command in streams.items()} == {
        "alpaca stream 1 of 2": "1/2",
        "alpaca stream 2 of 2": "2/2",
        "binance stream 1 of 2": "1/2",
        "binance stream 2 of 2": "2/2",
    }
    assert found["alpaca polls"][found["alpaca polls"].index("--shard") + 1] == str(ALONE)
