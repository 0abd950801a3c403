"""What must hold after a soak, by what the simulator pushed and was asked, and by the bytes in `raw`; no decoder of ours."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from ingest.plans import Plan
from ingest.simulator.day.tape import Day, Tape
from ingest.simulator.day.wires import FIRST_ID
from lake.instants import NANOS_PER_SECOND, to_datetime
from quality_checks.gaps import KnownGap

Known = Mapping[str, Tape]
_MILLI_NS = 1_000_000
_BETWEEN = 300.0
"""A price between those of the two stocks."""
_FINER_IN_HISTORY = {"polygon"}
"""Their history adds digits to the milliseconds of their stream and of the tape."""
_GROWN_UP_S = 7_200.0
"""Of the day: younger processes are still filling what they keep for an hour of it, like log segments."""
_NEW_YORK = ZoneInfo("America/New_York")


def trades_in(provider: str, payload: bytes, tapes: Known) -> list[str]:
    """Return `SYMBOL/NUMBER` of each trade that a payload of a provider tells of; none for what tells of none."""
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return []
    return [f"{symbol}/{number}" for symbol, number in _READERS[provider](found, tapes)] if provider in _READERS else []


def _binance(found: Any, tapes: Known) -> Iterable[tuple[str, int]]:
    if isinstance(found, dict) and isinstance(found.get("data"), dict):
        yield "BTCUSDT", found["data"]["t"] - FIRST_ID
    elif isinstance(found, list):
        for each in found:
            yield "BTCUSDT", each.get("id", each.get("a")) - FIRST_ID


def _alpaca(found: Any, tapes: Known) -> Iterable[tuple[str, int]]:
    if isinstance(found, list):
        for each in found:
            if each.get("T") == "t":
                yield each["S"], each["i"] - FIRST_ID
    elif isinstance(found, dict) and isinstance(found.get("trades"), dict):
        for symbol, rows in found["trades"].items():
            for each in rows:
                yield symbol, each["i"] - FIRST_ID


def _finnhub(found: Any, tapes: Known) -> Iterable[tuple[str, int]]:
    """No ids: a trade is found by its time, one a millisecond and symbol."""
    if not isinstance(found, dict):
        return
    told = [(each["s"], each["t"]) for each in found.get("data") or ()] if found.get("type") == "trade" else []
    if isinstance(found.get("t"), list):
        told = [(found["s"], ts_ms) for ts_ms in found["t"]]
    for symbol, ts_ms in told:
        trades = tapes[symbol].trades
        place = bisect_left(trades, ts_ms * _MILLI_NS, key=lambda trade: trade.ts_ns)
        yield symbol, trades[place].number


def _polygon(found: Any, tapes: Known) -> Iterable[tuple[str, int]]:
    if isinstance(found, list):
        for each in found:
            if each.get("ev") == "T":
                yield each["sym"], int(each["i"]) - FIRST_ID
    elif isinstance(found, dict) and found.get("results") and "sip_timestamp" in found["results"][0]:
        # The symbol stands in the request; prices tell the stocks apart: their tapes lie far from each other.
        for each in found["results"]:
            number = int(each["id"]) - FIRST_ID
            symbol = next(
                name for name, tape in tapes.items() if number < len(tape.trades) and tape.trades[number].price == each["price"]
            )  # fmt: skip
            yield symbol, number


_READERS: dict[str, Callable[[Any, Known], Iterable[tuple[str, int]]]] = {
    "binance": _binance,
    "alpaca": _alpaca,
    "finnhub": _finnhub,
    "polygon": _polygon,
}


def missing_and_doubled(
    day: Day, raw: Sequence[Mapping[str, Any]], pushed: Mapping[str, Mapping[str, int]], symbols: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return what is wrong in raw.messages (provider, kind, payload): a trade in no message, a frame kept too often."""
    tapes = {symbol: Tape(day, symbol) for symbol in day.symbols}
    wrong = []
    for provider, names in symbols.items():
        mine = [row for row in raw if row["provider"] == provider]
        live = Counter(name for row in mine if row["kind"] == "live" for name in trades_in(provider, row["payload"], tapes))
        known = {name for row in mine for name in trades_in(provider, row["payload"], tapes)}
        wanted = {f"{symbol}/{trade.number}" for symbol in names for trade in tapes[symbol].trades}
        wrong += [f"{provider}: {name} is in no message" for name in sorted(wanted - known)[:5]]
        wrong += [f"{provider}: {len(wanted - known)} of {len(wanted)} trades are in no message"] if wanted - known else []
        often = {name: count for name, count in live.items() if count > pushed[provider].get(name, 0)}
        wrong += [f"{provider}: {name} was pushed {pushed[provider].get(name, 0)} times and is kept {count} times"
                  for name, count in sorted(often.items())[:5]]  # fmt: skip
    return wrong


