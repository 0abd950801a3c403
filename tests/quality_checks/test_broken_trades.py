"""A trade that an exchange breaks leaves its bar in a later version: from the exchange's own file to the built bar."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from quality_checks.building import build
from quality_checks.promotion import promote
from quality_checks.verify import verify
from tests.transforms.decode import iex_made, itch_made

MINUTE_NS = 60 * 10**9
OPEN_NS = iex_made.OPEN_NS // MINUTE_NS * MINUTE_NS
ITCH_OPEN_NS = itch_made.OPEN_NS // MINUTE_NS * MINUTE_NS


def tops() -> bytes:
    """Three trades of a minute; the highest is broken six minutes later."""
    told = [
        iex_made.trade(b"ZIEXT", 100, price, number, at=OPEN_NS + number * 10**9)
        for number, price in enumerate((400_000, 450_000, 401_000), 1)
    ]
    broken = iex_made.trade(b"ZIEXT", 100, 450_000, 2, kind=b"B", at=OPEN_NS + 6 * MINUTE_NS)
    return iex_made.pcap(iex_made.packets_of([*told, broken], iex_made.TOPS16))


def itch() -> bytes:
    """Two executions of orders and a hidden trade; one execution is broken six minutes later."""

    def at(message: bytes, seconds: int) -> bytes:
        return message[:5] + (ITCH_OPEN_NS + seconds * 10**9).to_bytes(6, "big") + message[11:]

    orders = [itch_made.add(11, b"S", 500, 100_000), itch_made.add(12, b"S", 300, 120_000)]
    hits = [itch_made.executed(11, 100, 901), itch_made.executed(12, 50, 902), itch_made.hidden(70, 101_000, 903)]
    told = [itch_made.directory(), *orders, *hits, itch_made.broken(902)]
    return itch_made.prefixed([at(message, 1 + number if number < 6 else 360) for number, message in enumerate(told)])


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("broken")
    settings = load_settings(home=folder / "home")
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        for provider, feed, name, content in (("iex", "tops", "day.pcap", tops()), ("nasdaq", "itch", "S122410.itch", itch())):
            (folder / name).write_bytes(content)
            import_paths(lake, log, provider, feed, [folder / name])
            land(lake, log)
            assert promote(lake, provider).holds == []
        build(lake)
        yield lake


@pytest.mark.parametrize(
    ("provider", "first", "second"),
    [("iex", ("40", "45", "40", "40.1", 3), ("40", "40.1", "40", "40.1", 2)),
     ("nasdaq", ("10", "12", "10", "10.1", 3), ("10", "10.1", "10", "10.1", 2))],
)  # fmt: skip
def test_a_broken_trade_leaves_its_bars_from_when_it_was_known(lake: Lake, provider, first, second) -> None:
    (event,) = read(lake, "normalized.trade_events", where=[Where("provider", "=", provider)]).to_pylist()
    assert event["kind"] == "break"
    where = [Where("provider", "=", provider), Where("price_type", "=", "trade"), Where("interval", "=", "1m")]
    bars = sorted(read(lake, "adjusted.built_bars", where=where).to_pylist(), key=lambda row: row["known_at"])
    told = [tuple(row[name] for name in ("open", "high", "low", "close", "trade_count")) for row in bars]
    assert told == [(*map(Decimal, one[:4]), one[4]) for one in (first, second)]
    assert bars[0]["known_at"] < event["known_at"] == bars[1]["known_at"]


def test_every_proof_of_the_lake_holds(lake: Lake) -> None:
    assert [check.name for check in verify(lake).checks if check.faults] == []
