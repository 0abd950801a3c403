"""What happens in the market on a simulated day: the trades of each symbol, a pure function of (seed, symbol).

Every provider tells of the same market, each in its own words and with ids of its own, so that one can fill what another
lost and their bars agree. Prices move in cents, times lie whole milliseconds apart.
"""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass

NANOS_PER_MILLI = 1_000_000
MINUTE_NS = 60_000_000_000
_FIRST_CENTS = {"AAPL": 19_500, "MSFT": 41_000, "BTCUSDT": 6_183_763}


@dataclass(frozen=True, slots=True)
class Day:
    """A trading day: `[open_ns, close_ns)`, and how many trades a minute each symbol has."""

    seed: int
    open_ns: int
    close_ns: int
    symbols: tuple[str, ...]
    trades_a_minute: float = 30.0


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade: its number in the tape from 0, time, price in cents and size in units."""

    number: int
    ts_ns: int
    cents: int
    size: int

    @property
    def price(self) -> float:
        """The price in the unit of the currency; exact in cents."""
        return self.cents / 100

    @property
    def ts_ms(self) -> int:
        """Milliseconds since the epoch, exact."""
        return self.ts_ns // NANOS_PER_MILLI


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute of a tape: its open instant, prices in cents, volume and number of trades."""

    open_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    count: int


class Tape:
    """The trades of one symbol over a day, in order of time."""

    def __init__(self, day: Day, symbol: str) -> None:
        self.symbol = symbol
        rng = random.Random(f"{day.seed}/{symbol}")  # a market, no secret
        minutes = (day.close_ns - day.open_ns) / MINUTE_NS
        count = max(1, round(minutes * day.trades_a_minute))
        first_ms, last_ms = day.open_ns // NANOS_PER_MILLI, day.close_ns // NANOS_PER_MILLI
        times = sorted(rng.sample(range(first_ms, last_ms), count))
        cents = _FIRST_CENTS.get(symbol, 10_000)
        trades = []
        for number, ts_ms in enumerate(times):
            cents = max(100, cents + rng.choice((-3, -2, -1, -1, 0, 0, 1, 1, 2, 3)))
            trades.append(Trade(number, ts_ms * NANOS_PER_MILLI, cents, rng.choice((1, 2, 5, 10, 100, 200))))
        self.trades: tuple[Trade, ...] = tuple(trades)
        self._times = [trade.ts_ns for trade in trades]

    def before(self, ts_ns: int) -> int:
        """Return how many trades lie before an instant."""
        return bisect.bisect_left(self._times, ts_ns)

    def between(self, start_ns: int, end_ns: int) -> tuple[Trade, ...]:
        """Return the trades of `[start_ns, end_ns)`."""
        return self.trades[self.before(start_ns) : self.before(end_ns)]

    def minutes(self, start_ns: int, end_ns: int) -> list[Bar]:
        """Return the minutes that begin in `[start_ns, end_ns)` and have trades."""
        bars: list[Bar] = []
        for trade in self.between(start_ns // MINUTE_NS * MINUTE_NS, -(-end_ns // MINUTE_NS) * MINUTE_NS):
            opened = trade.ts_ns // MINUTE_NS * MINUTE_NS
            if not start_ns <= opened < end_ns:
                continue
            if not bars or bars[-1].open_ns != opened:
                bars.append(Bar(opened, trade.cents, trade.cents, trade.cents, trade.cents, trade.size, 1))
                continue
            last = bars[-1]
            high, low = max(last.high, trade.cents), min(last.low, trade.cents)
            bars[-1] = Bar(opened, last.open, high, low, trade.cents, last.volume + trade.size, last.count + 1)
        return bars
