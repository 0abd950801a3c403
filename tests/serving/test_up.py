"""The whole system in processes of its own: up, a part killed, the supervisor killed, and nothing lost or doubled."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from ingest.landing import land
from ingest.providers.registry import PROVIDERS
from lake.catalog import Lake
from lake.errors import InvalidValueError, SettingsError
from lake.instants import system_clock
from lake.settings import load_settings
from serving.operate.board import Board
from serving.operate.children import LONGEST_WAIT_S, Child, wait_s
from serving.operate.logs import open_log
from serving.operate.planning import Plan, planned, playing
from serving.operate.status import row_counts

PATIENCE_S = 180
"""For the next line: on a busy machine the parts take a minute to start."""


class System:
    """`tickhouse up` in a process; what it says is read as it comes."""

    def __init__(self, home: Path, root: Path, *options: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "up", "--home", str(home), "--port", "0", "--json"]
        self.process = subprocess.Popen(
            [*command, *options], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=lambda: [self._lines.put(line) for line in self.process.stderr], daemon=True)
        self._reader.start()
        text = ""
        while "}" not in text:
            line = self.process.stdout.readline()
            assert line, f"it ended, having said only {text!r}"
            text += line
        self.address = json.loads(text)["address"]

    def said(self, words: str) -> str:
        """Return the next line that has these words."""
        while True:
            line = self._lines.get(timeout=PATIENCE_S)
            if words in line:
                return line

    def event(self, name: str) -> dict[str, Any]:
        """Return the next event of this name; every one on the way is kept."""
        while True:
            self.heard.append(json.loads(self._lines.get(timeout=PATIENCE_S)))
            if self.heard[-1]["event"] == name:
                return self.heard[-1]

    def close(self) -> None:
        """Take leave of an ended process."""
        self.process.wait(timeout=PATIENCE_S)
        self._reader.join(timeout=PATIENCE_S)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()

    def parts(self) -> dict[str, int]:
        """Return the process of every part, by its name; a child that has just ended, or not yet begun, has no words."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found: dict[str, int] = {}
        for child in children:
            try:
                line = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if b"serving.operate.parts" in line:
                found[line[line.index(b"serving.operate.parts") + 1].decode()] = int(child)
        return found

    def ends(self) -> list[int]:
        """Return a handle on each part that runs, readable once it has ended."""
        found = []
        for pid in self.parts().values():
            with suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
        return found


@contextmanager
def running(home: Path, root: Path, *options: str) -> Iterator[System]:
    system = System(home, root, *options)
    try:
        yield system
    finally:
        if system.process.poll() is None:
            system.process.kill()
        system.close()


def captured_in(words: str) -> int:
    """Return how many messages a part says it captured."""
    return int(re.search(r"captured ([\d,]+)", words)[1].replace(",", ""))


def landed_in(events: list[dict[str, Any]]) -> int:
    """Return how many messages the pipeline says it landed, in all its turns."""
    return sum(event["landed"] for event in events if event["event"] == "turn")


