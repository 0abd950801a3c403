"""Rates between any two currencies from those that sources publish: told, turned round, or through a third currency.

A source publishes its rates of one instant together (the ECB: forty-one against the euro), and only rates of one source and
instant are combined. Everything is exact until the one rounding of the answer, and the answer names each rate it was made of:
which one, of which source, known since when. No rate is carried forward: an instant without one has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.errors import InvalidValueError, NotFoundError
from lake.values import event_id
from transforms.calendars import STAMP
from transforms.exact import fits, from_unscaled, half_even

RATE_SCALE = 12
RATE_TYPE = pa.decimal128(28, RATE_SCALE)
AMOUNT_TYPE = pa.decimal128(38, RATE_SCALE)
PIVOTS = ("EUR", "USD")
"""Third currencies in the order they are tried; then any other, by its code."""
MINOR_UNITS = {"GBX": ("GBP", 100), "GBp": ("GBP", 100), "ZAc": ("ZAR", 100), "ILA": ("ILS", 100)}
"""Codes of minor units -> their currency, and how many of them one unit has."""
SCHEMA = pa.schema(
    [
        ("base_currency", pa.string()),
        ("quote_currency", pa.string()),
        ("session_date", pa.date32()),
        ("ts_event", STAMP),
        ("known_at", STAMP),
        ("rate", RATE_TYPE),
        ("amount", AMOUNT_TYPE),
        ("converted", AMOUNT_TYPE),
        ("method", pa.string()),
        ("rate_kind", pa.string()),
        ("provider", pa.string()),
        ("feed", pa.string()),
        ("rates_used", pa.list_(pa.string())),
        ("event_ids", pa.list_(pa.string())),
    ]
)
"""method: same, direct, inverse, or `via EUR`; rates_used like `ECB:EURUSD 1.1684`, event_ids in the same order."""

_Pair = tuple[str, str]
_Moment = tuple[str, str, str, str, datetime]


@dataclass(frozen=True, slots=True)
class _Leg:
    """A rate of the table and how it is used: as it stands, or turned round."""

    row: Mapping[str, Any]
    is_inverse: bool

    @property
    def rate(self) -> Fraction:
        told = Fraction(self.row["rate"])
        return 1 / told if self.is_inverse else told


def currency_of(code: str) -> tuple[str, int]:
    """Return a code's currency and how many of it one unit is: GBX is (GBP, 100). Raises InvalidValueError for no code."""
    found = MINOR_UNITS.get(code) or MINOR_UNITS.get(code.upper()) or (code.upper(), 1)
    if len(found[0]) != 3 or not found[0].isascii() or not found[0].isalpha():
        raise InvalidValueError(f"currency {code!r}; expected an ISO 4217 code like EUR, or a minor unit like GBX")
    return found


def cross_rates(rates: pa.Table, base: str, quote: str, amount: Decimal | None = None) -> pa.Table:
    """Return the rate of one unit of `base` in `quote` (SCHEMA) for each source and instant that tells it, by time.

    rates    rows of normalized.fx_rates, any order, the newest version of each
    amount   of base, converted by the unrounded rate; null columns without

    Rates and amounts are rounded once, half to even, to 12 places. Raises InvalidValueError for a code that is none, and for
    what does not fit the columns.
    """
    (major, parts), (wanted, wanted_parts) = currency_of(base), currency_of(quote)
    unit = Fraction(wanted_parts, parts)
    rows = []
    for moment, known in sorted(_by_moment(about(rates, [major, wanted])).items(), key=lambda one: (one[0][-1], one[0])):
        legs = _legs(known, major, wanted)
        if legs is not None:
            rows.append(_row(moment, legs, (base, quote), unit, amount))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def about(rates: pa.Table, codes: Sequence[str]) -> pa.Table:
    """Return the rates that have one of some currencies on either side."""
    asked = pa.array(codes, pa.string())
    return rates.filter(pc.or_(*(pc.is_in(rates[name], value_set=asked) for name in ("base_currency", "quote_currency"))))


def all_crosses(rates: pa.Table, quotes: Sequence[str] | None = None) -> pa.Table:
    """Return the rates between all currencies of `rates`, or of each one in `quotes`, as `cross_rates` does."""
    rows = []
    for moment, known in sorted(_by_moment(rates).items(), key=lambda one: (one[0][-1], one[0])):
        codes = sorted({code for pair in known for code in pair})
        for base in codes:
            for quote in codes if quotes is None else quotes:
                legs = _legs(known, base, quote) if base != quote else None
                if legs is not None:
                    rows.append(_row(moment, legs, (base, quote), Fraction(1), None))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def newest(rates: pa.Table) -> pa.Table:
    """Return of each source, symbol and instant the version known last."""
    best: dict[tuple[object, ...], tuple[datetime, int]] = {}
    names = ("provider", "feed", "symbol", "rate_kind", "ts_event")
    keys = zip(*(rates[name].to_pylist() for name in names), strict=True)
    for number, (key, known) in enumerate(zip(keys, rates["known_at"].to_pylist(), strict=True)):
        if key not in best or best[key][0] <= known:
            best[key] = (known, number)
    return rates.take(pa.array(sorted(number for _, number in best.values()), pa.int64()))


