"""Asking without I/O: the values that pass between a provider's module and the transports, and their two protocols.

A provider answers requests by pages (`Pages`) or pushes frames (`Session`). Both keep to bytes and times: sockets, clocks,
sleeping and retries belong to `ingest/transport`. Every response and every frame is recorded as a raw message *before* a
provider reads it, so a page carries a verdict and the next request, and no messages of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import quote, urlencode

from ingest.secret_forms import secret_forms
from ingest.verdicts import Reading, Verdict
from lake.values import Message

BLOT = b"REDACTED"


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a provider: bars of a symbol over `[start, end)`, both aware instants.

    numbers   first and last of the provider's own numbers (trade ids) that are wanted; None: what the window holds
    """

    symbol: str
    interval: str
    start: datetime
    end: datetime
    events: tuple[str, ...] = ("div", "splits")
    numbers: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets, added to what is sent and to nothing that is written down; `repr` shows none.

    headers   of every request and of the upgrade to a socket
    query     parameters of every request; of a socket's address where `is_in_stream_query`
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    is_in_stream_query: bool = False
    _forms: tuple[bytes, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        forms = dict.fromkeys(form for _, value in (*self.headers, *self.query) for form in secret_forms(value))
        object.__setattr__(self, "_forms", tuple(sorted(forms, key=len, reverse=True)))

    def blotted(self, data: bytes) -> tuple[bytes, int]:
        """Return `data` with every secret in it replaced, and how many were: Alpha Vantage's refusals quote the key.

        A secret is also found percent-encoded, escaped as in JSON or HTML, and in base64.
        """
        count = 0
        for form in self._forms:
            if form in data:
                count += data.count(form)
                data = data.replace(form, BLOT)
        return data, count

    def blotted_text(self, text: str) -> str:
        """Return text with every secret in it replaced."""
        return self.blotted(text.encode("utf-8", "surrogatepass"))[0].decode("utf-8", "surrogatepass")

    def and_those_of(self, other: Credentials) -> Credentials:
        """Return these secrets and those of `other`."""
        if not (other.headers or other.query):
            return self
        return Credentials(self.headers + other.headers, self.query + other.query, self.is_in_stream_query)

    def added_to(self, url: str) -> str:
        """Return `url` with the query's secrets, for sending alone."""
        return f"{url}{'&' if '?' in url else '?'}{urlencode(self.query)}" if self.query else url


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request in the provider's own words; `path` is not yet percent-encoded. Never holds a secret in `params`.

    endpoint   what is asked, without whom and when: quotas weigh it and breakers trip by it; empty: the path
    symbols    named in it, where a plan counts different symbols (Tiingo's)
    is_encoded the path is percent-encoded already: where a part of it holds a slash of its own
    host       which of the provider's other hosts is asked, by the word for it (`Address.hosts`); empty: the feed's own
    session    secrets that an answer before gave (Yahoo's crumb), added for sending alone
    secret_answer   a body that it matches is such a secret: the provider's module reads it, REDACTED is recorded
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    endpoint: str = ""
    symbols: tuple[str, ...] = ()
    is_encoded: bool = False
    host: str = ""
    session: Credentials = field(default_factory=Credentials)
    secret_answer: re.Pattern[bytes] | None = None

    @property
    def what(self) -> str:
        """The endpoint, or the path where none is named."""
        return self.endpoint or self.path

    def url(self, address: str) -> str:
        """Return the whole URL at `address`, such as `https://query2.finance.yahoo.com`."""
        query = f"?{urlencode(self.params)}" if self.params else ""
        return address.rstrip("/") + quote(self.path, safe="/=.-%" if self.is_encoded else "/=.-") + query


@dataclass(frozen=True, slots=True)
class Response:
    """One answer as it came: header names in lower case; not complete when the connection broke within the body.

    blots   secrets of ours that the provider wrote into the body, replaced before anybody sees it
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_complete: bool = True
    blots: int = 0

    def broken(self, words: str, retry_after_s: float | None = None) -> Reading | None:
        """Return the reading of an answer that failed on the way, whoever gives it; else None: a 5xx, half a body, or one that
        sends elsewhere, where nobody goes with a key.

        words   the provider's own
        """
        if self.status >= 500:
            return Reading(Verdict.UPSTREAM_5XX, f"HTTP {self.status}: {words}", retry_after_s)
        if 300 <= self.status < 400:
            there = self.headers.get("location", "")[:100]
            return Reading(Verdict.UPSTREAM_5XX, f"HTTP {self.status} to {there or 'nowhere'}: not followed", retry_after_s)
        if not self.is_complete:
            return Reading(Verdict.MALFORMED, f"the connection broke after {len(self.body)} bytes of the body")
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """What a provider's module read in a response: its meaning, and what to ask next (None: all is answered).

    A refusal may lead on too, such as one of a session to a new one.
    """

    reading: Reading
    next: Request | None = None


class Pages(Protocol):
    """A provider that is asked."""

    def first(self, ask: Ask) -> Request:
        """Return the first request for `ask`. Raises InvalidValueError when the provider cannot be asked for that."""
        ...

    def read(self, response: Response) -> Page:
        """Return what `response` means. Any bytes give a page, never an exception."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of one channel in which something may be missing; a later value of the same `number` closes it."""

    number: int
    symbol: str
    channel: str
    status: str
    """`open` or `filled`."""
    reason: str
    first_missing: str | None
    last_missing: str | None


@dataclass(frozen=True, slots=True)
class Leaving:
    """Why an open connection should be left; `is_planned`: it is as the provider wants it, and the next one need not wait."""

    words: str
    is_planned: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a feed that no message tells: what kind, and the words."""

    kind: str
    detail: str


class Session(Protocol):
    """A provider that pushes: one capture's conversation, across reconnects."""

    @property
    def target(self) -> str:
        """Path and query to connect to."""
        ...

    @property
    def is_binary(self) -> bool:
        """Whether frames are sent as binary ones, not as text."""
        ...

    @property
    def wanted(self) -> Mapping[str, Sequence[str]]:
        """Channel -> symbols, as gaps name them: what every connection is to bring."""
        ...

    def listening(self, now_ns: int) -> None:
        """Learn that listening begins: what is wanted may be missing from now on, when no connection comes about."""
        ...

    def connected(self, now_ns: int) -> None:
        """Learn that the socket is open (again); what has to be said is then in `outgoing`."""
        ...

    def disconnected(self, now_ns: int, reason: str) -> None:
        """Learn that the socket is gone before the end, or never came about: each channel may now miss something."""
        ...

    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame; return the messages to record, numbered densely across the whole capture. Never raises."""
        ...

    def receive_all(self, frames: Sequence[bytes], first_ns: int) -> list[Message]:
        """Take the frames of one read, told a microsecond apart from `first_ns` on; else as `receive`."""
        ...

    def outgoing(self) -> list[bytes]:
        """Return the frames to send now, each once."""
        ...

    def tick(self, now_ns: int) -> None:
        """Learn the time: heartbeats and staleness are judged by it."""
        ...

    def held_up(self, now_ns: int) -> None:
        """Learn that nobody listened until now, through no fault of the feed: silence counts from now."""
        ...

    def leaving(self) -> Leaving | None:
        """Return why this connection should be left although the socket is open (silence, its age); None to stay."""
        ...

    def events(self) -> int:
        """Return how many events were told so far: data, which pings and confirmations are not."""
        ...

    def findings(self) -> list[Finding]:
        """Return what was found wrong with the feed since the last call."""
        ...

    def refusal(self) -> Reading | None:
        """Return what the provider said that ends the connection: with a `retry_after_s` worth a later one, else for good."""
        ...

    def gaps(self) -> list[Gap]:
        """Return gaps opened and closed since the last call."""
        ...

    def snapshots(self) -> Sequence[Request]:
        """Return the REST requests this session needs now (a book's state to apply updates to), each once."""
        ...


class SessionWithAnswers(Session, Protocol):
    """A session whose REST answers belong among its messages."""

    def recorded(self, payload: bytes, ts_recv_ns: int, request: str, status: int, headers: str) -> Message:
        """Return the numbered message of a REST answer."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where a provider is reached; the simulator gives its own.

    hosts   other hosts of the provider by the word for them (`Request.host`); one that is not told is at `http`
    """

    http: str
    stream: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    hosts: Mapping[str, str] = field(default_factory=dict)

    def url(self, request: Request) -> str:
        """Return the whole URL of a request, without secrets."""
        return request.url(self.hosts.get(request.host, self.http))
