"""The question "bars": agreed bars of one instrument, as traded or adjusted, as published or known at an instant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from lake.values import Basis

INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "5d", "1wk", "1mo", "3mo")
"""Lengths of bars that may be in a lake; what an instrument has, its answer or error tells."""


class Adjustment(StrEnum):
    """What is applied to prices and volumes before they are answered."""

    NONE = "none"
    SPLITS = "splits"
    ALL = "all"


BASES = {Adjustment.NONE: Basis.AS_TRADED, Adjustment.SPLITS: Basis.SPLIT_ADJUSTED, Adjustment.ALL: Basis.FULLY_ADJUSTED}


@dataclass(frozen=True, slots=True)
class BarsQuestion:
    """What is asked. `start` and `end` are half open: dates select session dates, instants select `ts_open`.

    provider   the answer that this provider alone would give; None: the agreed bars
    """

    symbol: str
    interval: str = "1d"
    start: date | datetime | None = None
    end: date | datetime | None = None
    adjustment: Adjustment = Adjustment.NONE
    as_of: datetime | None = None
    known_as_of: datetime | None = None
    provider: str | None = None
