"""Lists of reference data: each file is one message, recognised by its header."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_HEADERS: dict[str, Sequence[frozenset[str]]] = {
    "venues": (frozenset({"mic", "operating mic"}),),
    "sessions": (
        frozenset({"", "open", "close", "break_start"}),
        frozenset({"session", "open", "close", "break_start"}),
        frozenset({"date", "open", "close", "break_start"}),
    ),
    "properties": (frozenset({"market", "symbol", "contract_multiplier", "minimum_price_variation"}),),
    "currencies": (frozenset({"alphabeticcode", "numericcode"}),),
    "listings": (frozenset({"symbol", "market category"}), frozenset({"act symbol", "company name"})),
    "equities": (frozenset({"symbol", "name", "isin", "mic"}), frozenset({"symbol", "name", "figi", "mic"})),
    "constituents": (frozenset({"symbol", "security", "gics sector"}),),
    "membership": (frozenset({"ticker", "start_date"}),),
    "changes": (frozenset({"scope", "old_symbol", "effective_date"}),),
    "joins": (frozenset({"identity", "joined_identity"}),),
}
_MAP_FILE = re.compile(rb"\d{8},[A-Za-z0-9.^_-]+(,[A-Z])?\s*(\n|\Z)")
_HOURS = re.compile(rb'\s*\{\s*"entries"\s*:\s*\{')
REFERENCE_FEEDS = (*_HEADERS, "market_hours", "map_files")


def is_reference(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is a list of `feed`, by its first line."""

    def is_one(name: str, beginning: bytes) -> bool:
        if feed == "market_hours":
            return _HOURS.match(beginning) is not None
        if feed == "map_files":
            return _MAP_FILE.match(beginning) is not None
        line = beginning.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace")
        names = {name.strip().strip('"').strip().lower() for name in line.split(",")}
        return any(header <= names for header in _HEADERS[feed])

    return is_one
