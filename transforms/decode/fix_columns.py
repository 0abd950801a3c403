"""Increments of FIX that the kernel read, as whole columns: events of books, and levels of indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from transforms.decode.decoded import BOOK_EVENTS, INDEX_LEVELS, columns_table
from transforms.decode.fix_entries import ORDER_ACTIONS, measure_of
from transforms.decode.fix_message import Fields
from transforms.decode.fix_values import about
from transforms.kernels import fix as kernel
from transforms.kernels.fix_text import NOTHING
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, Int64s, decimals

_UTC_MICROS = pa.timestamp("us", tz="UTC")
_DAY_US = 86_400_000_000
_OFFER, _DELETE, _LEVEL_SCALE = ord("1"), 2, 12


class Columns:
    """The records of one batch, as arrays by name."""

    def __init__(self, found: kernel.Increments, index: Int64s) -> None:
        """Take what the kernel found; `index` is the place in the caller's table of each message it was given."""
        told = np.frombuffer(found.messages.getvalue(), np.int64).reshape(-1, kernel.MESSAGE_FIELDS)
        rows = np.frombuffer(found.entries.getvalue(), np.int64).reshape(-1, kernel.ENTRY_FIELDS)
        self.symbols = [name.decode() for name in found.symbols.seen]
        self.currencies = [name.decode() for name in found.currencies.seen]
        self.parties = [name.decode() for name in found.parties]
        of = rows[:, 0]
        self.message = index[told[of, 0]] if len(rows) else np.zeros(0, np.int64)
        self.sequence, self.party, self.is_index = told[of, 1], told[of, 2], told[of, 5]
        self.sent = told[of, 3]
        self.kind, self.action, self.symbol, self.currency = rows[:, 1], rows[:, 2], rows[:, 3], rows[:, 4]
        self.price, self.size, self.order, self.order_end = rows[:, 5], rows[:, 6], rows[:, 7], rows[:, 8]
        self.net, self.has_net = rows[:, 11], rows[:, 12]
        clock = rows[:, 9]
        has_clock = clock != NOTHING
        self.event = np.where(has_clock, _nearest(self.sent, clock), self.sent)
        self.nanos = np.where(has_clock, rows[:, 10], told[of, 4])
        self.entry = np.arange(len(rows)) - np.searchsorted(of, of)
        before = np.cumsum(self.has_net * self.is_index) - self.has_net * self.is_index
        self.ordinal = self.entry + before - before[np.searchsorted(of, of)] if len(rows) else self.entry

    def book_events(self, data: bytes) -> pa.Table:
        """Return the entries of books; `data` is what the kernel read."""
        at = np.flatnonzero(self.is_index == 0)
        if not len(at):
            return columns_table(BOOK_EVENTS, {})
        order, order_end = self.order[at].tolist(), self.order_end[at].tolist()
        has_order = self.order[at] >= 0
        size = np.where((self.action[at] == _DELETE) & ~has_order, 0, self.size[at])
        actions = np.where(has_order, self.action[at], len(ORDER_ACTIONS))
        names: list[str | None] = [*(ORDER_ACTIONS[str(action)] for action in range(3)), None, None]
        ids = [data[a:b].decode() if a >= 0 else None for a, b in zip(order, order_end, strict=True)]
        return columns_table(
            BOOK_EVENTS,
            {
                **self._shared(at),
                **self._who(at, is_index=False),
                "ts_event_nanos": pa.array(self.nanos[at].astype(np.int32)),
                "channel": _named(self.party[at], self.parties),
                "venue_session": self._sessions(at),
                "sequence": pa.array(self.sequence[at]),
                "event_index": pa.array(self.entry[at].astype(np.int32)),
                "event": pa.repeat(pa.scalar("update"), len(at)),
                "side": _named((self.kind[at] == _OFFER).astype(np.int64), ["buy", "sell"]),
                "price": _told(self.price[at], PRICE_SCALE),
                "size": _told(size, SIZE_SCALE),
                "action": _named(actions, names),
                "order_id": pa.array(ids, pa.string()),
                "ordinal": pa.array(self.ordinal[at].astype(np.int32)),
            },
        )

    def index_levels(self) -> list[pa.Table]:
        """Return the values of indices, and the net changes told with them."""
        at = np.flatnonzero(self.is_index == 1)
        changed = at[self.has_net[at] == 1]
        return [
            self._levels(at, self.price[at], 0),
            self._levels(changed, self.net[changed], 1),
        ]

    def _levels(self, at: Int64s, value: Int64s, after: int) -> pa.Table:
        """Return levels of the entries `at`; `after` their first row for a net change."""
        if not len(at):
            return columns_table(INDEX_LEVELS, {})
        known = pa.array(self.sent[at]).view(_UTC_MICROS)
        kinds, place = np.unique(self.kind[at], return_inverse=True)
        measures = [measure_of(chr(kind)) + ("_net_change" if after else "") for kind in kinds.tolist()]
        return columns_table(
            INDEX_LEVELS,
            {
                **self._shared(at),
                **self._who(at, is_index=True),
                "measure": _named(place, measures),
                "value": decimals(value, 38, _LEVEL_SCALE),
                "known_at": known,
                "delivered_at": known,
                "ordinal": pa.array((self.ordinal[at] + after).astype(np.int32)),
            },
        )

    def _shared(self, at: Int64s) -> dict[str, pa.Array]:
        return {"ts_event": pa.array(self.event[at]).view(_UTC_MICROS), "message_index": pa.array(self.message[at])}

    def _who(self, at: Int64s, *, is_index: bool) -> dict[str, pa.Array]:
        """Return symbol and hints: the same that `about` gives of the same fields."""
        pairs, place = np.unique(self.symbol[at] * (len(self.currencies) + 1) + self.currency[at] + 1, return_inverse=True)
        told = []
        for pair in pairs.tolist():
            symbol, currency = divmod(pair, len(self.currencies) + 1)
            fields = Fields({15: self.currencies[currency - 1].encode()} if currency else {})
            told.append(about(fields, self.symbols[symbol], "index" if is_index else None))
        return {
            name: _named(place, [None if one[name] is None else str(one[name]) for one in told])
            for name in ("symbol", "mic", "asset_class", "exchange_zone", "currency")
        }

    def _sessions(self, at: Int64s) -> pa.Array:
        """Return whose numbers of which day."""
        keys, place = np.unique(self.party[at] * 1_000_000 + self.sent[at] // _DAY_US + 100_000, return_inverse=True)
        days = (keys % 1_000_000 - 100_000).astype("datetime64[D]").astype(str)
        names = [f"{self.parties[key // 1_000_000]}/{day.replace('-', '')}" for key, day in zip(keys.tolist(), days, strict=True)]
        return _named(place, names)


def _nearest(sent: Int64s, clock: Int64s) -> Int64s:
    """Return the instant at which a clock shows `clock`, on the day that brings it nearest to `sent`."""
    at = sent // _DAY_US * _DAY_US + clock
    apart = at - sent
    return np.where(apart >= _DAY_US // 2, at - _DAY_US, np.where(apart < -_DAY_US // 2, at + _DAY_US, at))


def _named(codes: Int64s, names: Sequence[str | None]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(codes))


def _told(scaled: Int64s, scale: int) -> pa.Array:
    """Return decimals, null where a number is not told."""
    is_told = scaled != NOTHING
    found = decimals(np.where(is_told, scaled, 0), 18, scale)
    return found if is_told.all() else found.take(pa.array(np.arange(len(found)), mask=~is_told))
