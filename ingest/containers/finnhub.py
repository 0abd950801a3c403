"""Saved answers of Finnhub: which feed a file is of, by what its answer holds. An empty list or an error is any REST feed's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from ingest.containers.source import Piece, Source, Told
from ingest.containers.splitters import json_lines, whole_document

_COMPANY = (
    *(b'"strongBuy":', b'"targetMean":', b'"mspr":', b'"surprisePercent":', b'"metricType":', b'"gradeTime":'),
    *(b'"accessNumber":', b'"financials":[{"'),
)
_LISTS = (
    *(b'"ipoCalendar":', b'"earningsCalendar":', b'"finnhubIndustry":', b'"displaySymbol":', b'"oldSymbol":', b'"oldIsin":'),
    *(b'"constituents":[', b'"historicalConstituents":', b'"isOpen":', b'"tradingHour":', b'"economicCalendar":'),
)
_SPLIT = re.compile(rb'\[\{[^}]*"fromFactor":')
_BASIC = re.compile(rb'\{"data":\[\{"amount":')


def _is_trades(packed: bytes) -> bool:
    is_tick = packed.startswith(b"{") and all(word in packed for word in (b'"p":[', b'"v":[', b'"t":['))
    return b'"type":"trade"' in packed[:1024] or b'"type":"ping"' in packed[:1024] or is_tick


def _is_actions(packed: bytes) -> bool:
    is_split = _SPLIT.match(packed) is not None and b'"exDate":' not in packed
    return is_split or b'"adjustedAmount":' in packed or _BASIC.match(packed) is not None


_LOOKS: dict[str, Callable[[bytes], bool]] = {
    "quote": lambda packed: b'"pc":' in packed[:1024],
    "trades": _is_trades,
    "candles": lambda packed: b'"s":"no_data"' in packed or (b'"s":"ok"' in packed and b'"c":[' in packed),
    "bbo": lambda packed: b'"bx":[' in packed or b'"ax":[' in packed,
    "actions": _is_actions,
    "rates": lambda packed: packed.startswith(b'{"base":"') and b'"quote":{' in packed,
    "news": lambda packed: packed.startswith(b'[{"category":') or b'"majorDevelopment":[' in packed,
    "company": lambda packed: any(word in packed for word in _COMPANY) or packed == b"[]" or packed.startswith(b'{"error":"'),
    "reference": lambda packed: any(word in packed for word in _LISTS) or packed.startswith(b'["'),
}
FINNHUB_FEEDS = tuple(_LOOKS)
_NAME = re.compile(r"(quote|candles?)_([A-Z0-9.:\-]{1,20})(?:_(1|5|15|30|60|D|W|M))?\.json(?:\.gz)?\Z")


def is_finnhub(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of a feed of Finnhub: by what its answer holds."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning.split())
        return packed.startswith((b"{", b"[")) and _LOOKS[feed](packed)

    return is_one


def named_answer(source: Source, told: Told) -> Iterator[Piece]:
    """Yield an answer with its request: by the manifest, else by a name like `quote_AAPL.json` or `candle_AAPL_D.json`."""
    found = _NAME.match(told.file)
    for piece in whole_document("application/json")(source, told):
        request = dict(piece.request or {})
        if found is not None and "url" not in request:
            resolution = {} if found[3] is None else {"resolution": found[3]}
            request["params"] = {"symbol": found[2], **resolution}
        yield replace(piece, request=request)


def ticks_or_frames(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the frames of a recorded stream, one a line, or an answer of /stock/tick whole."""
    beginning = b"".join(source.beginning()[:1024].split())
    is_answer = b'"type":' not in beginning
    yield from (whole_document("application/json") if is_answer else json_lines)(source, told)
