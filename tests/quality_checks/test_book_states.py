"""Books checked: what is odd becomes a finding once, and the verbs show a book at any instant."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from quality_checks.book_states import check_books
from quality_checks.promotion import promote
from serving.cli.app import run
from tests.transforms.decode.iex_made import DEEP10, OPEN_NS, level, packets_of, pcap
from tests.transforms.decode.itch_made import add, deleted, directory, executed, prefixed

DEEP = [
    level(b"8", b"ZIEXT", 300, 399_900),
    level(b"5", b"ZIEXT", 200, 400_100),
    level(b"8", b"ZIEXT", 100, 400_200, is_complete=False),
    level(b"5", b"ZIEXT", 0, 400_100),
    level(b"5", b"ZIEXT", 50, 400_200, at=OPEN_NS + 10**9),
    level(b"5", b"ZIEXT", 60, 400_000, at=OPEN_NS + 2 * 10**9),
    level(b"5", b"ZIEXT", 70, 400_000, at=OPEN_NS + 3 * 10**9),
]
ITCH = [
    directory(), add(1, b"B", 100, 99_000), add(2, b"B", 100, 100_000), executed(2, 50, 1), executed(1, 50, 2), executed(9, 1, 3),
    deleted(2),
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    (folder / "deep.pcap").write_bytes(pcap(packets_of(DEEP, DEEP10)))
    (folder / "01032024.NASDAQ_ITCH50").write_bytes(prefixed(ITCH))
    settings = load_settings(home=folder / "home")
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        for provider, feed in (("iex", "deep"), ("nasdaq", "itch")):
            assert import_paths(lake, log, provider, feed, [folder]).appended == 1
        land(lake, log)
        assert promote(lake, "iex").holds == promote(lake, "nasdaq").holds == []
    return folder / "home"


def test_what_is_odd_becomes_a_finding_once(home: Path) -> None:
    with Lake.open(load_settings(home=home), system_clock) as lake:
        deep = check_books(lake, "iex", "deep", date(2017, 7, 10))
        assert (deep.books, deep.events, deep.crossed, deep.locked, deep.findings) == (1, 7, 1, 1, 2)
        itch = check_books(lake, "nasdaq", "itch", date(2024, 1, 3))
        assert (itch.executions, itch.unknown, itch.off_top, itch.findings) == (3, 1, 1, 2)
        assert check_books(lake, "iex", "deep", date(2017, 7, 10)).findings == 0
        found = read(lake, "quality.findings")
        assert sorted(zip(found["kind"].to_pylist(), found["detail"].to_pylist(), strict=True)) == [
            ("crossed_book", "ZIEXT, bid_price 40.020000000, ask_price 40.000000000"),
            ("execution_behind_best", "ALC, price 9.900000000, best_price 10.000000000"),
            ("execution_of_unknown_order", "ALC, order_id 9, trade_id 3"),
            ("locked_book", "ZIEXT, bid_price 40.020000000, ask_price 40.020000000"),
        ]


def test_a_book_is_shown_at_an_instant(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["book", "iex", "deep", "2017-07-10", "ZIEXT", "--home", str(home), "--json", "--levels", "1"]
    assert run([*words, "--at", "2017-07-10T14:34:38Z"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["of"]) == (4, 7)
    assert [(one["side"], one["price"], one["size"]) for one in told["levels"]] == [("buy", "40.020000000", "100.00000000")]
    assert run(words) == 0
    assert [one["size"] for one in json.loads(capsys.readouterr().out)["levels"]] == ["100.00000000", "70.00000000"]
    assert run(["book", "iex", "deep", "2017-07-10", "NONE", "--home", str(home)]) == 3
    assert "no book events of NONE" in capsys.readouterr().err


def test_the_books_of_a_session_are_checked_by_a_verb(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["books", "nasdaq", "itch", "2024-01-03", "--home", str(home)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("1 books, 6 events; 3 executions: 1 of unknown orders, 1 behind the best price")
