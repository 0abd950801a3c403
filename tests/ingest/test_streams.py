"""Many streams in one process; mute sockets and channels, lost acknowledgements."""

from __future__ import annotations

import random
import threading

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from ingest.capture import CaptureReport, Listening, capture_stream, capture_streams
from ingest.liveness import LEAST_EVENTS
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import Market, MarketSession
from ingest.simulator import Simulator
from ingest.subscriptions import ATTEMPTS
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import NANOS_PER_SECOND
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.hurried import (
    NEVER,
    PATIENCE_S,
    Hurry,
    end,
    fast_lake,
    hurry,
    lake_in_a_hurry,
    listen,
    quiet_session,
    served,
    trade,
)

__all__ = ["fast_lake", "hurry", "lake_in_a_hurry"]

SECOND = NANOS_PER_SECOND


def test_many_connections_in_one_process_bring_what_one_would(fast_lake: Lake, log: SegmentLog) -> None:
    streams: dict[Market, tuple[str, ...]] = {
        "spot": ("btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@bookTicker"),
        "usdm": ("btcusdt@trade", "btcusdt@bookTicker"),
    }
    with Simulator(excerpt=600) as sim:
        several = [
            Listening(
                "binance",
                market,
                MarketSession([name], market, with_snapshot=False, stale_after_ns=NEVER),
                sim.binance(market),
                f"{number}of3",
            )
            for market, names in streams.items()
            for number, name in enumerate(names, 1)
        ]
        recorded = {market: sim.recording(market) for market in streams}
        reports = capture_streams(fast_lake, log, several, rng=random.Random(1), backoff=FAST)
    told = [report for report in reports if isinstance(report, CaptureReport)]
    assert [report.ended for report in told] == ["end of recording"] * len(several)
    rows = messages_of(log)
    for one, report in zip(several, told, strict=True):
        name = one.session.target.partition("=")[2]
        expected = [
            frame.payload for market in streams if market == one.feed for frame in recorded[market].frames if frame.stream == name
        ]
        found = [row["payload"] for row in rows if row["capture_id"] == report.capture_id]
        assert found == expected
        job = fast_lake.state.job(one.job) or {}
        assert (job["capture_id"], job["ended"]) == (report.capture_id, "end of recording")
        assert (job["provider"], job["feed"]) == (one.provider, one.feed)
    assert len(rows) == sum(report.messages for report in told) > 0


