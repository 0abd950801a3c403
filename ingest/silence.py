"""Silence that ended: a channel, or a whole connection, that said nothing for far longer than it usually does. Machine: no I/O.

A feed without numbers that is mute for a while and then goes on leaves no trace of what it missed, unless somebody knows its
pace. A pace is learned over a sliding time of the feed's own instants, so that neither a pause of ours nor the manner in which
frames wait in a socket counts, and neither a burst at the open nor a slow noon is remembered for long.

A channel is silent when both its seconds and what the others said meanwhile are far beyond what is usual: at noon all are slow,
in a burst of one other symbol only the count is far beyond. A whole connection is silent by its seconds alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import expm1, inf

FLOOR_S, WHOLE_FLOOR_S = 10.0, 20.0
"""Shorter silence is none: of one channel among others, and of a whole connection."""
LEAST_OTHERS = 5.0
"""So often must others have spoken."""
LEAST_PAUSES = 4
"""After fewer nothing is usual."""
LONGER = 2.0
"""A silence is longer than so many of the longest pauses lately ..."""
DOUBT, OTHERS_DOUBT = 10.0, 5.0
"""... and ten times the mean, more while few are known: of pauses at random one in e^10, some 22,000, is as long. That others
spoke meanwhile may be less certain."""
GROWTH = 1.25
"""A silence counts as a pause at most so much longer than the longest: a slower market is learned after a few of them."""
HALF_EVENTS, HALF_S = 64, 300.0
"""A pace is that of the last one to two times so many events, and seconds."""
AT_ONCE_S = 0.25
"""Events of a channel that follow so closely are learned together: such pauses are far below every floor, and judging each of
them took twice the time of all else that is done with a busy feed's frame."""
STRAY_S = 3_600.0
"""Instants farther from ours are no live feed's (a recording, the midnight of a daily bar): they tell no pace."""


def seconds_of(text: str) -> float | None:
    """Return the seconds since the epoch that a feed wrote as milliseconds or as ISO 8601; None for anything else."""
    if text.isdecimal():
        return int(text) / 1_000 if len(text) < 16 else None
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if told.tzinfo is None else told.timestamp()


class Pauses:
    """The beats of one thing on an axis that grows: seconds, or events of a connection. Two halves make its pace.

    floor, doubt   what a silence is at least, and how unlikely a pause
    span           of a half, at least
    """

    __slots__ = ("_at", "_began", "_doubt", "_floor", "_longest", "_middle", "_old", "_recent", "_recent_longest", "_span")

    def __init__(self, at: float, floor: float, doubt: float = DOUBT, span: float = HALF_S) -> None:
        self._at = self._began = self._middle = at
        self._floor, self._doubt, self._span = floor, doubt, span
        self._old = self._recent = 0
        self._longest = self._recent_longest = 0.0

    @property
    def usual(self) -> float:
        """The mean pause lately, silences taken for what is usual at most; 0 while there was none."""
        count = self._old + self._recent
        return (self._at - self._began) / count if count else 0.0

    def beat(self, at: float) -> float:
        """Learn a beat; return the silence before it, 0 when the pause was one as usual."""
        pause = at - self._at
        if pause > self._recent_longest:
            return self._judged(at, pause)
        self._recent += 1
        if pause > 0:  # else it is told late
            self._at = at
            if self._recent >= HALF_EVENTS and at - self._middle >= self._span:
                self._turn()
        return 0.0

    def _judged(self, at: float, pause: float) -> float:
        count, longest = self._old + self._recent, max(self._longest, self._floor / LONGER)
        is_silence = (
            pause > LONGER * longest and count >= LEAST_PAUSES and pause > self.usual * count * expm1(self._doubt / count)
        )
        kept = min(pause, GROWTH * longest) if is_silence else pause
        self.skip(self._at + pause - kept)
        self._at = at
        self._recent += 1
        self._recent_longest = max(self._recent_longest, kept)
        self._longest = max(self._longest, kept)
        return pause if is_silence else 0.0

    def passed(self, at: float, count: int) -> None:
        """Learn so many beats up to `at`, with pauses as usual."""
        self._recent += count
        self._at = max(self._at, at)

    def skip(self, at: float) -> None:
        """Go on from `at`: what lay before it was no pause."""
        passed = max(0.0, at - self._at)
        self._began, self._middle, self._at = self._began + passed, self._middle + passed, self._at + passed

    def _turn(self) -> None:
        """Forget the older half."""
        self._began, self._old, self._longest = self._middle, self._recent, self._recent_longest
        self._middle, self._recent, self._recent_longest = self._at, 0, 0.0


