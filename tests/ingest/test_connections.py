"""Sockets of a key: no more than its plan allows over all processes; who holds them is told; a dead holder's claim lapses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.asks import Request
from ingest.connections import Connections, holders
from ingest.plans import STREAM, UNLIMITED, Plan, key_name
from ingest.quota_book import Wanted
from ingest.quotas import Quotas
from ingest.reach import themselves
from ingest.shipped_plans import PLANS
from ingest.simulator import Simulator
from ingest.simulator.keyed import Keys
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from lake.state import State
from serving.operate import asking
from serving.operate.configured import open_configured
from tests.ingest.standing_state import Clock, call

ONE = Plan("free", sockets=1)
HOLDING = """
import sys
from ingest.connections import Connections
from ingest.plans import Plan
from lake.instants import system_clock
from lake.state import State

state = State(sys.argv[1], system_clock)
with Connections(state, "finnhub", "k", Plan("free", sockets=1), 20.0, lambda seconds: None).claimed({"trades": 1}):
    print("held", flush=True)
    sys.stdin.read()
"""


def sockets(state: State, plan: Plan = ONE, key: str = "k") -> Connections:
    return Connections(state, "finnhub", key, plan, 20.0, lambda seconds: None)


def test_a_second_process_is_told_who_holds_the_socket_until_that_one_is_dead(state: State, tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", HOLDING, load_settings(home=tmp_path).state_url]
    other = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None and other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        (told,) = holders(state)["finnhub"]
        assert (told["pid"], told["holder"], told["key"], told["number"]) == (other.pid, "running", "k", 1)
        words = f"lets a key have 1 socket.s., held by process {other.pid} of .* .running."
        with pytest.raises(ProviderUnavailableError, match=words), sockets(state).claimed({"trades": 1}):
            pass
        os.kill(other.pid, signal.SIGKILL)
        other.wait(60)
        with sockets(state).claimed({"trades": 1}):
            assert holders(state)["finnhub"][0]["pid"] == os.getpid()
    finally:
        other.kill()
        other.stdin.close()
        other.stdout.close()
        other.wait(60)
    assert holders(state) == {}


def test_sockets_are_counted_by_key_and_where_a_provider_does_by_feed(state: State) -> None:
    by_feed = replace(ONE, is_socket_of_feed=True)
    with ExitStack() as held:
        held.enter_context(sockets(state).claimed({"trades": 1}))
        held.enter_context(sockets(state, key="another").claimed({"trades": 1}))
        held.enter_context(sockets(state, by_feed, "third").claimed({"iex": 1, "sip": 1}))
        held.enter_context(sockets(state, UNLIMITED).claimed({"trades": 100}))
        for plan, key in ((ONE, "k"), (by_feed, "third")):
            with pytest.raises(ProviderUnavailableError, match="held by process"), sockets(state, plan, key).claimed({"iex": 1}):
                pass
        with sockets(state, replace(ONE, sockets=3)).claimed({"trades": 2}):
            assert len(holders(state)["finnhub"]) == 6
    assert holders(state) == {}


def test_what_is_too_much_for_one_capture_is_given_back(state: State) -> None:
    two = replace(ONE, sockets=2)
    with pytest.raises(ProviderUnavailableError, match="wants more than 2"), sockets(state, two).claimed({"trades": 3}):
        pass
    assert holders(state) == {}
    assert (PLANS["finnhub"][0].sockets, PLANS["alpaca"][0].is_socket_of_feed, PLANS["polygon"][0].sockets) == (1, True, 1)


def test_attempts_to_connect_to_binance_are_a_window_of_its_quota(state: State, clock: Clock) -> None:
    many = Wanted(STREAM, "live", calls=298)
    with Quotas(state, {"binance": PLANS["binance"][0]}, clock) as quotas:
        assert quotas.change("binance", key_name([]), lambda book, now_ns: book.reserve(now_ns, many, "many", 0)).calls == 298
        quotas.change("binance", key_name([]), lambda book, now_ns: book.settle(now_ns, "many", many, 298))
        permits = quotas.permits("binance", key_name([]), "live")
        connect = Request("CONNECT", "/stream", endpoint=STREAM)
        for _ in range(2):
            assert permits.before(connect).is_given
            permits.after(connect, call(Verdict.OK))
        leave = permits.before(connect)
        assert not leave.is_given and leave.wait_s > 60
        assert permits.before(Request("GET", "/api/v3/klines", endpoint="klines")).is_given
        clock.move(310)
        assert permits.before(connect).is_given


def test_a_capture_does_not_connect_while_another_holds_the_socket(tmp_path: Path) -> None:
    settings, token = load_settings(home=tmp_path / "home"), Keys().finnhub_token
    with Simulator(excerpt=20) as simulator, Lake.create(settings, system_clock) as lake:
        where = simulator.addresses()
        settings.config.write_text(f'[providers.finnhub]\nhttp = "{where["http"]}"\nstream = "{where["finnhub"]}"\n')
        reach = themselves({"FINNHUB_API_KEY": token}, open_configured(lake).in_force)
        wanted = asking.Wanted("finnhub", "trades", ("AAPL",))
        with SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
            plan, key = PLANS["finnhub"][0], key_name((token,))
            with Connections(lake.state, "finnhub", key, plan, 20.0, lambda seconds: None).claimed({"trades": 1}):
                with pytest.raises(ProviderUnavailableError, match=f"held by process {os.getpid()}"):
                    asking.capture(lake, log, wanted, reach)
                assert lake.state.jobs("stream:") == {}
            (report,) = asking.capture(lake, log, wanted, reach)
            assert report.connections == 1 and report.messages > 0
        assert holders(lake.state) == {}
