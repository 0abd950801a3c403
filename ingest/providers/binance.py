"""Binance's market streams: what to connect to and say, and what may be missing. Machine: no I/O.

Frames are `{"stream":"btcusdt@trade","data":{…}}` on a combined stream. Nothing is replayed after a drop, so each channel
is followed by its own numbers: trade ids, `U`..`u` of spot depth, `pu` of futures depth (the `u` before), `u` of book
tickers. Source: developers.binance.com, web-socket-streams; fields as in the recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from ingest.asks import Gap, Request
from ingest.conversation import CONTENT_TYPE, Conversation
from ingest.subscriptions import Subscriptions
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_SECOND
from lake.values import Message

PROVIDER = "binance"
Market = Literal["spot", "usdm"]
STREAM_ADDRESS: dict[Market, str] = {"spot": "wss://stream.binance.com:9443", "usdm": "wss://fstream.binance.com"}
HTTP_ADDRESS: dict[Market, str] = {"spot": "https://api.binance.com", "usdm": "https://fapi.binance.com"}
DEPTH_PATH: dict[Market, str] = {"spot": "/api/v3/depth", "usdm": "/fapi/v1/depth"}
_DEPTH_STREAM: dict[Market, str] = {"spot": "depth@100ms", "usdm": "depth@0ms"}
STALE_AFTER_NS = 30_000_000_000
"""BTCUSDT book tickers come many times a second; half a minute of silence on a whole connection is a dead feed."""
MAX_STREAMS = 200
"""On one socket: Binance takes 1,024 and 200 are as many as it recommends for futures; the names stand in the address."""
LIFETIME_NS = (24 * 60 - 10) * 60 * NANOS_PER_SECOND
"""Binance ends a connection after 24 hours, and says `serverShutdown` ten minutes before it ends one for its own reasons."""
_SHUTDOWN = "serverShutdown"
MAX_OPEN_HOLES = 256
"""Holes followed per channel; older ones stay open in the ledger."""


class _Data(msgspec.Struct, gc=False):
    s: str = ""
    e: str = ""
    t: int | None = None
    U: int | None = None
    u: int | None = None
    pu: int | None = None


class _Frame(msgspec.Struct, gc=False):
    stream: str
    data: _Data


class _Answer(msgspec.Struct):
    """What is no combined frame: an acknowledgement, an error, a word about the server."""

    id: int = 0
    e: str = ""
    code: int | None = None
    error: msgspec.Raw | None = None


@dataclass(slots=True)
class _Hole:
    """Numbers of a channel from `first` on not seen; `missing` is None until the first number after a reconnect."""

    number: int
    symbol: str
    first: int
    last: int | None
    """Last number of it, once known."""
    missing: list[tuple[int, int]] | None
    """Stretches [first, last] not seen yet; what comes late is taken out."""


@dataclass(slots=True)
class _Channel:
    symbol: str = ""
    seen: int | None = None
    """Highest number seen: a trade id or an update id."""
    holes: list[_Hole] = field(default_factory=list)

    @property
    def is_waiting(self) -> bool:
        """True from a drop until the first number after it."""
        return bool(self.holes) and self.holes[-1].missing is None


def default_streams(market: Market, symbol: str) -> tuple[str, ...]:
    """Return the streams of a symbol that fill trades, book events and quotes."""
    name = symbol.lower()
    return (f"{name}@trade", f"{name}@{_DEPTH_STREAM[market]}", f"{name}@bookTicker")


class MarketSession(Conversation):
    """One capture's conversation with a market of Binance (`Session`).

    streams        like `btcusdt@trade`
    market         spot or usdm (USD-margined futures)
    subscribe_by   `url` names the streams in the address; `frame` connects bare and sends SUBSCRIBE
    with_snapshot  ask for the book by REST after the first frame of each connection, so that updates have a beginning
    """

    lifetime_ns = LIFETIME_NS

    def __init__(
        self,
        streams: Sequence[str],
        market: Market,
        *,
        subscribe_by: Literal["url", "frame"] = "url",
        with_snapshot: bool = True,
        stale_after_ns: int = STALE_AFTER_NS,
        first_seq: int = 0,
    ) -> None:
        super().__init__(stale_after_ns, first_seq)
        if not streams or any("@" not in stream or "/" in stream for stream in streams):
            raise InvalidValueError(f"streams {list(streams)} are not names like btcusdt@trade")
        self.streams = tuple(streams)
        self.wanted = {stream: (stream.partition("@")[0].upper(),) for stream in streams}
        self.market = market
        self._by_frame = subscribe_by == "frame"
        self._subscriptions = Subscriptions(self.streams if self._by_frame else ())
        self._with_snapshot = with_snapshot
        self._frames = msgspec.json.Decoder(_Frame)
        self._answers = msgspec.json.Decoder(_Answer)
        self._asked: dict[int, list[str]] = {}
        self._channels: dict[str, _Channel] = {}
        self._snapshots: list[Request] = []
        self._requests = 0
        self._is_fresh = False

    @property
    def target(self) -> str:
        """Path and query to connect to."""
        return "/stream" if self._by_frame else "/stream?streams=" + "/".join(self.streams)

    def connected(self, now_ns: int) -> None:
        """Begin a connection: subscribe where the address does not, and count silence from now."""
        self._begun(now_ns)
        self._is_fresh = True
        if self._by_frame:
            self._asked.clear()
            self._subscribe(self._subscriptions.missing)

    def tick(self, now_ns: int) -> None:
        """Learn the time: what was not confirmed is asked for again."""
        super().tick(now_ns)
        again = self._to_ask_again(now_ns)
        if again:
            self._subscribe(again)

    def _subscribe(self, streams: list[str]) -> None:
        self._requests += 1
        self._asked[self._requests] = streams
        self._outgoing.append(msgspec.json.encode({"method": "SUBSCRIBE", "params": streams, "id": self._requests}))
        self._subscriptions.asked(self._now_ns)

    def _answered(self, data: bytes) -> None:
        """Read what is no event: which subscriptions hold, and that this server is about to go."""
        try:
            answer = self._answers.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return  # damage: its numbers are missed by the next frame
        if answer.code is None and answer.error is None:
            self._subscriptions.confirmed(self._asked.pop(answer.id, ()))
        self._is_ending = self._is_ending or answer.e == _SHUTDOWN

    def disconnected(self, now_ns: int, reason: str) -> None:
        """Open a gap for every channel: nothing is replayed, so something may be missing."""
        self._ended(now_ns)
        for name, channel in self._channels.items():
            if channel.seen is not None and not channel.is_waiting:
                self._open(name, channel, reason, channel.seen + 1, None)
        self._lose_unheard(reason)

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame and follow its channel's numbers; every frame is a message, whatever it holds."""
        message = Message(self._take_seq(), ts_recv_ns, CONTENT_TYPE, data)
        self._now_ns = ts_recv_ns
        try:
            frame = self._frames.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._answered(data)
            return [message]
        self._last_heard_ns = ts_recv_ns  # the server pings: data alone tells whether the feed lives
        if self._is_fresh:
            self._is_fresh = False
            self._ask_for_books()
        self._follow(frame.stream, frame.data)
        return [message]

    def snapshots(self) -> Sequence[Request]:
        """Return the depth snapshots to ask for now, each once."""
        found, self._snapshots = self._snapshots, []
        return found

    def _ask_for_books(self) -> None:
        if not self._with_snapshot:
            return
        symbols = dict.fromkeys(stream.partition("@")[0].upper() for stream in self.streams if "@depth" in stream)
        for symbol in symbols:
            params = (("symbol", symbol), ("limit", "1000"))
            headers = (("accept-encoding", "identity"),)
            self._snapshots.append(Request("GET", DEPTH_PATH[self.market], params, headers, "depth"))

    def _follow(self, name: str, data: _Data) -> None:
        numbers = _numbers(data)
        if numbers is None:
            self._is_ending = self._is_ending or data.e == _SHUTDOWN
            return
        self._heard_of(data.s, name)
        first, last = numbers
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel()
        channel.symbol = data.s or channel.symbol
        if channel.seen is None:
            self._is_heard(self.wanted[name][0] if name in self.wanted else data.s, name)
            channel.seen = last
            return
        if channel.holes:
            self._fill(name, channel, first, last)
        if channel.is_waiting:
            self._after_reconnect(name, channel, first)
        elif first > channel.seen + 1 and data.e != "bookTicker" and (data.t is not None or data.U is not None):
            self._open(name, channel, "numbers jump", channel.seen + 1, first - 1)
        if last > channel.seen:
            channel.seen = last

    def _after_reconnect(self, name: str, channel: _Channel, first: int) -> None:
        """Judge continuity by the first number after a reconnect; book tickers skip numbers, so only overlap proves it."""
        hole = channel.holes[-1]
        if first <= hole.first:
            channel.holes.pop()
            self._tell(name, hole, "filled", f"continuous after the reconnect, from {first} on", first - 1)
        else:
            hole.last = first - 1
            hole.missing = [(hole.first, first - 1)]

    def _fill(self, name: str, channel: _Channel, first: int, last: int) -> None:
        """Take [first, last], come late, out of the holes; a hole that is empty is filled."""
        for hole in list(channel.holes):
            if hole.missing is None or last < hole.first or first > hole.missing[-1][1]:
                continue
            hole.missing = [
                part
                for low, high in hole.missing
                for part in ((low, min(high, first - 1)), (max(low, last + 1), high))
                if part[0] <= part[1]
            ]
            if not hole.missing:
                channel.holes.remove(hole)
                self._tell(name, hole, "filled", "the missing numbers came late", hole.last)

    def _open(self, name: str, channel: _Channel, reason: str, first: int, last: int | None) -> None:
        hole = _Hole(self._take_gap(), channel.symbol, first, last, None if last is None else [(first, last)])
        channel.holes = [*channel.holes[-(MAX_OPEN_HOLES - 1) :], hole]
        self._tell(name, hole, "open", reason, last)

    def _tell(self, name: str, hole: _Hole, status: str, reason: str, last: int | None) -> None:
        told = None if last is None else str(last)
        self._gaps.append(Gap(hole.number, hole.symbol, name, status, reason, str(hole.first), told))


def _numbers(data: _Data) -> tuple[int, int] | None:
    """Return the first and last number that an event covers; futures depth begins after the `u` before it (`pu`)."""
    if data.t is not None:
        return data.t, data.t
    if data.u is None:
        return None
    if data.pu is not None:
        return data.pu + 1, data.u
    return (data.u if data.U is None else data.U), data.u
