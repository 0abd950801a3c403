"""A log that takes nothing holds the socket up: memory is bounded, and what the server drops meanwhile is a gap."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from ingest.capture import CaptureReport
from lake.catalog import Lake
from lake.log.blocks import encode_messages
from lake.log.log import RAW_PARTITIONS, RAW_TOPIC
from lake.log.segments import SegmentLog
from lake.values import Capture, CaptureKind, Message
from tests.ingest.conftest import Waits, history_of, messages_of
from tests.ingest.hurried import PATIENCE_S, end, fast_lake, hurry, lake_in_a_hurry, listen, quiet_session, served, trade

__all__ = ["fast_lake", "hurry", "lake_in_a_hurry"]

CAPTURE = Capture("binance-spot-test", "binance", "spot", CaptureKind.LIVE, 1, "1", "x")


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