@dataclass(slots=True)
class Heard:
    """What was heard of one channel.

    judged_s      instant of the event that was judged last
    last_s, last  instant, and number on the connection, of the last one of those that followed it at once
    unjudged      how many of those there were
    """

    judged_s: float = -inf
    last_s: float = -inf
    last: int = 0
    unjudged: int = 0
    seconds: Pauses | None = None
    others: Pauses | None = None


class Silences:
    """The paces of one connection after another: of each channel, and of all together.

    An event is told to `follows`; one that does not follow at once is judged: by `whole`, then by `own`.
    """

    def __init__(self) -> None:
        self._heard = 0
        self._whole: Pauses | None = None
        self._is_fresh = True

    def begun(self) -> None:
        """Begin a connection: the time since the last one was no pause."""
        self._is_fresh = True

    def follows(self, channel: Heard, at_s: float, count: int = 1) -> bool:
        """Return whether an event follows the last judged one of its channel at once: then it is counted, and that is all.

        count   of events up to that one: those of one read are told together
        """
        if self._is_fresh or not 0.0 <= at_s - channel.judged_s < AT_ONCE_S:
            return False
        self._heard += count
        channel.last_s, channel.last = at_s, self._heard
        channel.unjudged += count
        return True

    def whole(self, channel: Heard, at_s: float) -> str:
        """Learn that a channel spoke at an instant of the feed; return in words the silence of all before it, or nothing."""
        self._heard += 1
        if self._is_fresh or self._whole is None:
            return self._go_on(at_s)
        self._whole.passed(channel.last_s, channel.unjudged)
        silence_s = self._whole.beat(at_s)
        if not silence_s:
            return ""
        return f"silence of {silence_s:.0f} s on the whole connection, whose pauses last {self._whole.usual:.1f} s as a rule"

    def _go_on(self, at_s: float) -> str:
        self._is_fresh = False
        if self._whole is None:
            self._whole = Pauses(at_s, WHOLE_FLOOR_S)
        self._whole.skip(at_s)
        return ""

    def own(self, channel: Heard, at_s: float, *, is_whole: bool) -> str:
        """Learn that a channel spoke, after `whole`; return in words its silence while others spoke, or nothing.

        is_whole   nothing is known to be missing before it; else its pause counts for nothing
        """
        seconds, others = channel.seconds, channel.others
        channel.judged_s, (last_s, last, count) = at_s, (channel.last_s, channel.last, channel.unjudged)
        channel.unjudged = 0
        if seconds is None or others is None:
            channel.seconds, channel.others = Pauses(at_s, FLOOR_S), Pauses(self._heard, LEAST_OTHERS, OTHERS_DOUBT, 0.0)
            return ""
        seconds.passed(last_s, count)
        others.passed(last, count)
        if not is_whole:
            seconds.skip(at_s)
            others.skip(self._heard)
            return ""
        silence_s, spoken = seconds.beat(at_s), others.beat(self._heard)
        if not silence_s or not spoken:
            return ""
        times = f"{spoken - 1:.0f} times"
        return f"silence of {silence_s:.0f} s while others spoke {times}, where a pause lasts {seconds.usual:.1f} s as a rule"
