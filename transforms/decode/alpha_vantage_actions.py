"""Alpha Vantage's DIVIDENDS and SPLITS, and the ratio that a rounded split coefficient stands for.

An amount or ex-date that is not told ("None") is refused. Source: Alpha Vantage's documentation; bodies made by hand in its form.
"""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction

from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import text_of
from transforms.decode.readers import Object, Row, object_of
from transforms.decode.spans import NEW_YORK, day_of
from transforms.numbers import PRICE_SCALE, NumberRefusedError, exact_decimal, lowest_terms

_SMALL = 20
"""Split ratios have a side up to this; a coefficient is the nearest such ratio within its last digit."""


def read_action(symbol: object, entry: object, delivered: datetime | None) -> Row:
    """Return the row of an entry of DIVIDENDS or SPLITS. Raises NumberRefusedError."""
    told, name = object_of(entry), text_of(symbol)
    if name is None:
        raise NumberRefusedError("missing_symbol", symbol, "symbol")
    is_split = "split_factor" in told
    ex_date = _day(told, "effective_date" if is_split else "ex_dividend_date")
    if ex_date is None:
        raise NumberRefusedError("missing_date", told, "effective_date of a split or ex_dividend_date")
    is_past = delivered is not None and ex_date <= delivered.astimezone(NEW_YORK).date()
    row = hints(name) | {
        "symbol": name,
        "action_key": f"{name}:{'split' if is_split else 'dividend'}:{ex_date}",
        "ex_date": ex_date,
        "status": "confirmed" if is_past else "announced",
        "delivered_at": delivered,
    }
    if is_split:
        new, old = split_ratio(str(text_of(told["split_factor"])))
        return row | {"kind": "split", "ratio_new": new, "ratio_old": old}
    return row | {
        "kind": "cash_dividend",
        "amount": exact_decimal(told.get("amount"), PRICE_SCALE),
        "share_basis": "as_paid",
        "announcement_date": _day(told, "declaration_date"),
        "record_date": _day(told, "record_date"),
        "pay_date": _day(told, "payment_date"),
    }


def _day(told: Object, name: str) -> date | None:
    return None if told.get(name) in ("None", "0000-00-00") else day_of(told.get(name), name)


def split_ratio(text: str) -> tuple[int, int]:
    """Return (new, old) of a split coefficient: 0.3333 is 1:3, 1.5000 3:2, 1.0050 201:200.

    The ratio with a side of at most 20 and the least sum that rounds to the digits given; the digits themselves where there is
    none. Raises NumberRefusedError for what is no positive number.
    """
    exact = exact_decimal(text, PRICE_SCALE)
    whole = lowest_terms(exact, 1)
    if min(whole) <= _SMALL:
        return whole
    half = Fraction(1, 2 * 10 ** len(text.partition(".")[2]))
    value = Fraction(exact)
    tried = [(side, round(side / value)) for side in range(1, _SMALL + 1)]
    tried += [(round(side * value), side) for side in range(1, _SMALL + 1)]
    near = [(new, old) for new, old in tried if new > 0 and old > 0 and abs(Fraction(new, old) - value) <= half]
    return min(near, key=sum, default=whole)
