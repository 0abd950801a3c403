"""The stream over a real server while others publish: a snapshot, then every row once, in the order of the ledger."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import websockets.exceptions
from websockets.sync.client import ClientConnection, connect

from lake.as_of import ledger
from lake.catalog import Lake
from lake.instants import system_clock
from serving.client import Client
from serving.operate.supervisor import WebServer
from serving.streaming.hub import Bounds, Hub
from serving.web.app import create_app
from tests.serving import small_lake
from tests.serving.market_lake import put_quotes, served

BTC = "listing:BINANCE/BTCUSDT:spot"
QUOTES = {"action": "subscribe", "id": "q", "symbol": BTC, "kind": "quotes"}


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with small_lake.make(tmp_path / "home") as made:
        yield made


def opened(address: str, **options: Any) -> ClientConnection:
    return connect(address.replace("http", "ws", 1) + "/api/v1/stream", **{"open_timeout": 60, **options})


def ask(stream: ClientConnection, request: object) -> dict[str, Any]:
    stream.send(json.dumps(request) if not isinstance(request, str) else request)
    return receive(stream)


def receive(stream: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stream.recv(timeout=30))
    return found


def test_a_snapshot_then_every_publication_once_while_somebody_publishes(lake: Lake) -> None:
    batches = 12
    put_quotes(lake, 0, 2)
    with served(lake) as http, ExitStack() as stack:
        address = str(http.base_url)
        publishing = threading.Thread(target=lambda: [put_quotes(lake, number, 3) for number in range(1, batches)])
        publishing.start()
        streams = [stack.enter_context(opened(address)) for _ in range(4)]
        found = []
        for stream in streams:  # each joins at another moment
            first = ask(stream, {**QUOTES, "rows": 10_000})
            sequences = list(first["columns"]["sequence"])
            positions = [first["position"]]
            while sequences[-1] != (batches - 1) * 1000 + 2:
                update = receive(stream)
                assert (update["type"], update["id"], update["status"]) == ("update", "q", "confirmed")
                sequences += update["columns"]["sequence"]
                positions.append(update["position"])
            found.append((sequences, positions))
        publishing.join()
    everything = [0, 1] + [number * 1000 + one for number in range(1, batches) for one in range(3)]
    booked = [str(entry.snapshot_id) for entry in ledger(lake, "normalized.quotes")]
    for sequences, positions in found:
        assert sequences == everything
        assert positions == booked[booked.index(positions[0]) :]


def test_a_client_goes_on_where_it_was(lake: Lake) -> None:
    put_quotes(lake, 0, 1)
    with served(lake) as http:
        with opened(str(http.base_url)) as stream:
            position = ask(stream, QUOTES)["position"]
        put_quotes(lake, 1, 2)
        put_quotes(lake, 2, 1)
        with opened(str(http.base_url)) as stream:
            missed = [ask(stream, {**QUOTES, "position": position}), receive(stream)]
            put_quotes(lake, 3, 1)
            missed.append(receive(stream))
    assert [update["type"] for update in missed] == ["update"] * 3
    assert [update["columns"]["sequence"] for update in missed] == [[1000, 1001], [2000], [3000]]


def test_kinds_have_their_snapshots_and_requests_their_refusals(lake: Lake) -> None:
    with served(lake) as http, opened(str(http.base_url)) as stream:
        bars = ask(stream, {"action": "subscribe", "id": "b", "symbol": "AAPL", "kind": "bars", "rows": 2})
        assert bars["columns"]["close"] == ["499.23", "129.04"]
        trades = ask(stream, {"action": "subscribe", "id": "t", "symbol": BTC, "kind": "trades", "provider": "binance"})
        assert trades["columns"]["price"] == ["55135.99"]
        nothing = ask(stream, {"action": "subscribe", "id": "c", "symbol": "AAPL", "kind": "corporate_actions"})
        assert (nothing["row_count"], nothing["position"]) == (0, "start")
        for wrong, kind in (
            ("{", "invalid-value"),
            ("[]", "invalid-value"),
            ({"action": "x"}, "invalid-value"),
            ({**QUOTES, "kind": "book"}, "invalid-value"),
            ({**QUOTES, "rows": -1}, "invalid-value"),
            ({**QUOTES, "symbol": "NOPE"}, "not-found"),
            ({**QUOTES, "position": "5"}, "not-found"),
            ({**QUOTES, "id": "b"}, "invalid-value"),
            ("x" * 9_000, "invalid-value"),
        ):
            error = ask(stream, wrong)
            assert (error["type"], error["problem"]) == ("error", f"urn:tickhouse:problem:{kind}")
        stream.send(json.dumps({"action": "unsubscribe", "id": "b"}))
        assert ask(stream, {"action": "subscribe", "id": "b", "symbol": "AAPL", "kind": "bars"})["type"] == "snapshot"


def test_a_reader_that_is_too_slow_is_dropped_with_the_reason_and_others_go_on(lake: Lake) -> None:
    put_quotes(lake, 0, 1)
    server = WebServer(lake, "127.0.0.1", 0)
    server.app.state.hub.bounds = Bounds(messages=3)
    server.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    running = threading.Thread(target=server.run)
    running.start()
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    narrow.connect(("127.0.0.1", server.port))
    try:
        with opened(server.address, sock=narrow, max_queue=1) as slow, opened(server.address) as quick:
            wants = {**QUOTES, "rows": 0}
            slow.send(json.dumps(wants))
            assert ask(quick, wants)["type"] == "snapshot"
            for number in range(1, 10):
                put_quotes(lake, number, 4_000)  # compressed on the wire: small ones would all fit into buffers
                assert receive(quick)["columns"]["sequence"][0] == number * 1000
            read = []
            with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                while True:
                    read.append(receive(slow))
    finally:
        server.stop()
        running.join()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4008
    assert "too slow" in closed.value.rcvd.reason
    sequences = [message["columns"]["sequence"][0] for message in read if message["row_count"]]
    assert sequences == [number * 1000 for number in range(1, len(sequences) + 1)]


def test_a_foreign_page_cannot_listen(lake: Lake) -> None:
    with (
        served(lake) as http,
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
        opened(str(http.base_url), origin="https://evil.example") as stream,
    ):
        receive(stream)
    assert refused.value.response.status_code == 403


def test_the_client_streams(lake: Lake) -> None:
    put_quotes(lake, 0, 1)
    with served(lake) as http, Client(str(http.base_url)) as client:
        messages = client.stream([{"symbol": BTC, "kind": "quotes"}])
        assert next(messages)["columns"]["bid_price"] == ["100"]
        put_quotes(lake, 1, 2)
        assert next(messages)["columns"]["bid_price"] == ["100", "101"]
        messages.close()


def test_nothing_looks_while_nobody_listens(lake: Lake) -> None:
    hub: Hub = create_app(lake).state.hub
    assert hub.is_idle
    assert system_clock() > 0
