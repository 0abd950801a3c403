"""Sharing push feeds among processes and sockets: which symbols are whose. Pure, the same on every machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lake.errors import InvalidValueError

_WRITTEN = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})\Z")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` processes that listen to the same feeds; `number` counts from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InvalidValueError(f"shard {self.number}/{self.count} is none; expected like 1/4 to 4/4")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, provider: str, feed: str, symbols: Sequence[str]) -> tuple[str, ...]:
        """Return the symbols of a feed that are this shard's: each is exactly one shard's, whatever the others are."""
        return tuple(
            symbol for symbol in dict.fromkeys(symbols) if _place(provider, feed, symbol) % self.count == self.number - 1
        )


ALONE = Shard()
"""The one shard of a process that shares with no other."""


def parse_shard(text: str) -> Shard:
    """Return the shard written as `2/4`. Raises InvalidValueError."""
    found = _WRITTEN.match(text)
    if found is None:
        raise InvalidValueError(f"shard {text!r} is not NUMBER/COUNT, like 2/4")
    return Shard(int(found[1]), int(found[2]))


def by_connection(symbols: Sequence[str], most: int | None) -> list[tuple[str, ...]]:
    """Return symbols in as few groups of at most `most` as there must be, of about the same size; None: one group."""
    count = 1 if most is None else -(-len(symbols) // most)
    return [tuple(symbols[number::count]) for number in range(count)] if symbols else []


def _place(provider: str, feed: str, symbol: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{provider}/{feed}/{symbol}".encode()).digest()[:8], "big")
