"""The book of one key: what is spent of each window of its plan, what is under way, how long nobody may ask. A machine.

Times in, answers out; no clock, no I/O. Whoever keeps it (`quotas.py`) changes it in one transaction and saves `document`.

- A call counts from its leave until its end, and from its end for the length of the window: whenever in between the provider
  counted it, no window of the provider's holds more than the limit.
- A call whose end is never told (killed, cut off) counts as made, and as over at `Plan.max_call_s` after its leave.
- Time never runs backwards here: a clock that was set back gives nothing until it has caught up.
- What was spent before a restore is unknown, so a window that reaches back there counts as spent until it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ingest.plans import Plan, Purpose, Told, Window
from ingest.verdicts import Reading, Verdict
from lake.instants import NANOS_PER_SECOND, to_datetime

BEHIND_S = 60.0
"""A clock that is further behind the last call is told of: somebody's clock is, or was, wrong."""
POLL_S = 0.25
"""Pause before looking again for the end of a call under way."""
_REFUSES_TO_TELL = frozenset({Verdict.UPSTREAM_5XX, Verdict.MALFORMED, Verdict.NO_ANSWER, Verdict.NOT_ASKED, Verdict.AUTH})
"""Verdicts that say nothing about quotas."""
_LATEST_S = 6 * 3600.0
"""A reset that was observed later than this after the end of its day was not looked for in time."""
_KEPT_RESETS, _KEPT_MONTHS = 8, 13


@dataclass(frozen=True, slots=True)
class Wanted:
    """Calls to reserve, of one weight each."""

    endpoint: str
    purpose: Purpose
    weight: int = 1
    calls: int = 1
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Granted:
    """How many calls may be made; where none, when to ask again (`at_ns`) and why not now; `never`: not at any time.

    behind_s   how far the clock that asked is behind the book's last call, where that is why it is told to wait
    """

    calls: int
    at_ns: int = 0
    why: str = ""
    never: bool = False
    behind_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Use:
    """One window as it stands."""

    window: str
    counts: str
    used: int
    limit: int
    whole_at_ns: int
    """When all of it is free again if nobody asks meanwhile."""


