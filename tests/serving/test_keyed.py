"""What a provider's name stands for where a key is wanted, and what is said when it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.reach import Reach, themselves
from ingest.simulator import Simulator
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError, SettingsError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from serving.operate import asking
from serving.operate.asking import Wanted


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, SegmentLog, Reach]]:
    home: Path = tmp_path_factory.mktemp("keyed")
    with (
        Lake.create(load_settings(home=home), system_clock) as lake,
        SegmentLog(home / "log", system_clock, min_free_bytes=1) as log,
        Simulator(markets=("spot", "usdm"), excerpt=5) as simulator,
    ):
        yield lake, log, asking.reach_of(simulator)


@pytest.mark.parametrize(
    ("wanted", "feed", "messages"),
    [
        (Wanted("alpaca"), "iex", 1),
        (Wanted("alpaca", "opra"), "opra", 1),
        (Wanted("alpaca", "actions"), "actions", 2),
        (Wanted("alpaca", "crypto", data="trades"), "crypto", 1),
        (Wanted("alpaca", "iex", ("AAPL",), data="stream"), "iex", 8),
        (Wanted("finnhub"), "quote", 1),
        (Wanted("finnhub", "trades", ("AAPL", "TSLA")), "trades", 6),
        (Wanted("alpha_vantage"), "stocks", 1),
        (Wanted("alpha_vantage", None, ("EUR/USD",)), "currencies", 1),
    ],
)
def test_a_name_stands_for_a_capture(parts: tuple[Lake, SegmentLog, Reach], wanted: Wanted, feed: str, messages: int) -> None:
    (report,) = asking.capture(*parts[:2], wanted, parts[2])
    assert (report.feed, report.is_complete) == (feed, True)
    assert report.messages >= messages


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Wanted("alpaca", "otc"), NotFoundError),
        (Wanted("alpaca", "iex", data="greeks"), InvalidValueError),
        (Wanted("finnhub", "gossip"), NotFoundError),
        (Wanted("finnhub", "quote", data="stream"), NotFoundError),
        (Wanted("alpha_vantage", "stocks", ("IBM",), "2m"), InvalidValueError),
    ],
)
def test_what_is_not_there_is_told(parts: tuple[Lake, SegmentLog, Reach], wanted: Wanted, error: type[Exception]) -> None:
    with pytest.raises(error):
        asking.capture(*parts[:2], wanted, parts[2])


def test_a_missing_key_names_its_variable() -> None:
    reach = themselves({"APCA_API_KEY_ID": "only-half"})
    with pytest.raises(SettingsError, match="APCA_API_KEY_ID and APCA_API_SECRET_KEY"):
        reach.secrets("alpaca")
    assert themselves({"FINNHUB_API_KEY": "token"}).secrets("finnhub") == ("token",)
