"""What is wrong about a configured plan of a provider that the shapes of its values do not tell. Functions: nothing is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from ingest.configuration import CALENDAR, COUNTED
from ingest.plans import STREAM
from ingest.shipped_plans import PLANS
from ingest.telling_names import meant, name_told
from ingest.toml_lines import Path


def wrong_plan(path: Path, provider: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield where and what: plans that nobody ships, windows that cannot be counted, endpoints that nobody asks.

    path   of the provider's table, its name last
    """
    name, plan, windows = str(path[-1]), provider.get("plan"), provider.get("windows")
    known = endpoints_of(name)
    shipped = _shipped(name)
    if isinstance(plan, str) and plan and shipped and not windows and plan not in shipped:
        words = f"no plan {name_told(plan)!r} is shipped{meant(plan, shipped)}; {_there(shipped)}, or tell its windows"
        yield (*path, "plan"), words
    seen: dict[tuple[object, ...], int] = {}
    for number, window in enumerate(windows if isinstance(windows, list) else ()):
        if isinstance(window, Mapping):
            place = (*path, "windows", number)
            yield from ((place + more, words) for more, words in _wrong_window(window, known))
            first = seen.setdefault(_meaning(window), number)
            if first != number:
                yield place, f"counts the same as window {first}; expected one limit for it"
    weights = provider.get("weights")
    for each in weights if isinstance(weights, Mapping) else ():
        if known and each.partition("?")[0] not in known:
            yield (*path, "weights", each), f"nobody asks such an endpoint{meant(each, known)}; {_there(known)}"


def endpoints_of(provider: str) -> tuple[str, ...]:
    """Return the endpoints of a provider by which calls can be weighed and counted; none: nobody can tell."""
    from ingest.providers.registry import PROVIDERS  # slow to import, and of no use where no plan is configured

    known = PROVIDERS.get(provider)
    offers = () if known is None else (*known.offers, *known.named_only)
    plans = PLANS.get(provider, ())
    names = {offer.endpoint for offer in offers}
    names |= {name for plan in plans for window in plan.windows for name in window.endpoints}
    names |= {name.partition("?")[0] for plan in plans for name in plan.weights}
    return tuple(sorted(names | ({STREAM} if known is not None and known.pushes else set())))


def _wrong_window(window: Mapping[str, Any], known: Sequence[str]) -> Iterator[tuple[Path, str]]:
    told, per, zone = [name for name in COUNTED if name in window], window.get("per"), window.get("zone")
    if len(told) != 1:
        yield (), f"expected one of {', '.join(COUNTED)}; found {' and '.join(told) or 'none'}"
    is_calendar = isinstance(per, str) and per in CALENDAR
    if isinstance(zone, str) and zone and zone not in _zones():
        yield ("zone",), f"no time zone {name_told(zone)!r}; expected one like America/New_York"
    elif zone and isinstance(per, str) and not is_calendar:
        yield ("zone",), f"a zone is of {_or(CALENDAR)}, which begin by its clock; found {name_told(per)!r}, which rolls"
    if "symbols" in told and isinstance(per, str) and not (is_calendar and zone):
        yield ("symbols",), f"different symbols are counted by the calendar; expected per {_or(CALENDAR)}, and a zone"
    if "bytes" in told and window.get("endpoints"):
        yield ("endpoints",), "bytes are counted over all endpoints together"
    endpoints = window.get("endpoints")
    for number, name in enumerate(endpoints if isinstance(endpoints, list) else ()):
        if isinstance(name, str) and known and name not in known:
            yield ("endpoints", number), f"nobody asks an endpoint {name_told(name)!r}{meant(name, known)}; {_there(known)}"


def _meaning(window: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what tells a window from another one, whatever its limit."""
    counted = tuple(name for name in COUNTED if name in window)
    endpoints = window.get("endpoints")
    named = frozenset(map(str, endpoints)) if isinstance(endpoints, list) else frozenset[str]()
    return counted, str(window.get("per")), str(window.get("zone") or ""), named


def _shipped(provider: str) -> tuple[str, ...]:
    return tuple(plan.name for plan in PLANS.get(provider, ()))


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _or(names: Mapping[str, object]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _there(names: Sequence[str]) -> str:
    shown = names[:12]
    return f"there are {', '.join(shown)}{' and more' if len(names) > len(shown) else ''}"
