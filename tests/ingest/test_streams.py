"""Many streams in one process; mute sockets and channels, lost acknowledgements, a log that is held up."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from ingest.asks import Address
from ingest.capture import CaptureReport, Listening, capture_stream, capture_streams
from ingest.liveness import LEAST_EVENTS
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import Market, MarketSession
from ingest.simulator import Simulator
from ingest.subscriptions import ATTEMPTS
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.log.blocks import encode_messages
from lake.log.log import RAW_PARTITIONS, RAW_TOPIC
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from lake.values import Capture, CaptureKind, Message
from tests.ingest.conftest import FAST, Waits, history_of, messages_of

PATIENCE_S = 60.0
SPEED = 200
NEVER = 10**15
"""Of a session whose silence is not what is tested: half a minute of this clock is over in 0.15 s."""
CAPTURE = Capture("binance-spot-test", "binance", "spot", CaptureKind.LIVE, 1, "1", "x")
SECOND = NANOS_PER_SECOND


class Hurry:
    """A clock 200 times as fast as time: what takes a minute is over in 0.3 s. Calm once there is nothing to wait for."""

    def __init__(self) -> None:
        self._now = (system_clock(), system_clock(), SPEED)

    def __call__(self) -> int:
        at, since, speed = self._now
        return at + (system_clock() - since) * speed

    def go(self, speed: int) -> None:
        """Go on from now at `speed`: at 1, a pause of a busy machine is not taken for a silent minute."""
        self._now = (self(), system_clock(), speed)


@pytest.fixture(scope="module")
def hurry() -> Hurry:
    return Hurry()


@pytest.fixture(scope="module")
def lake_in_a_hurry(tmp_path_factory: pytest.TempPathFactory, hurry: Hurry) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("lake")), hurry) as lake:
        yield lake


@pytest.fixture
def fast_lake(lake_in_a_hurry: Lake, hurry: Hurry) -> Lake:
    """A lake whose clock begins each test in a hurry."""
    hurry.go(SPEED)
    return lake_in_a_hurry


@contextmanager
def served(handle: Callable[[ServerConnection], None]) -> Iterator[Address]:
    """Serve connections, each in a thread of its own."""
    with serve(handle, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Address("http://127.0.0.1:9", f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def listen(lake: Lake, log: SegmentLog, session: MarketSession, address: Address, **more: object) -> CaptureReport:
    return capture_stream(
        lake,
        log,
        session,
        address,
        provider="binance",
        feed="spot",
        rng=random.Random(1),
        backoff=FAST,
        **more,  # type: ignore[arg-type]
    )


def quiet_session() -> MarketSession:
    return MarketSession(["btcusdt@trade"], "spot", with_snapshot=False, stale_after_ns=NEVER)


def trade(number: int, symbol: str = "BTCUSDT", padding: int = 0) -> bytes:
    data = {"e": "trade", "s": symbol, "t": number, "p": "1.0", "q": "1.0", "T": 1, "x": "x" * padding}
    return orjson.dumps({"stream": f"{symbol.lower()}@trade", "data": data})


def end(connection: ServerConnection) -> None:
    connection.close(1000, "end of recording")


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


def begin_partitions(log: SegmentLog) -> None:
    """Give every raw partition a segment, for whatever capture comes."""
    for partition in range(RAW_PARTITIONS):
        log.append(RAW_TOPIC, partition, [encode_messages(CAPTURE, [Message(0, 1, "text/plain", b"before")])])


@contextmanager
def locked(log: SegmentLog) -> Iterator[None]:
    """Hold the write lock of every raw partition, as a process does that was stopped within a commit."""
    with ExitStack() as held:
        for path in sorted((log.path / RAW_TOPIC).glob("*/*.db")):
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            held.callback(connection.close)
            connection.execute("BEGIN IMMEDIATE")
            held.callback(connection.execute, "ROLLBACK")
        yield


def wait_until_stuck(sent: list[int]) -> int:
    """Return how many frames a server had sent when it could not send any more."""
    looks, still = threading.Event(), [-1]
    while len(still) < 4 or not sent[0]:
        looks.wait(0.5)
        still = [*still, sent[0]] if still[-1] == sent[0] else [sent[0]]
    return sent[0]


def test_a_held_log_holds_the_socket_up_and_loses_nothing_received(fast_lake: Lake, log: SegmentLog) -> None:
    begin_partitions(log)
    frames, limit = 6_000, 512 * 1024
    sent: list[int] = [0]

    def pour(connection: ServerConnection) -> None:
        for number in range(frames):
            connection.send(trade(number, padding=4_000))
            sent[0] = number + 1
        end(connection)

    session = quiet_session()
    reports: list[CaptureReport] = []
    with served(pour) as address:
        with locked(log):
            thread = threading.Thread(target=lambda: reports.append(listen(fast_lake, log, session, address, limit_bytes=limit)))
            thread.start()
            stuck_at = wait_until_stuck(sent)
        thread.join(PATIENCE_S)
    (report,) = reports
    assert stuck_at < frames
    assert report.times_held_up > 0
    assert report.most_held_bytes < limit + 2 * 1024 * 1024
    rows = [row for row in messages_of(log) if row["capture_id"] == report.capture_id]
    assert [row["payload"] for row in rows] == [trade(number, padding=4_000) for number in range(frames)]
    assert (report.ended, report.gaps_open) == ("end of recording", 0)


def test_what_a_server_drops_while_we_are_held_up_is_an_open_gap(fast_lake: Lake, log: SegmentLog, waits: Waits) -> None:
    begin_partitions(log)
    connections: list[ServerConnection] = []
    sent: list[int] = [0]

    def impatient(connection: ServerConnection) -> None:
        connections.append(connection)
        first = 0 if len(connections) == 1 else 100_000
        try:
            for number in range(first, first + 6_000):
                connection.send(trade(number, padding=4_000))
                sent[0] = number + 1
                if first and number == first + 10:
                    break
        except (ConnectionClosed, OSError):
            return
        end(connection)

    session = quiet_session()
    reports: list[CaptureReport] = []
    with served(impatient) as address:
        with locked(log):
            thread = threading.Thread(
                target=lambda: reports.append(listen(fast_lake, log, session, address, sleep=waits, limit_bytes=512 * 1024))
            )
            thread.start()
            wait_until_stuck(sent)
            connections[0].socket.shutdown(2)  # a slow client is cut off
        thread.join(PATIENCE_S)
    (report,) = reports
    payloads = [row["payload"] for row in messages_of(log) if row["capture_id"] == report.capture_id]
    kept = len(payloads) - 11
    assert payloads[:kept] == [trade(number, padding=4_000) for number in range(kept)]
    assert payloads[kept:] == [trade(number, padding=4_000) for number in range(100_000, 100_011)]
    assert kept > 0
    (gap,) = history_of(log, "quality.gaps")
    assert (gap["status"], gap["first_missing"]) == ("open", str(kept))
