"""Finnhub: /quote by REST, trades by WebSocket. Machine: no I/O.

The token goes with the address's credentials (header X-Finnhub-Token; in the socket's address, which takes no header) and
into no request of ours. Limits are per plan and minute plus 30 a second. Source: PROVIDERS.md section 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from itertools import count

import msgspec
import orjson

from ingest.asks import Ask, Credentials, Page, Request, Response
from ingest.conversation import UNREADABLE, Unnumbered
from ingest.verdicts import Reading, Verdict, error_told
from lake.errors import InvalidValueError
from lake.instants import NANOS_PER_MICRO
from lake.values import Message

PROVIDER = "finnhub"
QUOTE, TRADES = "quote", "trades"
ADDRESS = "https://finnhub.io"
STREAM_ADDRESS = "wss://ws.finnhub.io"
STALE_AFTER_NS = 180_000_000_000
"""Finnhub pings about once a minute, trades or not; three minutes without even that is a dead socket."""
_SYMBOL = re.compile(r"[A-Za-z0-9 .:_\-/]{1,40}\Z")
_NO_TOKEN = b"Please sign up"


def credentials(token: str) -> Credentials:
    """Return the token as the REST side takes it."""
    return Credentials(headers=(("X-Finnhub-Token", token),))


def stream_credentials(token: str) -> Credentials:
    """Return the token as the socket takes it: in the address."""
    return Credentials(query=(("token", token),), is_in_stream_query=True)


class Quote:
    """`/api/v1/quote`: the day so far of one symbol (`Pages`); interval and window of an ask do not matter."""

    def __init__(self) -> None:
        self._symbol = ""

    def first(self, ask: Ask) -> Request:
        """Return the request for the quote of a symbol. Raises InvalidValueError."""
        self._symbol = checked(ask.symbol)
        return Request("GET", "/api/v1/quote", (("symbol", self._symbol),), (("accept-encoding", "identity"),), QUOTE)

    def read(self, response: Response) -> Page:
        """Return what an answer means; there is never a next page."""
        return Page(read_quote(response, self._symbol))


def checked(symbol: str) -> str:
    """Return a symbol that can be one of Finnhub's. Raises InvalidValueError."""
    if not _SYMBOL.match(symbol):
        raise InvalidValueError(f"symbol {symbol!r} is not one of Finnhub's; expected like AAPL, TSCO.L or BINANCE:BTCUSDT")
    return symbol


def read_document(response: Response) -> object:
    """Return the JSON of an answer, or (a Reading) what one without data means. Any bytes give either."""
    refused = read_refusal(response)
    if refused is not None:
        return refused
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        return error_told(found["error"])
    return found


def read_quote(response: Response, symbol: str = "") -> Reading:
    """Return the meaning of an answer; any bytes give one. Zeros are Finnhub's word for a symbol it does not know."""
    found = read_document(response)
    if isinstance(found, Reading):
        return found
    if not isinstance(found, dict) or not {"c", "h", "l", "o", "pc", "t"} <= set(found):
        return Reading(Verdict.MALFORMED, "no quote: expected c, h, l, o, pc, t")
    if not any(found[key] for key in ("c", "h", "l", "o", "t")):
        return Reading(Verdict.UNKNOWN_SYMBOL, f"{symbol}: a quote of zeros")
    return Reading(Verdict.OK, f"{symbol}: last price {found['c']}")


def read_refusal(response: Response) -> Reading | None:
    """Return what an answer without data means, by its status and words; None for one that may have data."""
    words = " ".join(response.body[:200].decode("utf-8", "replace").split())
    if response.status == 429 or b"API limit reached" in response.body[:200]:
        if _NO_TOKEN in response.body:
            return Reading(Verdict.AUTH, words)
        return Reading(Verdict.THROTTLED, words, _wait_s(response))
    if (broken := response.broken(words, _wait_s(response))) is not None:
        return broken
    if response.status == 401:
        return Reading(Verdict.AUTH, words)
    if response.status == 403:
        return Reading(Verdict.NOT_ENTITLED if b"access" in response.body else Verdict.AUTH, words)
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")
    return None


def _wait_s(response: Response) -> float | None:
    """Return the seconds until the limit is reset, where headers tell (seen, not documented); else None."""
    told, now = response.headers.get("retry-after", ""), response.headers.get("date", "")
    if re.match(r"\d{1,6}\Z", told):
        return float(told)
    reset = response.headers.get("x-ratelimit-reset", "")
    try:
        return max(0.0, int(reset) - parsedate_to_datetime(now).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


class _Entry(msgspec.Struct, gc=False):
    s: str
    t: int


class _Frame(msgspec.Struct, gc=False):
    type: str
    data: list[_Entry] = []
    msg: str = ""


class TradeStream(Unnumbered):
    """One capture's conversation with the trade stream (`Session`)."""

    target = "/"

    def __init__(self, symbols: Sequence[str], *, stale_after_ns: int = STALE_AFTER_NS, first_seq: int = 0) -> None:
        super().__init__(stale_after_ns, first_seq)
        if not symbols:
            raise InvalidValueError("the trade stream needs at least one symbol")
        self.symbols = tuple(checked(symbol) for symbol in symbols)
        self.wanted = {"trade": self.symbols}
        self._frames = msgspec.json.Decoder(_Frame)

    def connected(self, now_ns: int) -> None:
        """Begin a connection: one subscription a symbol."""
        self._begun(now_ns)
        self._outgoing.extend(orjson.dumps({"type": "subscribe", "symbol": symbol}) for symbol in self.symbols)

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame; pings show life, the same trades in the same bytes are noted as a repeat."""
        return self.receive_all([data], ts_recv_ns)

    def receive_all(self, frames: Sequence[bytes], first_ns: int) -> list[Message]:
        """Take the frames of one read; their trades are followed together."""
        messages: list[Message] = []
        told: list[dict[str, int]] = []
        for ts_recv_ns, data in zip(count(first_ns, NANOS_PER_MICRO), frames, strict=False):
            try:
                frame = self._frames.decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._events("trade", told)
                told = []
                messages += self._receive_odd(data, ts_recv_ns)
                continue
            messages.append(self._message(data, ts_recv_ns, may_repeat=frame.type == "trade"))
            if frame.type == "trade":
                told.append({entry.s: entry.t for entry in frame.data})
            elif frame.type == "error":
                self._told(frame.msg)
        self._events("trade", told)
        return messages

    def _receive_odd(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take a frame that is not wholly as documented: whatever of it can be read counts."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            found = None
        kind = found.get("type") if isinstance(found, dict) else None
        message = self._message(data, ts_recv_ns, may_repeat=kind == "trade")
        if found is None:
            self._lose(UNREADABLE)
        if kind == "error":
            self._told(str(found.get("msg", "")))
        entries = found.get("data") if kind == "trade" else None
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("s"), str):
                self._event(entry["s"], "trade", str(entry.get("t")))
        return [message]

    def _told(self, words: str) -> None:
        """Read an error frame, whose form is not documented: a bad token will not get better."""
        if "token" in words.lower() or "api key" in words.lower():
            self._refusal = Reading(Verdict.AUTH, words)
