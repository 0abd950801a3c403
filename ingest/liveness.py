"""Whether the channels of a connection live, told by their data. Machine: counts and times in, no I/O, no clock.

A socket that pings may bring nothing, and one channel may fall silent while the others speak (half-dead). A channel is judged
by its own pace on this connection: one that has spoken often enough, and is then silent for many times its usual pause while
another speaks, is mute. A quiet symbol is quiet by its own measure and is left alone; so is everything when all are silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lake.instants import NANOS_PER_SECOND

LEAST_EVENTS = 50
"""A channel with fewer on this connection has no pace yet."""
FACTOR = 50
"""So many usual pauses of silence are too many."""
FLOOR_NS = 60 * NANOS_PER_SECOND
"""Shorter silence is none."""
_LOOK_NS = NANOS_PER_SECOND


@dataclass(slots=True)
class _Pulse:
    """One channel: its count at the last look, and when it rose first and last."""

    count: int
    first_ns: int
    last_ns: int


class Liveness:
    """The pulses of one connection's channels."""

    def __init__(self) -> None:
        self._pulses: dict[tuple[str, str], _Pulse] = {}
        self._before: dict[tuple[str, str], int] = {}
        self._looked_ns = 0

    def begun(self, counts: Mapping[tuple[str, str], int], now_ns: int) -> None:
        """Begin a connection: nobody has a pace yet."""
        self._pulses.clear()
        self._before = dict(counts)
        self._looked_ns = now_ns

    def held_up(self, now_ns: int) -> None:
        """Learn that nobody listened until now: silence counts from now."""
        for pulse in self._pulses.values():
            pulse.last_ns = now_ns

    def is_due(self, now_ns: int) -> bool:
        """Whether it is time to look: once a second."""
        return now_ns - self._looked_ns >= _LOOK_NS

    def mute(self, counts: Mapping[tuple[str, str], int], now_ns: int) -> tuple[str, str] | None:
        """Return a channel that fell silent while others speak; `counts` are all events of each (symbol, channel) so far."""
        if not self.is_due(now_ns):
            return None
        self._looked_ns = now_ns
        for key, count in counts.items():
            pulse = self._pulses.get(key)
            if pulse is None:
                if count > self._before.get(key, 0):
                    self._pulses[key] = _Pulse(count, now_ns, now_ns)
            elif count > pulse.count:
                pulse.count, pulse.last_ns = count, now_ns
        latest_ns = max((pulse.last_ns for pulse in self._pulses.values()), default=0)
        if now_ns - latest_ns > _LOOK_NS:
            return None
        return next((key for key, pulse in self._pulses.items() if self._is_mute(key, pulse, now_ns)), None)

    def _is_mute(self, key: tuple[str, str], pulse: _Pulse, now_ns: int) -> bool:
        events = pulse.count - self._before.get(key, 0)
        pause_ns = max(pulse.last_ns - pulse.first_ns, _LOOK_NS) // max(events, 1)
        return events >= LEAST_EVENTS and now_ns - pulse.last_ns > max(FLOOR_NS, FACTOR * pause_ns)