def test_one_dead_provider_does_not_end_the_others(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    def speak(connection: ServerConnection) -> None:
        connection.send(trade(1))
        end(connection)

    with served(speak) as alive, served(lambda connection: connection.close(1001, "going away")) as dead:
        both = [
            Listening("binance", "spot", quiet_session(), address, part) for part, address in (("dead", dead), ("alive", alive))
        ]
        first, second = capture_streams(fast_lake, log, both, sleep=waits, rng=random.Random(1), backoff=FAST)
    assert isinstance(first, ProviderUnavailableError)
    assert isinstance(second, CaptureReport)
    assert (second.ended, second.messages) == ("end of recording", 1)


def test_a_socket_that_only_pings_is_left(fast_lake: Lake, log: SegmentLog, waits: Waits, hurry: Hurry) -> None:
    connections: list[int] = []

    def ping_only(connection: ServerConnection) -> None:
        connections.append(1)
        connection.send(trade(len(connections)))
        if len(connections) == 2:
            end(connection)
            return
        try:
            while connection.ping().wait(PATIENCE_S):
                connection.recv(timeout=0.01)
        except (TimeoutError, ConnectionClosed):
            for _ in connection:
                continue
        finally:
            hurry.go(1)  # it was left

    with served(ping_only) as address:
        session = MarketSession(["btcusdt@trade"], "spot", with_snapshot=False, stale_after_ns=600 * SECOND)
        report = listen(fast_lake, log, session, address, sleep=waits)
    assert (report.connections, report.drops, report.gaps_open) == (2, 1, 0)
    reasons = [str(row["reason"]) for row in history_of(log, "quality.gaps")]
    assert "silence: no data although the socket is open" in reasons[0]
    assert "continuous after the reconnect" in reasons[1]


def test_a_channel_that_falls_silent_while_another_speaks_is_found(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    connections: list[int] = []
    left = threading.Event()

    def half_dead(connection: ServerConnection) -> None:
        connections.append(1)
        if len(connections) == 2:
            end(connection)
            return
        number = 0
        try:
            while True:
                number += 1
                connection.send(trade(number))
                if number <= 2 * LEAST_EVENTS:
                    connection.send(trade(number, "ETHUSDT"))
                left.wait(0.002)
        except ConnectionClosed:
            left.set()

    session = MarketSession(["btcusdt@trade", "ethusdt@trade"], "spot", with_snapshot=False, stale_after_ns=NEVER)
    with served(half_dead) as address:
        report = listen(fast_lake, log, session, address, sleep=waits)
    assert (report.connections, report.ended) == (2, "end of recording")
    gaps = {str(row["symbol"]): row for row in history_of(log, "quality.gaps")}
    assert "silence of ETHUSDT ethusdt@trade while others speak" in str(gaps["ETHUSDT"]["reason"])
    assert gaps["ETHUSDT"]["first_missing"] == str(2 * LEAST_EVENTS + 1)


def test_a_subscription_that_is_not_confirmed_is_asked_for_again(
    fast_lake: Lake, log: SegmentLog, waits: Waits, hurry: Hurry
) -> None:
    asked: list[dict[str, object]] = []

    def forgetful(connection: ServerConnection) -> None:
        asked.append(orjson.loads(connection.recv()))
        asked.append(orjson.loads(connection.recv(PATIENCE_S)))
        hurry.go(1)
        connection.send(orjson.dumps({"result": None, "id": asked[-1]["id"]}))
        connection.send(trade(1))
        end(connection)

    session = MarketSession(["btcusdt@trade"], "spot", subscribe_by="frame", with_snapshot=False, stale_after_ns=NEVER)
    with served(forgetful) as address:
        report = listen(fast_lake, log, session, address, sleep=waits)
    assert (report.messages, report.ended, report.connections) == (2, "end of recording", 1)
    assert [(ask["method"], ask["params"]) for ask in asked] == [("SUBSCRIBE", ["btcusdt@trade"])] * 2
    assert history_of(log, "quality.findings") == []


def test_a_subscription_never_confirmed_is_a_finding_and_a_gap(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    asked: list[bytes | str] = []

    def deaf(connection: ServerConnection) -> None:
        stopped = threading.Event()
        threading.Thread(target=lambda: asked.extend(connection), daemon=True).start()
        number = 0
        while len(asked) < ATTEMPTS or number < 40:
            number += len(asked) == ATTEMPTS
            connection.send(trade(1 + number))
            stopped.wait(0.01)
        end(connection)

    session = MarketSession(
        ["btcusdt@trade", "ethusdt@trade"], "spot", subscribe_by="frame", with_snapshot=False, stale_after_ns=NEVER
    )
    with served(deaf) as address:
        listen(fast_lake, log, session, address, sleep=waits)
    findings = history_of(log, "quality.findings")
    assert {str(row["kind"]) for row in findings} == {"subscription"}
    assert {str(row["reason"]).partition(":")[0] for row in history_of(log, "quality.gaps")} >= {"btcusdt@trade", "ethusdt@trade"}


def test_a_full_endpoint_is_waited_for_and_a_part_confirmed_is_completed(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    connections: list[int] = []
    asked: list[dict[str, object]] = []

    def say(connection: ServerConnection, *events: dict[str, object]) -> None:
        connection.send(orjson.dumps(events), text=True)

    def alpaca(connection: ServerConnection) -> None:
        connections.append(1)
        say(connection, {"T": "success", "msg": "connected"})
        connection.recv()
        if len(connections) == 1:
            say(connection, {"T": "error", "code": 406, "msg": "connection limit exceeded"})
            for _ in connection:
                continue
            return
        say(connection, {"T": "success", "msg": "authenticated"})
        for confirmed in (["AAPL"], ["AAPL", "TSLA"]):
            asked.append(orjson.loads(connection.recv(PATIENCE_S)))
            say(connection, {"T": "subscription", "trades": confirmed, "quotes": []})
        end(connection)

    patience = Backoff(attempts=3, first_s=0.01, ceiling_s=60.0)
    session = MarketStream(
        "iex", ["AAPL", "TSLA"], "key-of-alpaca", "secret-of-alpaca", channels=["trades"], stale_after_ns=NEVER
    )
    with served(alpaca) as address:
        report = capture_stream(fast_lake, log, session, address, provider="alpaca", feed="iex", sleep=waits, backoff=patience)
    assert (report.connections, report.ended) == (2, "end of recording")
    assert waits.asked == [60.0]
    assert asked == [{"action": "subscribe", "trades": ["AAPL", "TSLA"]}, {"action": "subscribe", "trades": ["TSLA"]}]
    assert history_of(log, "quality.findings") == []


def test_a_server_that_will_shut_down_is_left_at_once(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    connections: list[int] = []

    def leaving(connection: ServerConnection) -> None:
        connections.append(1)
        connection.send(trade(len(connections)))
        if len(connections) == 2:
            end(connection)
            return
        connection.send(b'{"e":"serverShutdown","E":1}', text=True)
        for _ in connection:
            continue

    with served(leaving) as address:
        session = quiet_session()
        report = listen(fast_lake, log, session, address, sleep=waits)
    assert (report.connections, report.ended, report.gaps_open) == (2, "end of recording", 0)
    assert waits.asked == []


def test_a_connection_is_left_before_the_provider_ends_it() -> None:
    session = MarketSession(["btcusdt@trade"], "spot")
    session.connected(0)
    day = 24 * 3_600 * SECOND
    session.receive(trade(1), day - 1_200 * SECOND)
    session.tick(day - 1_200 * SECOND)
    assert session.leaving() is None
    session.receive(trade(2), day - 600 * SECOND)
    session.tick(day - 600 * SECOND)
    leaving = session.leaving()
    assert leaving is not None
    assert leaving.is_planned
