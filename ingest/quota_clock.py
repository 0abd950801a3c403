"""A ledger whose clock was ahead for a while: set back to the right time by a person's word. Pure, over a book's document.

Time never runs backwards in a book, so after a clock that was wrong by a month its key would rest for a month. What was asked
by the wrong clock was asked some time before now, nobody knows when: it counts as if it were asked now. What the book forgot,
because by the wrong clock it was long ago, counts as all that a window lets pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingest.plans import Plan, Window
from lake.instants import NANOS_PER_SECOND, to_datetime


def set_back(document: Mapping[str, Any], plan: Plan, now_ns: int) -> dict[str, Any]:
    """Return the document of a book as of `now_ns`, nothing of it later; one that is not ahead is returned as it is."""
    held = dict(document)
    was_ns = int(held.get("now_ns", 0))
    if was_ns <= now_ns:
        return held
    held["now_ns"] = now_ns
    held["spent"] = {name: _moved(slices, _window(plan, name), now_ns) for name, slices in held.get("spent", {}).items()}
    if held.get("blocked_ns", 0) > now_ns:
        held["blocked_ns"] = max(now_ns, held["blocked_ns"] - (was_ns - now_ns))
    for window in plan.windows:
        if not _is_forgotten(window, was_ns, now_ns):
            continue
        if window.counts == "symbols":
            held |= {"blocked_ns": window.period_ns(now_ns)[1], "why": f"which symbols count in {window.name} was forgotten"}
        else:
            held["spent"].setdefault(window.name, {})[str(_place(window, now_ns))] = [window.limit, 0]
    held["names"] = {name: _named(places, _window(plan, name), now_ns) for name, places in held.get("names", {}).items()}
    held["open"] = {name: _open(each, plan, now_ns) for name, each in held.get("open", {}).items()}
    held["months"] = _months(held.get("months", {}), to_datetime(now_ns).strftime("%Y-%m"))
    held["resets"] = [each for each in held.get("resets", ()) if max(each.get("recovered_ns", 0), each["exhausted_ns"]) <= now_ns]
    return held


def _window(plan: Plan, name: str) -> Window | None:
    return next((each for each in plan.windows if each.name == name), None)


def _is_forgotten(window: Window, was_ns: int, now_ns: int) -> bool:
    """Return whether by the wrong clock what is spent of a window now was too long ago to be kept (`Book._at`)."""
    if not window.calendar:
        return was_ns - window.length_ns >= now_ns
    before_ns = window.period_ns(window.period_ns(was_ns)[0] - 1)[0]
    return before_ns > window.period_ns(now_ns)[0]


def _place(window: Window | None, now_ns: int) -> int:
    """Return where a window keeps what is spent now; of a window that the plan has no more, now."""
    if window is None:
        return now_ns
    return window.period_ns(now_ns)[0] if window.calendar else -(-now_ns // window.slice_ns) * window.slice_ns


def _moved(slices: Mapping[str, list[int]], window: Window | None, now_ns: int) -> dict[str, list[int]]:
    place, found = _place(window, now_ns), dict[str, list[int]]()
    for at, amounts in slices.items():
        both = found.setdefault(str(min(int(at), place)), [0, 0])
        both[0] += amounts[0]
        both[1] += amounts[1]
    return found


def _named(places: Mapping[str, list[str]], window: Window | None, now_ns: int) -> dict[str, list[str]]:
    place, found = _place(window, now_ns), dict[str, list[str]]()
    for at, symbols in places.items():
        kept = str(min(int(at), place))
        found[kept] = sorted({*found.get(kept, ()), *symbols})
    return found


def _open(each: Mapping[str, Any], plan: Plan, now_ns: int) -> dict[str, Any]:
    longest_ns = now_ns + round(plan.max_call_s * NANOS_PER_SECOND)
    return {**each, "from_ns": min(int(each["from_ns"]), now_ns), "over_ns": min(int(each["over_ns"]), longest_ns)}


def _months(months: Mapping[str, Mapping[str, int]], now: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for month, amounts in months.items():
        kept = found.setdefault(min(month, now), {"live": 0, "backfill": 0, "bytes": 0})
        for what, amount in amounts.items():
            kept[what] += amount
    return found