def last_rates(crosses: pa.Table) -> pa.Table:
    """Return the rows of the last instant of each source. Raises NotFoundError when there is none."""
    if not crosses.num_rows:
        raise NotFoundError("no source tells a rate between these currencies, nor rates through a third one")
    last = crosses.group_by(["provider", "feed", "rate_kind"]).aggregate([("ts_event", "max")])
    wanted = {tuple(row.values()) for row in last.select(["provider", "feed", "rate_kind", "ts_event_max"]).to_pylist()}
    keys = zip(*(crosses[name].to_pylist() for name in ("provider", "feed", "rate_kind", "ts_event")), strict=True)
    return crosses.filter(pa.array([key in wanted for key in keys], pa.bool_()))


def _by_moment(rates: pa.Table) -> dict[_Moment, dict[_Pair, Mapping[str, Any]]]:
    """Return what each source told at each instant: pair -> row."""
    found: dict[_Moment, dict[_Pair, Mapping[str, Any]]] = {}
    for row in rates.to_pylist():
        source = row["symbol"].rpartition(":")[0]
        moment = (row["provider"], row["feed"], source, row["rate_kind"], row["ts_event"])
        found.setdefault(moment, {})[row["base_currency"], row["quote_currency"]] = row
    return found


def _legs(known: Mapping[_Pair, Mapping[str, Any]], base: str, quote: str) -> list[_Leg] | None:
    """Return the rates to multiply; none for a currency against itself, None where nothing tells it."""
    if base == quote:
        return [] if any(base in pair for pair in known) else None
    straight = _leg(known, base, quote)
    if straight is not None:
        return [straight]
    others = sorted({code for pair in known for code in pair} - {*PIVOTS, base, quote})
    for pivot in (*PIVOTS, *others):
        first, second = _leg(known, base, pivot), _leg(known, pivot, quote)
        if first is not None and second is not None:
            return [first, second]
    return None


def _leg(known: Mapping[_Pair, Mapping[str, Any]], base: str, quote: str) -> _Leg | None:
    if (base, quote) in known:
        return _Leg(known[base, quote], False)
    return _Leg(known[quote, base], True) if (quote, base) in known else None


def _row(moment: _Moment, legs: list[_Leg], named: _Pair, unit: Fraction, amount: Decimal | None) -> dict[str, Any]:
    rate = unit
    for leg in legs:
        rate *= leg.rate
    provider, feed, _, rate_kind, at = moment
    told = None if amount is None else Fraction(amount)
    return {
        "base_currency": named[0],
        "quote_currency": named[1],
        "session_date": _last([leg.row["session_date"] for leg in legs]) or at.date(),
        "ts_event": at,
        "known_at": _last([leg.row["known_at"] for leg in legs]) or at,
        "rate": _rounded(rate, RATE_TYPE, "rate"),
        "amount": None if told is None else _rounded(told, AMOUNT_TYPE, "amount"),
        "converted": None if told is None else _rounded(told * rate, AMOUNT_TYPE, "amount"),
        "method": _method(legs),
        "rate_kind": rate_kind,
        "provider": provider,
        "feed": feed,
        "rates_used": [f"{leg.row['symbol']} {format(leg.row['rate'].normalize(), 'f')}" for leg in legs],
        "event_ids": [event_id(leg.row["capture_id"], leg.row["message_seq"], leg.row["ordinal"]) for leg in legs],
    }


def _last(values: list[Any]) -> Any:
    return max(values, default=None)


def _method(legs: list[_Leg]) -> str:
    if len(legs) < 2:
        return "same" if not legs else "inverse" if legs[0].is_inverse else "direct"
    first = legs[0]
    return f"via {first.row['base_currency' if first.is_inverse else 'quote_currency']}"


def _rounded(value: Fraction, kind: pa.Decimal128Type, what: str) -> Decimal:
    units = half_even(value.numerator * 10**RATE_SCALE, value.denominator)
    if not fits(units, kind):
        raise InvalidValueError(f"{what} does not fit {kind}: it has {len(str(abs(units)))} digits")
    found: Decimal = from_unscaled([units], kind)[0].as_py()
    return found
