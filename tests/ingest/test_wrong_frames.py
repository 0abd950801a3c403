"""What no frame may be ends a connection by our own word: it is told as that, a gap stays, and what came before is kept."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from ingest.asks import Address
from ingest.capture import capture_stream
from ingest.providers.finnhub import TradeStream
from ingest.transport.backoff import Backoff
from lake.catalog import Lake
from lake.errors import SettingsError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings

TRADE = '{"type":"trade","data":[{"s":"AAPL","p":1,"v":1,"t":1795185000000}]}'
LONG = b"\x81\x7f" + (50_000_000).to_bytes(8, "big") + b"{" * 100
"""The head of a frame of 50 MB, and its beginning: nobody waits for the rest."""
MASKED = b"\x81\x85\x01\x02\x03\x04hello"
RESERVED = b"\xf1\x02{}"
FAST = Backoff(attempts=3, first_s=0.001, ceiling_s=0.002)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("frames")), system_clock) as made:
        yield made


@pytest.mark.parametrize(
    ("sent", "told"),
    [(LONG, "50000000 bytes exceeds limit"), (MASKED, "incorrect masking"), (RESERVED, "reserved")],
    ids=("too long", "masked", "reserved"),
)
def test_a_wrong_frame_is_told_as_what_it_is_and_the_feed_goes_on(lake: Lake, tmp_path: Path, sent: bytes, told: str) -> None:
    connections: list[ServerConnection] = []

    def handle(connection: ServerConnection) -> None:
        connections.append(connection)
        try:
            connection.recv()
            connection.send(TRADE)
            if len(connections) == 1:
                connection.socket.sendall(sent)
                connection.recv()  # until the client leaves
            connection.close(1000, "end of recording")
        except ConnectionClosed:
            return

    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=1) as log, serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        report = capture_stream(
            lake, log, TradeStream(["AAPL"]), Address(address, address), provider="finnhub", feed="trades", backoff=FAST,
            rng=random.Random(1),
        )  # fmt: skip
        server.shutdown()
        thread.join(60.0)
    assert (report.ended, report.messages, report.connections, report.gaps_opened) == ("end of recording", 2, 2, 1)
    reconnect = report.calls[1]["detail"]
    assert reconnect.startswith("reconnected after: left: the server sent no valid frame: ") and told in reconnect


def test_a_proxy_that_is_none_is_a_setting_to_mend_and_its_password_is_not_told(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Address("https://finnhub.example.invalid", "wss://ws.example.invalid")
    with SegmentLog(tmp_path / "log", system_clock, min_free_bytes=1) as log:
        for scheme in ("https_proxy", "wss_proxy"):
            monkeypatch.setenv(scheme, "nonsense://me:hunter2@nowhere:1")
            with pytest.raises(SettingsError, match="mend the proxy of the environment") as told:
                capture_stream(lake, log, TradeStream(["AAPL"]), address, provider="finnhub", feed="trades", backoff=FAST)
            monkeypatch.delenv(scheme)
            assert "hunter2" not in str(told.value)
