"""What every push feed shares (`Conversation`), and those without sequence numbers beside it (`Unnumbered`). Machines: no I/O.

Where nothing is replayed after a drop and nothing counts the events, a gap cannot be closed by the feed itself: it stays open
from the last event before the drop, and only another source fills it. Where it ends stands in the data: the next event.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from ingest.asks import Finding, Gap, Leaving, Request
from ingest.liveness import Liveness
from ingest.silence import STRAY_S, Heard, Silences, seconds_of
from ingest.subscriptions import Subscriptions
from ingest.verdicts import Reading
from lake.instants import NANOS_PER_MICRO, NANOS_PER_SECOND, to_datetime
from lake.values import Message

REMEMBERED_FRAMES = 100_000
"""Identical frames come within seconds of each other (Finnhub's tripled messages); this is minutes of a busy feed."""
CONTENT_TYPE = "application/json"


class FrameMemory:
    """Which frames came before: their hashes, the latest `limit` of them."""

    def __init__(self, limit: int = REMEMBERED_FRAMES) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def first_of(self, frame: bytes, number: int) -> int | None:
        """Return the number of the frame with the same bytes that came first; None, and remember it, when there is none."""
        key = hashlib.blake2b(frame, digest_size=16).digest()
        found = self._seen.get(key)
        if found is None:
            self._seen[key] = number
            if len(self._seen) > self._limit:
                self._seen.popitem(last=False)
        return found


def repeat_note(first: int) -> str:
    """Return the request JSON of a frame whose bytes are those of message `first` of its session."""
    return orjson.dumps({"repeats": first}).decode()


_MOST_MS = 10**15


@dataclass(slots=True)
class _Channel:
    """Where one channel stands; `is_lost` from a drop until the first event after it: a second drop before adds no gap."""

    symbol: str
    last: str | int
    is_lost: bool = False
    events: int = 0
    heard: Heard = field(default_factory=Heard)


class Conversation(ABC):
    """The common half of a `Session`: numbers, frames to send, silence, gaps.

    A provider adds target, connected, disconnected and what its frames mean.
    """

    is_binary = False
    content_type = CONTENT_TYPE
    """Of its frames."""
    wanted: Mapping[str, Sequence[str]] = MappingProxyType({})
    """Channel -> symbols, as gaps name them: what every connection is to bring."""
    lifetime_ns: int | None = None
    """After which the provider ends a connection; it is left a little before."""

    def __init__(self, stale_after_ns: int, first_seq: int = 0) -> None:
        self._stale_after_ns = stale_after_ns
        self._seq = first_seq
        self._outgoing: deque[bytes] = deque()
        self._gaps: list[Gap] = []
        self._findings: list[Finding] = []
        self._gap_count = 0
        self._refusal: Reading | None = None
        self._last_heard_ns: int | None = None
        self._now_ns = self._connected_ns = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._liveness = Liveness()
        self._subscriptions = Subscriptions(())
        self._is_ending = False
        self._since_ns: int | None = None
        self._unheard: dict[tuple[str, str], None] = {}
        """(symbol, channel) of what is wanted, and was neither heard nor told missing since listening began."""

    @abstractmethod
    def receive(self, data: bytes, ts_recv_ns: int) -> list[Message]:
        """Take one frame."""

    def receive_all(self, frames: Sequence[bytes], first_ns: int) -> list[Message]:
        """Take the frames of one read, a microsecond apart."""
        messages: list[Message] = []
        for number, data in enumerate(frames):
            messages += self.receive(data, first_ns + number * NANOS_PER_MICRO)
        return messages

    def outgoing(self) -> list[bytes]:
        """Return the frames to send now, each once."""
        frames = list(self._outgoing)
        self._outgoing.clear()
        return frames

    def listening(self, now_ns: int) -> None:
        """Learn that listening begins, before anything is connected: from the first time on something may be missing."""
        if self._since_ns is None:
            self._since_ns = now_ns
            self._unheard = dict.fromkeys((symbol, name) for name, symbols in self.wanted.items() for symbol in symbols)

    def tick(self, now_ns: int) -> None:
        """Learn the time."""
        self._now_ns = now_ns

    def is_stale(self) -> bool:
        """True after so much silence that the socket must be dead, whatever it says."""
        return self._last_heard_ns is not None and self._now_ns - self._last_heard_ns > self._stale_after_ns

    def held_up(self, now_ns: int) -> None:
        """Learn that nobody listened until now: silence counts from now."""
        self._now_ns = self._last_heard_ns = now_ns
        self._liveness.held_up(now_ns)

    def leaving(self) -> Leaving | None:
        """Return why the connection should be left; None to stay."""
        if self.is_stale():
            return Leaving("silence: no data although the socket is open")
        if self._is_ending or (self.lifetime_ns is not None and self._now_ns - self._connected_ns >= self.lifetime_ns):
            return Leaving("the provider is about to end this connection", is_planned=True)
        mute = self._liveness.mute(self._counted(), self._now_ns) if self._liveness.is_due(self._now_ns) else None
        return None if mute is None else Leaving(f"silence of {' '.join(mute)} while others speak")

    def events(self) -> int:
        """Return how many events were told so far: data, which pings and confirmations are not."""
        return sum(self._counted().values())

    def findings(self) -> list[Finding]:
        """Return what was found wrong with the feed since the last call."""
        found, self._findings = self._findings, []
        return found

    def refusal(self) -> Reading | None:
        """Return why connecting again is of no use; None while it may be."""
        return self._refusal

    def gaps(self) -> list[Gap]:
        """Return gaps opened and closed since the last call."""
        found, self._gaps = self._gaps, []
        return found

    def snapshots(self) -> Sequence[Request]:
        """Return nothing: these feeds need no state to begin with."""
        return ()

    def recorded(self, payload: bytes, ts_recv_ns: int, request: str, status: int, headers: str) -> Message:
        """Return the message of a REST answer that belongs to this capture."""
        return Message(self._take_seq(), ts_recv_ns, CONTENT_TYPE, payload, request, status, headers)

    def _begun(self, now_ns: int) -> None:
        self.listening(now_ns)
        self._now_ns = self._last_heard_ns = now_ns
        self._refusal = None  # what was refused before may be granted now
        self._connected_ns, self._is_ending = now_ns, False
        self._liveness.begun(self._counted(), now_ns)
        self._subscriptions.begun()

    def _ended(self, now_ns: int) -> None:
        """End a connection: what was not sent on it is not sent any more."""
        self._now_ns = now_ns
        self._outgoing.clear()

    def _lose_unheard(self, reason: str) -> None:
        """Open a gap for everything that is wanted and was never heard, from when it was first listened for."""
        since = to_datetime(self._since_ns or 0).isoformat()
        for symbol, name in self._unheard:
            self._gaps.append(Gap(self._take_gap(), symbol, name, "open", reason, since, None))
        self._unheard = {}

    def _is_heard(self, symbol: str, name: str) -> None:
        """Learn that a channel spoke for the first time."""
        self._unheard.pop((symbol, name), None)

    def _heard_of(self, symbol: str, channel: str) -> None:
        """Count an event: by its pace a channel is found mute."""
        key = symbol, channel
        self._counts[key] = self._counts.get(key, 0) + 1

    def _counted(self) -> Mapping[tuple[str, str], int]:
        """Return the events of each (symbol, channel) so far."""
        return self._counts

    def _to_ask_again(self, now_ns: int) -> list[str]:
        """Return the subscriptions that were not confirmed in time; one asked for often enough is a finding and a gap."""
        again, lost = self._subscriptions.overdue(now_ns)
        for name in lost:
            words = f"{name} was asked for and never confirmed"
            self._findings.append(Finding("subscription", words))
            self._gaps.append(Gap(self._take_gap(), "", name, "open", words, None, None))
        return again

    def _take_gap(self) -> int:
        self._gap_count += 1
        return self._gap_count - 1

    def _take_seq(self) -> int:
        self._seq += 1
        return self._seq - 1


UNREADABLE = "a frame that cannot be read"
"""Why a channel may miss something although its connection holds: what the frame told, of whom, nobody knows."""


class Unnumbered(Conversation):
    """A conversation whose events carry no numbers: the same bytes again are noted, gaps are told by time."""

    is_paced = True
    """Whether events come at a pace, so that a long silence may have swallowed some (news do not)."""

    def __init__(self, stale_after_ns: int, first_seq: int = 0) -> None:
        super().__init__(stale_after_ns, first_seq)
        self._memory = FrameMemory()
        self._channels: dict[tuple[str, str], _Channel] = {}
        self._silences = Silences()

    def _begun(self, now_ns: int) -> None:
        super()._begun(now_ns)
        self._silences.begun()

    def disconnected(self, now_ns: int, reason: str) -> None:
        """Open a gap for every channel: nothing is replayed."""
        self._ended(now_ns)
        self._lose(reason)

    def _lose(self, reason: str) -> None:
        """Open a gap for every channel that has none open that nothing followed."""
        for (_, name), channel in self._channels.items():
            if not channel.is_lost:
                channel.is_lost = True
                self._gaps.append(Gap(self._take_gap(), channel.symbol, name, "open", reason, str(channel.last), None))
        self._lose_unheard(reason)

    def _message(self, data: bytes, ts_recv_ns: int, *, may_repeat: bool) -> Message:
        """Return a frame's message; `may_repeat`: it carries events without ids, so that the same bytes again are noted."""
        self._now_ns = self._last_heard_ns = ts_recv_ns
        number = self._take_seq()
        first = self._memory.first_of(data, number) if may_repeat else None
        return Message(number, ts_recv_ns, self.content_type, data, None if first is None else repeat_note(first))

    def _event(self, symbol: str, name: str, at: str | int) -> None:
        """Follow a channel: where it stands, and that it came back after a drop.

        at   as the feed told it: text, or milliseconds, which costs a busy feed less
        """
        channel = self._channels.get((symbol, name))
        if channel is None:
            channel = self._channels[symbol, name] = _Channel(symbol, at)
            self._is_heard(symbol, name)
        if self.is_paced:
            at_s = at / 1_000 if type(at) is int and 0 <= at < _MOST_MS else seconds_of(str(at))
            if at_s is not None and (channel.is_lost or not self._silences.follows(channel.heard, at_s)):
                self._judge_silence(channel, name, at_s)
        channel.last, channel.is_lost = at, False
        channel.events += 1

    def _events(self, name: str, frames: Sequence[Mapping[str, int]]) -> None:
        """Follow channels by the frames of one read, each symbol -> milliseconds.

        What follows its channel's last event at once is counted together, at a tenth of the cost; the rest is as `_event`.
        """
        last: dict[str, int] = {}
        told: list[str] = []
        for frame in frames:
            last.update(frame)
            told += frame
        odd = {symbol for symbol, count in Counter(told).items() if not self._follows(symbol, name, last[symbol], count)}
        for frame in frames if odd else ():
            for symbol in odd & frame.keys():
                self._event(symbol, name, frame[symbol])

    def _follows(self, symbol: str, name: str, at_ms: int, count: int) -> bool:
        """Return whether all of so many events of a channel, the last at `at_ms`, follow at once: then they are counted."""
        channel = self._channels.get((symbol, name))
        if channel is None or channel.is_lost or not 0 <= at_ms < _MOST_MS:
            return False
        if not self._silences.follows(channel.heard, at_ms / 1_000, count):
            return False
        channel.last = at_ms
        channel.events += count
        return True

    def _judge_silence(self, channel: _Channel, name: str, at_s: float) -> None:
        """Open gaps where the silence that an event ends was far longer than usual: of every channel, or of its own."""
        if abs(self._now_ns / NANOS_PER_SECOND - at_s) >= STRAY_S:
            return
        words = self._silences.whole(channel.heard, at_s)
        if words:
            self._lose(words)
        words = self._silences.own(channel.heard, at_s, is_whole=not channel.is_lost)
        if words:
            self._gaps.append(Gap(self._take_gap(), channel.symbol, name, "open", words, str(channel.last), None))

    def _counted(self) -> Mapping[tuple[str, str], int]:
        return {key: channel.events for key, channel in self._channels.items()}