class Book:
    """What is spent of a plan, as of the document that `document` gave; before `unknown_ns` others may have spent more."""

    def __init__(self, plan: Plan, document: Mapping[str, Any] | None = None, unknown_ns: int = 0) -> None:
        held = {} if document is None else document
        self._plan, self._unknown_ns = plan, unknown_ns
        self._now_ns = int(held.get("now_ns", 0))
        self._spent: dict[str, dict[int, list[int]]] = {
            name: {int(at): list(amounts) for at, amounts in slices.items()} for name, slices in held.get("spent", {}).items()
        }
        self._open: dict[str, dict[str, Any]] = {name: dict(each) for name, each in held.get("open", {}).items()}
        self._names: dict[str, dict[int, list[str]]] = {
            name: {int(at): list(symbols) for at, symbols in each.items()} for name, each in held.get("names", {}).items()
        }
        self._months: dict[str, dict[str, int]] = {month: dict(each) for month, each in held.get("months", {}).items()}
        self._blocked_ns, self._why = int(held.get("blocked_ns", 0)), str(held.get("why", ""))
        self._throttles = int(held.get("throttles", 0))
        self._resets: list[dict[str, int]] = [dict(each) for each in held.get("resets", ())]

    def document(self) -> dict[str, Any]:
        """Return the book in JSON values."""
        return {
            "plan": self._plan.name,
            "now_ns": self._now_ns,
            "spent": {name: {str(at): each for at, each in slices.items()} for name, slices in self._spent.items() if slices},
            "open": self._open,
            "names": {name: {str(at): symbols for at, symbols in each.items()} for name, each in self._names.items()},
            "months": dict(sorted(self._months.items())[-_KEPT_MONTHS:]),
            "blocked_ns": self._blocked_ns,
            "why": self._why,
            "throttles": self._throttles,
            "resets": self._resets[-_KEPT_RESETS:],
        }

    @property
    def wants_good_news(self) -> bool:
        """Whether an answer without a complaint changes the book: it ends a row of throttles, or tells when a reset was."""
        return self._throttles > 0 or any("recovered_ns" not in each for each in self._resets)

    @property
    def resets(self) -> Sequence[Mapping[str, int]]:
        """What was learned of resets: exhausted_ns, expected_ns and, once an answer came, recovered_ns."""
        return tuple(self._resets)

    @property
    def months(self) -> Mapping[str, Mapping[str, int]]:
        """What was spent by month (UTC): calls of live work and of backfill, bytes answered."""
        return dict(self._months)

    @property
    def blocked(self) -> tuple[int, str]:
        """Until when nobody may ask, and why."""
        return self._blocked_ns, self._why

    # --- leave

    def reserve(self, now_ns: int, wanted: Wanted, name: str, valid_ns: int) -> Granted:
        """Return how many of the calls wanted may be made until `valid_ns` from now; they are under way as `name`."""
        granted = self._reserved(self._at(now_ns), wanted, name, valid_ns)
        behind_s = (self._now_ns - now_ns) / NANOS_PER_SECOND
        if granted.calls or behind_s < BEHIND_S:
            return granted
        return replace(granted, behind_s=behind_s)

    def _reserved(self, now: int, wanted: Wanted, name: str, valid_ns: int) -> Granted:
        if now < self._blocked_ns:
            return Granted(0, self._blocked_ns, self._why)
        calls = wanted.calls
        if self._plan.at_once is not None:
            under_way = sum(int(each["calls"]) for each in self._open.values())
            calls = min(calls, self._plan.at_once - under_way)
            if calls < 1:
                return Granted(0, now + _ns(POLL_S), f"{under_way} calls are under way, of {self._plan.at_once} at once")
        full: list[Granted] = []
        for window in self._plan.windows_about(wanted.endpoint):
            known_ns = self._known_from(window)
            if now < known_ns:
                why = f"what was spent of {window.limit} a {window.name} before the restore"
                full.append(Granted(0, known_ns, f"{why} of {to_datetime(self._unknown_ns):%Y-%m-%d %H:%M} UTC is not known"))
                continue
            amount = self._amount(window, wanted, now)
            room = self._room(window, now, wanted.purpose)
            if amount and room < amount:
                full.append(self._not_now(window, now, wanted.purpose, amount))
            elif amount:
                calls = min(calls, room // amount)
            elif room < 1 and window.counts == "bytes":
                full.append(self._not_now(window, now, wanted.purpose, 1))
        if full:
            return max(full, key=lambda each: (each.never, each.at_ns))
        self._note_symbols(wanted, now)
        over_ns = now + valid_ns + _ns(self._plan.max_call_s)
        self._open[name] = {
            "calls": calls, "weight": wanted.weight, "endpoint": wanted.endpoint, "purpose": wanted.purpose,
            "from_ns": now, "over_ns": over_ns,
        }  # fmt: skip
        return Granted(calls)

    def settle(self, now_ns: int, name: str, wanted: Wanted, made: int, under_way: int = 0) -> None:
        """End calls of the reservation `name`: `made` are over by now, `under_way` go on, the others were not made.

        Calls that ended later than `Plan.max_call_s` were counted when that was over, and are counted once more from now.
        """
        now = self._at(now_ns)
        held = self._open.pop(name, None) or {
            "calls": 0, "weight": wanted.weight, "endpoint": wanted.endpoint, "purpose": wanted.purpose, "from_ns": now,
        }  # fmt: skip
        self._charge(held, now, made)
        if under_way:
            self._open[name] = {**held, "calls": under_way, "over_ns": now + _ns(self._plan.max_call_s)}

    # --- what providers tell

    def told(self, now_ns: int, reading: Reading, headers: Mapping[str, str], byte_count: int, purpose: Purpose) -> None:
        """Learn from an answer: throttles and exhausted quotas block everybody, headers tell what others spent."""
        now = self._at(now_ns)
        self._in_month(now, "bytes", byte_count)
        for window in self._plan.windows:
            if window.counts == "bytes" and byte_count:
                self._add(window, now, now, purpose, byte_count)
        for told in self._plan.told:
            self._told_by_headers(now, told, headers)
        verdict = reading.verdict
        if verdict is Verdict.THROTTLED:
            self._throttled(now, reading)
        elif verdict is Verdict.QUOTA_EXHAUSTED:
            self._exhausted(now, reading)
        elif verdict not in _REFUSES_TO_TELL:
            self._throttles = 0
            for reset in self._resets:
                reset.setdefault("recovered_ns", now)

    def _throttled(self, now: int, reading: Reading) -> None:
        self._throttles += 1
        cool_s = min(self._plan.cool_down_s * 2.0 ** min(self._throttles - 1, 30), self._plan.cool_down_ceiling_s)
        wait_s = cool_s if reading.retry_after_s is None else reading.retry_after_s
        self._block(now + _ns(wait_s), f"throttled: {reading.detail}"[:200])

    def _exhausted(self, now: int, reading: Reading) -> None:
        last = self._resets[-1] if self._resets else {"recovered_ns": 0}
        if "recovered_ns" not in last:  # still exhausted: after the instant expected, look again later
            if now >= last["expected_ns"]:
                last["asked_again"] = last.get("asked_again", 0) + 1
            until = max(last["expected_ns"], now + _ns(reading.retry_after_s or self._plan.cool_down_ceiling_s))
        else:
            until = self._expected_reset(now) if reading.retry_after_s is None else now + _ns(reading.retry_after_s)
            self._resets.append({"exhausted_ns": now, "expected_ns": until})
        self._block(until, f"quota exhausted: {reading.detail}"[:200])

    def _expected_reset(self, now: int) -> int:
        """Return the end of the longest calendar window, as much later as the last reset was observed to be."""
        ends = [each.period_ns(now)[1] for each in self._plan.windows if each.calendar and each.counts == "weight"]
        if not ends:
            return now + _ns(self._plan.cool_down_ceiling_s)
        late = [each["recovered_ns"] - each["expected_ns"] for each in self._resets if each.get("asked_again")]
        return max(ends) + _ns(self._plan.margin_s) + (min(late[-1], _ns(_LATEST_S)) if late else 0)

    def _block(self, until_ns: int, why: str) -> None:
        if until_ns > self._blocked_ns:
            self._blocked_ns, self._why = until_ns, why

    def _told_by_headers(self, now: int, told: Told, headers: Mapping[str, str]) -> None:
        window = next((each for each in self._plan.windows if each.name == told.window), None)
        if window is None:
            return
        remaining, used, limit = (_number(headers.get(name, "")) for name in (told.remaining, told.used, told.limit))
        if used is None and remaining is not None:
            used = (window.limit if limit is None else limit) - remaining
        if used is not None:
            ours = self._used(window, now) + self._under_way(window)
            if used > ours:  # somebody else has the key too, or we forgot
                self._add(window, now, now, "live", min(used, window.limit * 2) - ours)
        reset = _number(headers.get(told.reset, ""))
        if remaining == 0 and reset is not None:
            at = now + _ns(reset) if told.is_reset_in else reset * NANOS_PER_SECOND
            longest = window.length_ns or 31 * 86_400 * NANOS_PER_SECOND
            self._block(min(at, now + longest), "the provider tells that nothing remains")

    # --- windows

    def uses(self, now_ns: int) -> list[Use]:
        """Return each window as it stands, what is under way counted as spent."""
        now, found = self._at(now_ns), []
        for window in self._plan.windows:
            if window.counts == "symbols":
                used = max(map(len, self._known(window, now).values()))
            else:
                used = self._used(window, now) + self._under_way(window)
            if window.calendar:
                whole = window.period_ns(now)[1]
            else:
                whole = max(self._slices(window), default=now - window.length_ns) + window.length_ns
            known_ns = self._known_from(window)
            used, whole = (max(used, window.limit), max(whole, known_ns)) if now < known_ns else (used, whole)
            found.append(Use(window.name, window.counts, used, window.limit, max(whole, now)))
        return found

    def _known_from(self, window: Window) -> int:
        """Return when a window holds nothing any more that is not in the book: what others had under way ends in time, too."""
        if not self._unknown_ns:
            return 0
        if window.calendar:
            return window.period_ns(self._unknown_ns + _ns(self._plan.margin_s))[1] + _ns(self._plan.margin_s)
        return self._unknown_ns + _ns(self._plan.max_call_s) + window.length_ns

    def _at(self, now_ns: int) -> int:
        """Return the time of the book: it stands still where the clock was set back. What ended by itself is counted."""
        self._now_ns = now = max(self._now_ns, now_ns)
        for name in [name for name, held in self._open.items() if int(held["over_ns"]) <= now]:
            held = self._open.pop(name)
            self._charge(held, int(held["over_ns"]), int(held["calls"]))
        for window in self._plan.windows:
            slices = self._spent.get(window.name)
            if slices:
                oldest = _before(window, now) if window.calendar else now - window.length_ns + 1
                self._spent[window.name] = {at: each for at, each in slices.items() if at >= oldest}
        return now

    def _slices(self, window: Window) -> dict[int, list[int]]:
        return self._spent.get(window.name, {})

    def _charge(self, held: Mapping[str, Any], now: int, calls: int) -> None:
        if not calls:
            return
        self._in_month(now, str(held["purpose"]), calls)
        for window in self._plan.windows_about(str(held["endpoint"])):
            if window.counts == "weight":
                self._add(window, int(held["from_ns"]), now, held["purpose"], calls * int(held["weight"]))

    def _add(self, window: Window, from_ns: int, to_ns: int, purpose: Purpose, amount: int) -> None:
        """Count `amount` that the provider counted some time in [from, to]: in each calendar period it may have been in."""
        if window.calendar:
            margin = _ns(self._plan.margin_s)
            places = {window.period_ns(from_ns - margin)[0], window.period_ns(to_ns + margin)[0]}
        else:
            places = {-(-to_ns // window.slice_ns) * window.slice_ns}
        slices = self._spent.setdefault(window.name, {})
        for place in places:
            both = slices.setdefault(place, [0, 0])
            both[0] += amount
            both[1] += amount if purpose == "backfill" else 0

    def _in_month(self, now: int, what: str, amount: int) -> None:
        month = self._months.setdefault(to_datetime(now).strftime("%Y-%m"), {"live": 0, "backfill": 0, "bytes": 0})
        month[what] += amount

    def _periods(self, window: Window, now: int) -> set[int]:
        margin = _ns(self._plan.margin_s)
        return {window.period_ns(now - margin)[0], window.period_ns(now + margin)[0]}

    def _used(self, window: Window, now: int, which: int = 0) -> int:
        slices = self._slices(window)
        if window.calendar:
            return max(slices.get(place, (0, 0))[which] for place in self._periods(window, now))
        return sum(each[which] for at, each in slices.items() if at + window.length_ns > now)

    def _under_way(self, window: Window, purpose: Purpose | None = None) -> int:
        if window.counts != "weight":
            return 0
        return sum(
            int(held["calls"]) * int(held["weight"])
            for held in self._open.values()
            if window.is_about(str(held["endpoint"])) and purpose in (None, held["purpose"])
        )

    def _room(self, window: Window, now: int, purpose: Purpose, freed: tuple[int, int] = (0, 0)) -> int:
        """Return how much of a window is free; backfill leaves live work its share."""
        if window.counts == "symbols":
            return self._plan.limit(window, purpose) - max(map(len, self._known(window, now).values()))
        room = window.limit - (self._used(window, now) - freed[0]) - self._under_way(window)
        if purpose == "live":
            return room
        mine = self._used(window, now, 1) - freed[1] + self._under_way(window, "backfill")
        return min(room, self._plan.limit(window, purpose) - mine)

    def _not_now(self, window: Window, now: int, purpose: Purpose, amount: int) -> Granted:
        limit = self._plan.limit(window, purpose)
        why = f"{window.limit - self._room(window, now, 'live')} of {window.limit} a {window.name} are spent"
        if limit < window.limit:
            why += f", {window.limit - limit} kept for live work"
        if amount > limit:
            return Granted(0, now, f"{amount} at once is more than {limit} a {window.name}", never=True)
        if window.calendar:
            later, margin = max(self._periods(window, now)), _ns(self._plan.margin_s)
            is_free = later + margin > now and self._room(window, later + margin, purpose) >= amount
            return Granted(0, (later if is_free else window.period_ns(later)[1]) + margin, why)
        freed = [0, 0]
        for at in sorted(self._slices(window)):
            freed = [freed[0] + self._slices(window)[at][0], freed[1] + self._slices(window)[at][1]]
            if self._room(window, now, purpose, (freed[0], freed[1])) >= amount:
                return Granted(0, at + window.length_ns, why)
        return Granted(0, now + min(_ns(POLL_S), max(1, window.length_ns // 4)), why)

    # --- symbols

    def _amount(self, window: Window, wanted: Wanted, now: int) -> int:
        """Return what one call takes of a window."""
        if window.counts == "symbols":
            return max(len(set(wanted.symbols) - known) for known in self._known(window, now).values())
        return wanted.weight if window.counts == "weight" else 0

    def _known(self, window: Window, now: int) -> dict[int, set[str]]:
        """Return the symbols asked for, by the periods that a call of now may be counted in."""
        margin, later = _ns(self._plan.margin_s), _ns(self._plan.margin_s + self._plan.max_call_s)
        held = self._names.get(window.name, {})
        return {
            place: set(held.get(place, ())) for place in {window.period_ns(now - margin)[0], window.period_ns(now + later)[0]}
        }

    def _note_symbols(self, wanted: Wanted, now: int) -> None:
        for window in self._plan.windows_about(wanted.endpoint):
            if window.counts == "symbols" and wanted.symbols:
                asked = self._known(window, now)
                self._names[window.name] = {place: sorted({*known, *wanted.symbols}) for place, known in asked.items()}


def _before(window: Window, now: int) -> int:
    """Return the start of the calendar period before."""
    return window.period_ns(window.period_ns(now)[0] - 1)[0]


def _ns(seconds: float) -> int:
    return round(seconds * NANOS_PER_SECOND)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
