"""Feeds that tell newest values beside their history: what is polled again, or of a symbol named twice, stands once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.simulator import Simulator
from lake.conditions import Where
from lake.scan import read
from serving.operate.asking import Wanted, capture, reach_of
from tests.ingest.filling import opened, turn


@pytest.mark.parametrize(("provider", "feed", "data"), [("polygon", "market", "last_quote"), ("tiingo", "iex", "top")])
def test_a_newest_value_polled_again_is_one_row(tmp_path: Path, provider: str, feed: str, data: str) -> None:
    symbol = "AAPL" if provider == "polygon" else "GOOGL"
    lake, log = opened(tmp_path)
    with lake, log, Simulator(markets=(), streams=()) as simulator:
        wanted = Wanted(provider, feed, (symbol, symbol), data=data)
        polls = [capture(lake, log, wanted, reach_of(simulator)) for _ in range(3)]
        turn(lake, log)
        assert [[len(report.outcomes) for report in reports] for reports in polls] == [[1]] * 3, (
            "a symbol named twice is asked once"
        )
        where = [Where("provider", "=", provider), Where("symbol", "=", symbol)]
        assert read(lake, "normalized.quotes", ["ts_event"], where).num_rows == 1
        assert read(lake, "raw.messages", ["sha256"], [Where("provider", "=", provider)]).num_rows == 3
