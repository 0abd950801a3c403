"""The verb that fetches files: a range of Databento, a day of IEX, and what a range would cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.plans import key_name
from ingest.quotas import Quotas
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.limits import Limit, Limits
from lake.log.segments import SegmentLog
from lake.state import State
from serving.cli.app import run
from serving.operate.fetching import Fetched, Reach, Wanted, fetched, priced
from tests.ingest.standing_state import Clock
from tests.serving import configured_lake


def test_files_are_fetched_and_imported_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert run(["init", *home]) == 0
    window = ["--start", "2024-01-03", "--end", "2024-01-04"]
    databento = ["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", *window, *home, "--json"]

    def told(words: list[str]) -> dict[str, object]:
        capfd.readouterr()
        assert run(words) == 0
        return json.loads(capfd.readouterr().out)  # type: ignore[no-any-return]

    def statuses(words: list[str]) -> list[str]:
        return [file["status"] for file in told(words)["files"]]  # type: ignore[attr-defined]

    assert told([*databento, "--cost"]) == {"verdict": "OK", "detail": "0.000173 USD", "files": []}
    assert [statuses(databento), statuses(databento)] == [["imported"], ["already"]]
    assert statuses(["fetch", "iex", "tops", "--start", "2018-01-27", *home, "--json"]) == ["imported"]
    assert told(["fetch", "iex", "deep", "--start", "2018-01-28", *home, "--json"])["verdict"] == "EMPTY_VALID"
    days = ["--start", "2020-12-28", "--end", "2020-12-29"]
    asked = ["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", "--symbology", *days, *home, "--json"]
    assert told(asked) == {"verdict": "OK", "detail": "1 mappings", "files": []}
    assert sorted(path.suffix for path in (tmp_path / "home" / "downloads").iterdir()) == [".gz", ".zst"]
    assert run(["fetch", "iex", "tops", "--symbology", *days, *home]) == 3
    assert run(["fetch", "nasdaq", "itch", *window, *home]) == 3
    assert run(["fetch", "databento", "XNAS.ITCH", "-s", "ZZZZ", *window, *home]) == 5
    assert run(["fetch", "databento", "XNAS.ITCH", "-s", "NVDA", "--start", "2024-01-03", *home]) == 2


CONFIGURED = """
[providers.databento]
reserve_for_live = 0.0
windows = [{ calls = 2, per = "hour" }]
[providers.iex]
reserve_for_live = 0.0
"""


def spent(state: State, provider: str, key: str) -> int:
    """Return the calls for files that the ledger counts this month."""
    with Quotas(state, {}, Clock()) as quotas:
        return sum(each.month["backfill"] for each in quotas.standings() if (each.provider, each.key) == (provider, key))


def test_each_call_has_leave_of_the_quota_of_its_key_and_of_the_breaker(tmp_path: Path) -> None:
    clock, day, of_iex = Clock(), datetime(2024, 1, 3, tzinfo=UTC), datetime(2018, 1, 27, tzinfo=UTC)
    faults = Faults(http=(HttpFault("status", "/v0/timeseries", 503), HttpFault("status", "/api/1.0/hist", 503, times=5)))
    judge = Limits(clock, {"databento": (Limit(2, 3_600.0),)})
    with (
        configured_lake.made(tmp_path / "home", CONFIGURED, clock) as lake,
        SegmentLog(lake.settings.log_path, clock, min_free_bytes=1 << 20) as log,
        Simulator(faults, markets=(), streams=(), limits=judge) as sim,
    ):
        reach, key = Reach(sim.addresses()["http"], sim.keys.databento_key), key_name((sim.keys.databento_key,))

        def asked(provider: str, feed: str, start: datetime, ask: Callable[..., Fetched] = fetched) -> Fetched:
            wanted = Wanted(provider, feed, "trades", ("NVDA",), start, start + timedelta(days=1), tmp_path / "files")
            return ask(lake, log, wanted, reach, clock.move)

        assert asked("databento", "XNAS.ITCH", day, priced).verdict == "OK"
        refused = asked("databento", "XNAS.ITCH", day)  # answered 503; to ask again is a third call in the hour
        assert (refused.verdict, refused.files, "2 of 2" in refused.detail) == ("NOT_ASKED", [], True)
        assert (judge.report()[0]["calls"], judge.exceeded(), spent(lake.state, "databento", key)) == (2, [], 2)
        clock.move(3_600)
        assert asked("databento", "XNAS.ITCH", day).files[0]["status"] == "imported"
        assert spent(lake.state, "databento", key) == 3

        opened = [asked("iex", "tops", of_iex) for _ in range(2)][-1]
        assert (opened.verdict, "breaker" in opened.detail) == ("NOT_ASKED", True)
        assert spent(lake.state, "iex", key_name(())) == 5
        clock.move(60)
        assert asked("iex", "tops", of_iex).files[0]["status"] == "imported"
        assert spent(lake.state, "iex", key_name(())) == 7  # the list, and the file
