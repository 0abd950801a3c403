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
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from ingest.landing import land
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import system_clock
from lake.settings import load_settings
from serving.operate.board import Board
from serving.operate.children import LONGEST_WAIT_S, Child, wait_s
from serving.operate.logs import open_log
from serving.operate.status import row_counts
from serving.operate.supervisor import Plan


class System:
    """`tickhouse up` in a process; what it says is read as it comes."""

    def __init__(self, home: Path, root: Path, *options: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "serving.cli.main", "up", "--home", str(home), "--port", "0", "--json"]
        self.process = subprocess.Popen(
            [*command, *options], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=lambda: [self._lines.put(line) for line in self.process.stderr], daemon=True)
        self._reader.start()
        text = ""
        while "}" not in text:
            text += self.process.stdout.readline()
        self.address = json.loads(text)["address"]

    def said(self, words: str) -> str:
        """Return the next line that has these words."""
        while True:
            line = self._lines.get(timeout=60)
            if words in line:
                return line

    def close(self) -> None:
        """Take leave of an ended process."""
        self.process.wait(timeout=30)
        self._reader.join(timeout=30)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()

    def parts(self) -> dict[str, int]:
        """Return the process of every part, by its name."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        words = {child: Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children}
        return {line[line.index(b"serving.operate.parts") + 1].decode(): int(child) for child, line in words.items()}


@contextmanager
def running(home: Path, root: Path, *options: str) -> Iterator[System]:
    system = System(home, root, *options)
    try:
        yield system
    finally:
        if system.process.poll() is None:
            system.process.kill()
        system.close()


def test_a_part_that_dies_comes_back_and_none_outlives_the_supervisor(root: Path, tmp_path: Path) -> None:
    home = tmp_path / "lake"
    with running(home, root, "--excerpt", "40", "--no-notebooks") as system:
        captured = [system.said("captured") for _ in ("yahoo chart", "binance spot", "binance usdm")]
        os.kill(system.parts()["http"], signal.SIGKILL)
        assert "SIGKILL" in system.said("http: died")
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:  # the same address, once it is back
            assert client.get(f"{system.address}/api/v1/health").json()["status"] == "ok"
        ends = [os.pidfd_open(pid) for pid in system.parts().values()]
        system.process.kill()  # the supervisor itself: no part stays behind
        for end in ends:
            assert select.select([end], [], [], 30)[0], "a part outlived its supervisor"
            os.close(end)

    with Lake.open(load_settings(home=home), system_clock) as lake:
        land(lake, open_log(lake.settings))
        messages = sum(int(re.search(r"captured ([\d,]+)", line)[1].replace(",", "")) for line in captured)
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
            [*command, "--excerpt", "5", "--no-notebooks"], cwd=root, capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_waits_double_up_to_a_ceiling() -> None:
    assert [wait_s(failures) for failures in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert wait_s(50) == LONGEST_WAIT_S


def test_what_is_asked_of_providers_themselves_names_them() -> None:
    assert Plan("", 0, symbols=("yahoo:MSFT", "yahoo:NVDA")).asked() == {"yahoo": ["MSFT", "NVDA"]}
    for wrong in ("MSFT", "nobody:MSFT", "yahoo:"):
        with pytest.raises(InvalidValueError, match="PROVIDER:SYMBOL"):
            Plan("", 0, symbols=(wrong,)).asked()


def test_the_page_shows_parts_rates_freshness_and_holds(tmp_path: Path) -> None:
    board = Board("lake", {"http": "http://127.0.0.1:8000"})
    board.take({"event": "turn", "landed": 600, "published": 300, "behind_s": 2.5}, now=100.0)
    board.take({"event": "rows", "tables": {"raw.messages": 600, "normalized.trades": 300}, "holds": ["trades-1"]}, now=100.0)
    child = Child("pipeline", [], tmp_path / "log", {}, state="running", words="landed 600 messages", started_at=40.0)
    shown = Console(width=120, record=True, file=io.StringIO())
    shown.print(board.page([child], now=101.0))
    text = shown.export_text()
    for words in ("http://127.0.0.1:8000", "pipeline", "61 s", "20.0/s", "10.0/s", "at most 2.5 s after receipt", "trades-1"):
        assert words in text
    assert board.rates(now=200.0) == (0.0, 0.0)
