"""Files of Nasdaq ITCH 5.0: cut at message boundaries, with or without prefixes of length, in bounded memory.

A message is a run of whole ITCH messages as they lie. ITCH is told against the day before it: instruments by a number that the
directory gave out, executions by an order's reference. A run reads alone because its request notes what it leans on: the file's
date, the number of its first message, the symbols of its numbers, and price and side of the orders that its executions hit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import numpy as np
import numpy.typing as npt

from ingest.containers.runs import RUN_BYTES, run_pieces
from ingest.containers.source import Piece, Source, Told
from lake.errors import InvalidValueError
from transforms.decode.binary import gather, ints
from transforms.decode.nasdaq_itch import framing, is_whole
from transforms.kernels import itch as kernel
from transforms.numbers import Int64s

CONTENT_TYPE = "application/x-itch50"
_LEAST_MESSAGES = 3
_DIGITS = re.compile(r"(?<!\d)(\d{8}|\d{6})(?!\d)")
_STOCK_AT = {
    **dict.fromkeys(map(ord, "RHYKJhNO"), 11), ord("A"): 24, ord("F"): 24, ord("P"): 24, ord("L"): 15, ord("Q"): 19, ord("I"): 28,
}  # fmt: skip
"""Where a message names its stock."""
_NAMED = np.dtype([("pad", "V1"), ("locate", ">u2")])
_ADDED = np.dtype({"names": ["order", "side", "price"], "formats": [">u8", "u1", ">u4"], "offsets": [11, 19, 32], "itemsize": 36})
_HIT = np.dtype({"names": ["order"], "formats": [">u8"], "offsets": [11], "itemsize": 19})
Bytes = npt.NDArray[np.uint8]


def is_itch(name: str, beginning: bytes) -> bool:
    """Return whether a file is ITCH 5.0: its first bytes are whole messages, one after the other, all of known types."""
    prefix = framing(beginning)
    if prefix is None:
        return False
    found = kernel.Found()
    end = kernel.walk(beginning, 0, len(beginning), prefix, len(beginning), found)
    lengths, kinds = ints(found.length.getvalue()), np.frombuffer(beginning, np.uint8)[ints(found.at.getvalue())]
    known = np.array([kernel.LENGTHS.get(chr(code), 0) for code in range(256)])
    is_whole = end == len(beginning) or not found.is_damaged
    return is_whole and (len(lengths) >= _LEAST_MESSAGES or "itch" in name.lower()) and bool((lengths == known[kinds]).all())


def date_in(name: str) -> date | None:
    """Return the date that a file's name tells: 20101224, 12242010 or 122410 among its digits; None without one."""
    for text in _DIGITS.findall(name):
        forms = [(text[:4], text[4:6], text[6:]), (text[4:], text[:2], text[2:4])] if len(text) == 8 else []
        forms += [("20" + text[4:], text[:2], text[2:4])] if len(text) == 6 else []
        for year, month, day in forms:
            try:
                found = date(int(year), int(month), int(day))
            except ValueError:
                continue
            if 1990 <= found.year < 2100:
                return found
    return None


def itch_messages(source: Source, told: Told) -> Iterator[Piece]:
    """Yield runs of whole messages with what they lean on. Raises InvalidValueError for a file that is no ITCH at all."""
    prefix = framing(source.beginning())
    if prefix is None:
        raise InvalidValueError(f"{told.file}: no messages of ITCH 5.0 at its beginning")
    yield from run_pieces(source, _Cutter(told, prefix))


class _Cutter:
    """Where a file stands: messages so far, the day's numbers of instruments, open orders."""

    def __init__(self, told: Told, prefix: int) -> None:
        day = date_in(told.file) or (told.received_at and told.received_at.date())
        self._told, self._prefix, self._day = told, prefix, None if day is None else day.isoformat()
        self._symbols: dict[int, str] = {}
        self._orders = kernel.Orders()
        self._first = 1
        self._is_damaged = False

    def cut(self, data: bytes, *, is_last: bool) -> tuple[Piece | None, int]:
        """Return the next message and how many bytes of `data` it is; None where more bytes must come first."""
        found = kernel.Found()
        end = 0
        if not self._is_damaged:
            end = kernel.walk(data, 0, len(data), self._prefix, RUN_BYTES, found)
        if end < RUN_BYTES and not is_last and not found.is_damaged and not self._is_damaged:
            return None, 0
        self._is_damaged = self._is_damaged or found.is_damaged
        if data[end:] == b"\0\0" and is_last:
            end = len(data)  # the mark of the end that some files have
        taken = end or min(len(data), RUN_BYTES)
        at = found.at.getvalue()
        whole = ints(at)[is_whole(np.frombuffer(data, np.uint8)[ints(at)], ints(found.length.getvalue()))]
        request = self._told.request(date=self._day, prefix=self._prefix, first=self._first, **self._leans_on(data, whole))
        self._first += len(at) // 8
        return Piece(data[:taken], CONTENT_TYPE, request=request), taken

    def _leans_on(self, data: bytes, places: Int64s) -> dict[str, object]:
        if not len(places):
            return {}
        view = np.frombuffer(data, np.uint8)
        kinds = view[places]
        for kind in np.unique(kinds).tolist():
            if kind in _STOCK_AT:
                self._name(view, places[kinds == kind], _STOCK_AT[kind])
        nameless = places[~np.isin(kinds, [*_STOCK_AT, *map(ord, "SVW")])]
        locates = np.unique(gather(view, nameless, _NAMED)["locate"]).tolist()
        symbols = {str(one): self._symbols[one] for one in locates if one in self._symbols}
        return {"symbols": symbols, "executed": self._executed(data, view, places, kinds)}

    def _executed(self, data: bytes, view: Bytes, places: Int64s, kinds: Bytes) -> list[str]:
        """Return price and side of the order that each execution hits, also where the order is told after it in the run."""
        told = ints(kernel.follow(data, places.tobytes(), self._orders)).reshape(-1, 2).tolist()
        found = ["" if price < 0 else f"{price}{'S' if shares < 0 else 'B'}" for price, shares in told]
        if "" in found:
            added = gather(view, places[np.isin(kinds, [ord("A"), ord("F")])], _ADDED)
            later = {order: f"{price}{chr(side)}" for order, side, price in added[["order", "side", "price"]].tolist()}
            hit = gather(view, places[np.isin(kinds, [ord("E"), ord("C")])], _HIT)["order"].tolist()
            found = [one or later.get(order, "") for one, order in zip(found, hit, strict=True)]
        return found

    def _name(self, view: Bytes, places: Int64s, at: int) -> None:
        """Learn the symbols of the day's numbers from messages that name both."""
        layout = np.dtype({"names": ["locate", "symbol"], "formats": [">u2", "S8"], "offsets": [1, at], "itemsize": at + 8})
        for locate, symbol in set(gather(view, places, layout).tolist()):
            self._symbols[locate] = symbol.decode("latin-1").strip(" \x00")
