"""Counts that every process adds to and any process reads: what metrics show of captures that run elsewhere.

A count is (name, provider, feed, label) -> a whole number that only grows; a mark is one that is kept at its greatest. History is
not here: it is rows of `ops.provider_calls`. A process that is killed loses what it had not added yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from lake.state import State
from lake.state_tables import TALLIES


class Key(NamedTuple):
    """What is counted."""

    name: str
    provider: str
    feed: str = ""
    label: str = ""


def add(state: State, counted: Mapping[Key, int], marked: Mapping[Key, int]) -> None:
    """Add to counts and put marks up, in one transaction; nothing for nothing."""
    changes = [(key, value, False) for key, value in counted.items() if value] + [
        (key, value, True) for key, value in marked.items()
    ]
    if not changes:
        return
    with state.writing() as connection:  # one writer at a time: nobody adds between the update and the insert
        for key, value, is_mark in changes:
            same = key._asdict()
            now = TALLIES.c.value
            put = sa.case((now < value, value), else_=now) if is_mark else now + value
            if connection.execute(sa.update(TALLIES).filter_by(**same).values(value=put)).rowcount == 0:
                connection.execute(sa.insert(TALLIES).values(**same, value=value))


def read(state: State) -> dict[Key, int]:
    """Return every count and mark."""
    with state.reading() as connection:
        return {Key(*row[:4]): int(row[4]) for row in connection.execute(sa.select(TALLIES))}
