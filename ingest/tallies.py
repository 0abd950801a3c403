"""What one capture counts while it runs: calls, how long they took, bytes, messages, reconnects; and its provider's clock.

Kept in memory and added to the state by `flush`, seconds apart: never from within an event loop.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ingest.clock_offset import Bounds, Offset, agreed, offset_of, sample_of
from ingest.configuration_text import read_configuration
from ingest.verdicts import Verdict
from lake import configurations, tallies
from lake.instants import NANOS_PER_SECOND, Clock
from lake.state import State
from lake.tallies import Key
from lake.values import Message
from quality_checks.alerts import Alerts, Severity

if TYPE_CHECKING:
    from ingest.transport.http import Call

FLUSH_NS = 2 * NANOS_PER_SECOND
BUCKETS_MS: tuple[int, ...] = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""Upper edges of the classes of latency."""
SLOWER = "more"
CALLS, TOOK, TOOK_US = "calls", "took", "took_us"
BYTES, MESSAGES, RECONNECTS, LAST_NS = "bytes", "messages", "reconnects", "last_message_ns"
DATA_NS = "last_data_ns"
"""When data came last, which pings and refusals are not; its label is the way: listened to, or asked."""
LISTENED, ASKED = "listened", "asked"
CLOCK_OFFSET = "clock_offset"
"""Kind of the documents in state, by provider."""
_SUBJECT = "this machine"


class Tally:
    """The counts of one capture. `is_measured`: its provider's clock is another machine's. `way`: how its data comes."""

    def __init__(
        self, state: State, clock: Clock, provider: str, feed: str, *, is_measured: bool = True, way: str = ASKED
    ) -> None:
        self._state, self._clock, self._provider, self._feed = state, clock, provider, feed
        self._is_measured, self._way = is_measured, way
        self._data_ns = self._events = 0
        self._lock = threading.Lock()
        self._flushed_ns = clock()
        self._counts: Counter[Key] = Counter()
        self._samples: list[tuple[Bounds, int]] = []
        self._messages = self._bytes = self._last_ns = 0
        self._told_messages = self._told_bytes = 0

    def call(self, call: Call) -> None:
        """Count a call, answered or not, or a connection."""
        took_ns = max(call.ts_response_ns - call.ts_request_ns, 0)
        edge = next((str(each) for each in BUCKETS_MS if took_ns <= each * 1_000_000), SLOWER)
        with self._lock:
            self._counts[self._key(CALLS, call.reading.verdict.value)] += 1
            if call.method == "CONNECT":
                self._counts[self._key(RECONNECTS)] += bool(call.reading.detail) and call.status is not None
                return
            self._counts[self._key(TOOK, edge)] += 1
            self._counts[self._key(TOOK_US)] += took_ns // 1_000
            self._counts[self._key(BYTES)] += call.byte_count or 0
            if call.byte_count is not None:
                self._counts[self._key(MESSAGES)] += 1
                self._last_ns = max(self._last_ns, call.ts_response_ns)
                if self._way == ASKED and call.reading.verdict is Verdict.OK:
                    self._data_ns = max(self._data_ns, call.ts_response_ns)
            sample = sample_of(call.headers, call.ts_request_ns, call.ts_response_ns) if self._is_measured else None
            if sample is not None:
                self._samples.append((sample, call.ts_response_ns))

    def heard(self, messages: Sequence[Message]) -> None:
        """Count frames; called for each, by one thread, so it does little."""
        if messages:
            self._messages += len(messages)
            self._bytes += sum([len(message.payload) for message in messages])
            self._last_ns = messages[-1].ts_recv_ns

    def told(self, events: int) -> None:
        """Learn how many events the feed told so far: more of them than the last time are data, told by its last frame."""
        if events > self._events:
            self._events, self._data_ns = events, self._last_ns

    def flush_if_due(self) -> None:
        """Add to the state what was counted, when the last time was long enough ago."""
        if not 0 <= self._clock() - self._flushed_ns < FLUSH_NS:
            self.flush()

    def flush(self) -> None:
        """Add to the state what was counted since the last time. Raises CommitUnknownError."""
        with self._lock:
            self._flushed_ns = self._clock()
            counts, self._counts = self._counts, Counter()
            samples, self._samples = self._samples, []
            messages, size = self._messages, self._bytes
            counts[self._key(MESSAGES)] += messages - self._told_messages
            counts[self._key(BYTES)] += size - self._told_bytes
            self._told_messages, self._told_bytes = messages, size
            marks = {self._key(LAST_NS): self._last_ns} if self._last_ns else {}
            marks |= {self._key(DATA_NS, self._way): self._data_ns} if self._data_ns else {}
        tallies.add(self._state, counts, marks)
        if samples:
            self._learn(samples)

    def _key(self, name: str, label: str = "") -> Key:
        return Key(name, self._provider, self._feed, label)

    def _learn(self, samples: Sequence[tuple[Bounds, int]]) -> None:
        def learned(document: Mapping[str, object] | None) -> Mapping[str, object]:
            known = None if document is None else offset_of(document)
            for sample, at_ns in samples:
                known = Offset(sample, at_ns) if known is None else known.learned(sample, at_ns)
            assert known is not None
            return known.document()

        self._state.change_document(CLOCK_OFFSET, self._provider, learned)
        judge_clock(self._state, self._clock)


def clock_offsets(state: State) -> dict[str, Offset]:
    """Return what is known of each provider's clock against ours."""
    return {provider: offset_of(document) for provider, document in state.documents(CLOCK_OFFSET).items()}


def judge_clock(state: State, clock: Clock) -> Bounds | None:
    """Return what providers agree on about our clock; raise the alert when it is surely wrong by too much, else resolve it."""
    bounds = agreed(clock_offsets(state).values(), clock())
    if bounds is None:
        return None
    alerts = Alerts(state, clock)
    if bounds.surely_ns and bounds.surely_ns > _threshold_ns(state):
        words = f"our clock is wrong by at least {bounds.surely_ns / 1e9:.3f} s: theirs less ours is within"
        words += f" [{bounds.low_ns / 1e9:.3f}, {bounds.high_ns / 1e9:.3f}] s"
        alerts.raise_alert(CLOCK_OFFSET, _SUBJECT, Severity.ERROR, words)
    else:
        alerts.resolve(CLOCK_OFFSET, _SUBJECT, "it agrees with providers' clocks")
    return bounds


def _threshold_ns(state: State) -> int:
    found = configurations.latest(state)
    configuration = read_configuration("" if found is None else found.text)
    return int(configuration.thresholds.clock_offset_s * NANOS_PER_SECOND)