def test_a_part_that_dies_comes_back_and_none_outlives_the_supervisor(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "lake"
    with running(home, root, "--excerpt", "40", "--no-notebooks", "--provider", "yahoo", "--provider", "binance") as system:
        captured = [system.event("done")["words"] for _ in ("yahoo", "binance spot", "binance usdm")]
        os.kill(system.parts()["http"], signal.SIGKILL)
        assert "SIGKILL" in system.said("http: died")
        retrying = httpx.HTTPTransport(retries=8)  # the same address, once it is back
        with httpx.Client(transport=retrying, timeout=PATIENCE_S) as client:
            assert client.get(f"{system.address}/api/v1/health").json()["status"] == "ok"
        ends = system.ends()
        system.process.kill()  # the supervisor itself: no part stays behind
        for end in ends:
            assert select.select([end], [], [], PATIENCE_S)[0], "a part outlived its supervisor"
            os.close(end)

    with Lake.open(load_settings(home=home), system_clock) as lake:
        land(lake, open_log(lake.settings))
        messages = sum(map(captured_in, captured))
        assert row_counts(lake)["raw.messages"] == messages


def test_a_wrong_setting_ends_everything_with_its_words(root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "serving.cli.main",
            "up",
            "--home",
            str(tmp_path / "lake"),
            "--port",
            port,
        ]
        ended = subprocess.run(
            [*command, "--excerpt", "5", "--no-notebooks"], cwd=root, capture_output=True, text=True, timeout=PATIENCE_S
        )
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_waits_double_up_to_a_ceiling() -> None:
    assert [wait_s(failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert wait_s(50) == LONGEST_WAIT_S


def test_a_stop_leaves_nothing_behind_and_the_next_start_finds_nothing_new(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "lake"
    played = ("alpaca", "finnhub", "alpha_vantage")
    options = [word for name in played for word in ("--provider", name)]
    for number, words in ((signal.SIGINT, "end of recording"), (signal.SIGTERM, "captured before, nothing new")):
        with running(home, root, "--excerpt", "5", "--no-notebooks", *options) as system:
            done = {system.event("done")["part"]: system.heard[-1]["words"] for _ in played}
            assert set(done) == set(played)
            assert sum(words in told for told in done.values()) >= 2
            if number == signal.SIGINT:
                while landed_in(system.heard) < sum(map(captured_in, done.values())):
                    system.event("turn")
            ends = system.ends()
            system.process.send_signal(number)
            assert system.process.wait(timeout=PATIENCE_S) == 0
            for end in ends:
                assert select.select([end], [], [], PATIENCE_S)[0], "a part outlived its supervisor"
                os.close(end)
        assert not any("Traceback" in log.read_text() for log in (home / "logs").iterdir())
    assert not [event for event in system.heard if event["event"] == "turn" and event["landed"]]


def test_played_providers_are_all_captured_and_live_ones_never(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    assert "simulator" in [child.name for child in planned(settings, Plan("", 0), {})]
    names = [child.name for child in playing(settings, Plan("", 0), {"http": "http://127.0.0.1:1"})]
    assert {name.partition(" ")[0] for name in names} == {"gaps", *PROVIDERS}

    live = Plan("", 0, symbols=("yahoo:MSFT", "alpaca:AAPL", "finnhub:AAPL", "alpha_vantage:EUR/USD"), has_notebooks=False)
    found = {child.name: child for child in planned(settings, live, {"FINNHUB_API_KEY": "token"})}
    asked = ["yahoo polls", "alpaca polls", "alpaca stream", "finnhub polls", "finnhub stream", "alpha_vantage polls"]
    assert list(found) == ["pipeline", "topics", "http", *asked, "gaps"]
    assert {name for name, child in found.items() if child.state == "left out"} == {asked[1], asked[2], asked[5]}
    assert "APCA_API_KEY_ID and APCA_API_SECRET_KEY" in found["alpaca polls"].words
    assert not any("--simulator" in child.command for child in found.values())


def test_without_a_key_nobody_is_left_to_ask(root: Path, tmp_path: Path) -> None:
    assert Plan("", 0, symbols=("finnhub:AAPL", "yahoo:MSFT")).left_out({}) == {
        "finnhub": "needs FINNHUB_API_KEY in the environment"
    }
    with pytest.raises(SettingsError, match="nobody to ask: finnhub needs FINNHUB_API_KEY"):
        Plan("", 0, symbols=("finnhub:AAPL",)).left_out({"FINNHUB_API_KEY": ""})
    words = ["up", "--home", str(tmp_path / "lake"), "--port", "0", "--live", "alpha_vantage:IBM"]
    told = {name: value for name, value in os.environ.items() if name != "ALPHAVANTAGE_API_KEY"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "serving.cli.main", *words],
        cwd=root, env=told, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "alpha_vantage needs ALPHAVANTAGE_API_KEY in the environment" in done.stderr
    assert not (tmp_path / "lake").exists()


def test_what_is_asked_of_providers_themselves_names_them() -> None:
    assert Plan("", 0, symbols=("yahoo:MSFT", "yahoo:NVDA")).asked() == {"yahoo": ["MSFT", "NVDA"]}
    with pytest.raises(InvalidValueError, match="no provider nobody; there are yahoo"):
        Plan("", 0, played=("yahoo", "nobody")).asked()
    for wrong in ("MSFT", "nobody:MSFT", "yahoo:"):
        with pytest.raises(InvalidValueError, match="PROVIDER:SYMBOL"):
            Plan("", 0, symbols=(wrong,)).asked()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_the_page_shows_parts_providers_and_what_to_do_next(tmp_path: Path, width: int, height: int) -> None:
    board = Board("lake", {"http": "http://127.0.0.1:8000", "notebooks": "http://127.0.0.1:8001"})
    providers = {"binance": {"messages": 600, "rows": 300, "waiting": 0}}
    board.take({"event": "turn", "landed": 600, "published": 300, "behind_s": 2.5, "providers": providers}, now=100.0)
    counts = {"binance": {"rows": 1_300_000, "held": 410, "quarantined": 3}}
    tables = {"raw.messages": 600, "normalized.trades": 300}
    board.take({"event": "rows", "tables": tables, "holds": ["trades-1"], "providers": counts}, now=100.0)
    board.lines.extend(f"line {number}" for number in range(8))
    names = ["pipeline", "topics", "http", "notebooks", "simulator", "yahoo", "binance spot", "binance usdm", "alpaca", "finnhub"]
    words = "landed 600 messages, published 300 rows in 1.5 s, and told everybody who wanted to hear of it"
    children = [Child(name, [], tmp_path, {}, state="running", words=words, started_at=40.0) for name in names]
    shown = Console(width=width, record=True, file=io.StringIO())
    shown.print(board.page(children, 101.0, width, height))
    lines = shown.export_text().splitlines()
    assert len(lines) < height
    assert any(line.split()[:7] == ["pipeline", "running", "61", "s", "landed", "600", "messages,"] for line in lines)
    spot = next(line for line in lines if line.startswith("binance spot")).split()
    assert spot[2:11] == ["running", "1,300,000", "10.0", "2.5", "s", "1", "s", "ago", "410"]
    text = " ".join(lines)
    for words in ("http://127.0.0.1:8000/", "600 messages, 20.0/s", "300 rows, 10.0/s", "1 held", "tickhouse holds", "Ctrl-C"):
        assert words in text
    assert ("line 0" in text) == (height == 40)
    assert board.rates(now=200.0) == board.rates(200.0, "binance") == (0.0, 0.0)
