"""Polygon's splits and cash dividends: /v3/reference/splits and /v3/reference/dividends.

`execution_date` is the first session in new shares. `split_to` for `split_from`: 20 for 1. A dividend's `cash_amount` is per
share as declared; types are CD (regular), SC (special), LT and ST (capital gains), all of them cash. An answer may have an
`id`; without one the action is named by symbol, kind, date and amount. A currency not told is US dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from transforms.decode.json_digits import exact, text_of
from transforms.decode.spans import NEW_YORK, day_of
from transforms.numbers import PRICE_SCALE, NumberRefusedError, lowest_terms


def read_action(entry: object, delivered: datetime | None) -> dict[str, object]:
    """Return the row of one entry. Raises NumberRefusedError."""
    if not isinstance(entry, dict):
        raise NumberRefusedError("malformed", entry, "a split or a dividend")
    symbol = text_of(entry.get("ticker"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", entry, "ticker")
    if "ex_dividend_date" in entry:
        return _dividend(symbol, entry, delivered)
    if "execution_date" in entry:
        return _split(symbol, entry, delivered)
    raise NumberRefusedError("unsupported_action", entry, "a split with execution_date or a dividend with ex_dividend_date")


def _split(symbol: str, entry: Mapping[str, object], delivered: datetime | None) -> dict[str, object]:
    ex_date = _needed(entry, "execution_date")
    new, old = lowest_terms(exact(entry.get("split_to"), PRICE_SCALE), exact(entry.get("split_from"), PRICE_SCALE))
    return _shared(symbol, entry, ex_date, delivered, f"{symbol}:split:{ex_date}") | {
        "kind": "split",
        "ratio_new": new,
        "ratio_old": old,
    }


def _dividend(symbol: str, entry: Mapping[str, object], delivered: datetime | None) -> dict[str, object]:
    ex_date = _needed(entry, "ex_dividend_date")
    amount = exact(entry.get("cash_amount"), PRICE_SCALE)
    kind = text_of(entry.get("dividend_type")) or "CD"
    return _shared(symbol, entry, ex_date, delivered, f"{symbol}:{kind}:{ex_date}:{amount.normalize():f}") | {
        "kind": "cash_dividend",
        "amount": amount,
        "share_basis": "as_paid",
        "currency": text_of(entry.get("currency")) or "USD",
        "announcement_date": day_of(entry.get("declaration_date"), "declaration_date"),
        "record_date": day_of(entry.get("record_date"), "record_date"),
        "pay_date": day_of(entry.get("pay_date"), "pay_date"),
    }


def _shared(symbol: str, entry: Mapping[str, object], ex_date: date, delivered: datetime | None, key: str) -> dict[str, object]:
    is_past = delivered is not None and ex_date <= delivered.astimezone(NEW_YORK).date()
    return {
        "symbol": symbol,
        "action_key": text_of(entry.get("id")) or key,
        "ex_date": ex_date,
        "status": "confirmed" if is_past else "announced",
        "delivered_at": delivered,
    }


def _needed(entry: Mapping[str, object], name: str) -> date:
    found = day_of(entry.get(name), name)
    if found is None:
        raise NumberRefusedError("missing_date", entry, name)
    return found