def minutes_missing(day: Day, raw: Sequence[Mapping[str, Any]], polled: Sequence[str]) -> list[str]:
    """Return the minutes of two stocks that no answer of a provider tells of: found by their instants in the bodies."""
    wrong = []
    for provider in polled:
        known = {pair for row in raw if row["provider"] == provider for pair in _minutes_in(provider, row["payload"])}
        for symbol in ("AAPL", "MSFT"):
            wanted = {(symbol, bar.open_ns // NANOS_PER_SECOND) for bar in Tape(day, symbol).minutes(day.open_ns, day.close_ns)}
            if wanted - known:
                wrong.append(f"{provider} {symbol}: {len(wanted - known)} of {len(wanted)} minutes are in no answer")
    return wrong


def _minutes_in(provider: str, payload: bytes) -> Iterable[tuple[str, int]]:
    if provider == "csv":
        for line in payload.decode().splitlines():
            symbol, at, *_ = line.split(",")
            yield from [(symbol, int(at))] if at.isdigit() else []
        return
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return
    if provider == "tiingo" and isinstance(found, list):
        # The symbol stands in the request; a minute's open tells the stocks apart: their tapes lie far from each other.
        for each in found:
            symbol = "AAPL" if each["open"] < _BETWEEN else "MSFT"
            yield symbol, int(datetime.fromisoformat(each["date"]).timestamp())
    if provider == "yahoo" and isinstance(found, dict) and found.get("chart", {}).get("result"):
        result = found["chart"]["result"][0]
        yield from ((result["meta"]["symbol"], stamp) for stamp in result.get("timestamp", ()))
    if provider == "alpha_vantage" and isinstance(found, dict) and "Meta Data" in found:
        for text in found["Time Series (1min)"]:
            yield found["Meta Data"]["2. Symbol"], int(datetime.fromisoformat(text).replace(tzinfo=_NEW_YORK).timestamp())


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1_000 * 1_000)


def trades_wrong(day: Day, told: Mapping[tuple[str, str, datetime], int], symbols: Mapping[str, Sequence[str]]) -> list[str]:
    """Return providers whose normalized.trades, by (provider, symbol, time), are not the tape's: each trade once, no other."""
    wrong = []
    for provider, names in symbols.items():
        wanted = {(name, to_datetime(trade.ts_ns)) for name in names for trade in Tape(day, name).trades}
        found: Counter[tuple[str, datetime]] = Counter()
        for (whose, symbol, at), count in told.items():
            if whose == provider:
                found[symbol, _whole_ms(at) if provider in _FINER_IN_HISTORY else at] += count
        often = [pair for pair, count in found.items() if count > 1]
        if set(found) != wanted or often:
            counts = f"{len(wanted - set(found))} missing, {len(set(found) - wanted)} made up, {len(often)} doubled"
            wrong.append(f"{provider}: normalized.trades has {len(found)} of {len(wanted)} trades: {counts}")
    return wrong


def gaps_wrong(gaps: Sequence[KnownGap]) -> list[str]:
    """Return gaps that are neither closed nor explained, and those another provider filled without a word why."""
    wrong = [f"gap {gap.gap_id} is {gap.status.value}: {gap.reason}" for gap in gaps if not gap.is_final]
    for gap in gaps:
        others = [fill.provider for fill in gap.fills if fill.provider != gap.provider]
        own = [fill for fill in gap.fills if fill.provider == gap.provider]
        if others and not (own and all(fill.verdict for fill in own)) and not gap.reason:
            wrong.append(f"gap {gap.gap_id} was asked of {', '.join(others)} without a reason")
        if gap.is_final and not gap.reason:
            wrong.append(f"gap {gap.gap_id} is {gap.status.value} without a reason")
    return wrong


def holes(raw: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return captures whose messages are not numbered 0, 1, 2, ... each once."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in raw:
        numbers[row["capture_id"]].append(row["message_seq"])
    return [name for name, found in numbers.items() if sorted(found) != list(range(len(found)))]


def exceeded(plans: Mapping[str, Plan], calls: Sequence[Sequence[Any]]) -> list[str]:
    """Return every window of a plan that the calls the simulator counted went beyond: (provider, path, instant, status)."""
    wrong = []
    for provider, plan in plans.items():
        times = sorted(int(at_ns) for whose, _, at_ns, _ in calls if whose == provider)
        for window in plan.windows:
            if window.counts != "weight" or window.endpoints:
                continue
            if window.calendar:
                most = max(Counter(window.period_ns(at_ns) for at_ns in times).values(), default=0)
            else:
                length_ns = round(window.seconds * NANOS_PER_SECOND)
                most = max(
                    (place - bisect_left(times, at_ns - length_ns + 1) + 1 for place, at_ns in enumerate(times)), default=0
                )
            if most > window.limit:
                wrong.append(f"{provider}: {most} calls within {window.name}, allowed {window.limit}")
    return wrong


def grown(samples: Sequence[tuple[int, int]], every_s: float) -> str:
    """Return how a process grew when it did: its last third against its middle third; empty when it is flat, or died young.

    every_s   seconds of the day from sample to sample
    """
    if len(samples) * every_s < _GROWN_UP_S:
        return ""
    third = len(samples) // 3
    for number, (word, slack) in enumerate((("memory", 64 << 20), ("open files", 8))):
        middle, last = (sorted(one[number] for one in part) for part in (samples[third : 2 * third], samples[2 * third :]))
        before, after = middle[len(middle) // 2], last[len(last) // 2]
        if after > before * 1.25 + slack:
            return f"{word} grew from {before:,} to {after:,}"
    return ""
