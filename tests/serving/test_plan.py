"""The verb `plan`: asks nobody, tells what is spent already, and names the cheapest that suffices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.asks import Request
from ingest.plans import key_name
from ingest.quota_book import Book, Wanted
from ingest.quotas import Quotas
from ingest.shipped_plans import PLANS
from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from serving.cli.app import run

KEY = "a-key-for-this-test"
YEARS = ["--start", "2015-01-01", "--end", "2025-01-01"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("plan") / "home"), system_clock) as lake:
        yield lake


@pytest.fixture
def home(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALPHAVANTAGE_API_KEY", KEY)
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "FINNHUB_API_KEY", "POLYGON_API_KEY", "TIINGO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return lake.settings.home


def planned(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    code = run(["plan", *words, "--home", str(home), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_cheapest_that_suffices_is_named_and_every_other_says_why_not(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = planned(home, capsys, "bars", "--symbols", "AAPL", "-s", "MSFT", *YEARS)
    chosen = found["chosen"]
    assert code == 0
    assert (chosen["suffices"], chosen["usd"], chosen["provider"] in ("yahoo", "alpha_vantage")) == (True, 0.0, True)
    alpaca = next(each for each in found["others"] if each["provider"] == "alpaca")
    assert "APCA_API_KEY_ID" in alpaca["why_not"]
    assert KEY not in json.dumps(found)


def test_what_is_spent_already_is_counted_and_told(home: Path, lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    free = PLANS["alpha_vantage"][0]
    quotas, asked = (
        Quotas(lake.state, {"alpha_vantage": replace(free, windows=free.windows[:1], at_once=None)}, system_clock),
        Wanted("x", "backfill"),
    )

    def spend(book: Book, now_ns: int) -> int:
        granted = book.reserve(now_ns, replace(asked, calls=20), "spent", 0).calls
        book.settle(now_ns, "spent", asked, granted)
        return granted

    assert quotas.change("alpha_vantage", key_name((KEY,)), spend) == 20
    words = ["bars", "-s", "IBM", "--interval", "1wk", *YEARS]
    _, found = planned(home, capsys, *words)
    alpha = next(each for each in [found["chosen"], *found["others"]] if each["provider"] == "alpha_vantage" and each["suffices"])
    assert alpha["calls"] == 1 and alpha["seconds"] > 1
    (spent,) = found["quotas"]
    assert (spent["provider"], spent["windows"][0]["used"], spent["windows"][0]["limit"]) == ("alpha_vantage", 20, 25)
    assert quotas.permits("alpha_vantage", key_name((KEY,)), "backfill").before(Request("GET", "/query")).refused


def test_a_plan_for_a_person_and_the_ways_to_ask_wrongly(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "bars", "-s", "AAPL", *YEARS, "--home", str(home)]) == 0
    told = capsys.readouterr().out
    assert "Used of alpha_vantage (free): 20 of 25 a day in America/New_York" in told
    assert "Cheapest that suffices: " in told and "needs FINNHUB" not in told
    assert run(["plan", "weather", "-s", "AAPL", *YEARS, "--home", str(home)]) == 1
    assert "Nobody offers weather of equity" in capsys.readouterr().out
    assert run(["plan", "bars", *YEARS, "--home", str(home)]) == 2
    assert run(["plan", "bars", "-s", "AAPL", "--home", str(home)]) == 2


def test_each_thing_is_said_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = ["--start", "2026-01-01", "--end", "2026-02-01", "--home", str(home)]
    for words in (["bars"], ["bars", "--interval", "3m"], ["fundamentals"], ["quotes"]):
        run(["plan", *words, "-s", "AAPL", *days])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(set(lines)), words
    run(["plan", "bars", "--interval", "3m", "-s", "AAPL", *days])
    (alpha,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("alpha_vantage")]
    assert "has no bars of 3m, only of 1d, 1wk, 1mo" in alpha
    run(["plan", "weather", "-s", "AAPL", *days])
    assert "of equity there are bars, " in capsys.readouterr().out


def test_money_buys_time_and_both_are_told(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ours at 25 a day for nothing, or in the time that two calls a minute take, for 16 cents each."""
    monkeypatch.setenv("ALPHAVANTAGE_API_KEY", "a-fresh-key-of-this-test")
    monkeypatch.setenv("POLYGON_API_KEY", "another-key-of-this-test")
    configured = home / "tickhouse.toml"
    configured.write_text(
        "[providers.yahoo]\nenabled = false\n[providers.alpha_vantage]\nreserve_for_live = 0.0\n[providers.polygon]\n"
        'cost_per_call_usd = 0.16\nwindows = [{calls = 2, per = "minute"}]\n[providers.tiingo]\nenabled = false\n'
    )
    try:
        symbols = [word for number in range(75) for word in ("-s", f"S{number:02}")]
        weeks = ["--start", "2025-01-01", "--end", "2025-02-01"]
        assert run(["plan", "bars", *symbols, *weeks, "--home", str(home)]) == 0
        told = capsys.readouterr().out
        code, cheap = planned(home, capsys, "bars", *symbols, *weeks, "--budget", "11.99")
    finally:
        configured.unlink()
    days, minutes = (
        r"(?:[12]\.\d days|\d\d\.\d hours) at 25 calls a day \(America/New_York\), free",
        r"3\d\.\d minutes at 2 calls a minute, 12\.00 USD",
    )
    expected = rf"Cheapest that suffices: {days} \(alpha_vantage \w+\), or {minutes} \(polygon \w+\)\."
    assert re.search(expected, told), told
    assert code == 0 and [each["why_not"] for each in cheap["others"] if each["provider"] == "polygon"] == [
        "costs 12.00 USD, more than 11.99"
    ]
