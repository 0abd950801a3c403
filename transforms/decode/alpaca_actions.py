"""Alpaca's corporate actions and announcements: splits and cash dividends into rows, every other kind refused by its name.

`ex_date` is the adjustment date; `payable_date` may fall a day earlier on forward splits and is only kept. Rates are exact
digits; a dividend's `rate` is per share as paid. Alpaca tells no declaration date. Source: PROVIDERS.md section 6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from transforms.decode.decoded import CORPORATE_ACTIONS
from transforms.decode.json_digits import Digits, exact, text_of
from transforms.decode.readers import Reader
from transforms.numbers import PRICE_SCALE, NumberRefusedError, lowest_terms

ACTIONS_KEY = "corporate_actions"
_SPLITS = frozenset({"forward_splits", "reverse_splits"})
_DIVIDENDS = "cash_dividends"
_ANNOUNCED = {
    ("dividend", "cash"): _DIVIDENDS,
    ("split", "split"): "forward_splits",
    ("split", "stock_split"): "forward_splits",
    ("split", "reverse_split"): "reverse_splits",
}
_NUMBER_TEXT = re.compile(r"\d{1,18}(\.\d{1,18})?\Z")
_NEW_YORK = ZoneInfo("America/New_York")


def read_actions(reader: Reader, by_kind: Mapping[str, object]) -> None:
    """Append the actions of one answer; each takes one ordinal. Raises NumberRefusedError when a kind is not a list."""
    for kind, entries in by_kind.items():
        if entries is None:
            continue
        if not isinstance(entries, list):
            raise NumberRefusedError("malformed", {kind: entries}, "lists of actions by kind")
        for entry in entries:
            reader.add(CORPORATE_ACTIONS, _action, kind, entry, reader.delivered)


def read_announcements(reader: Reader, entries: list[object]) -> None:
    """Append the announcements of the trading API (/v2/corporate_actions/announcements); each takes one ordinal.

    Their numbers are text, and an id may come again with less: the corporate action's id and its date name them.
    """
    for entry in entries:
        reader.add(CORPORATE_ACTIONS, _announced, entry, reader.delivered)


def _announced(entry: object, delivered: datetime | None) -> dict[str, object]:
    told = entry if isinstance(entry, dict) else {}
    kind = _ANNOUNCED.get((str(told.get("ca_type")), str(told.get("ca_sub_type"))))
    if kind is None:
        raise NumberRefusedError("unsupported_action", entry, "a cash dividend, a split or a reverse split")
    numbers = {
        name: _number(told.get(old)) for name, old in (("rate", "cash"), ("new_rate", "new_rate"), ("old_rate", "old_rate"))
    }
    identifier = text_of(told.get("corporate_action_id"))
    known = {**told, **numbers} if kind in _SPLITS else {**told, "rate": numbers["rate"]}
    key = None if identifier is None else f"{identifier}:{told.get('ex_date')}"
    row = _action(kind, known | {"symbol": told.get("target_symbol") or told.get("initiating_symbol"), "id": key}, delivered)
    return row | {"announcement_date": _day(told, "declaration_date")}


def _number(value: object) -> object:
    is_number = isinstance(value, str) and not isinstance(value, Digits) and _NUMBER_TEXT.match(value)
    return Digits(value) if is_number else value


def _action(kind: str, entry: object, delivered: datetime | None) -> dict[str, object]:
    if kind not in _SPLITS and kind != _DIVIDENDS:
        raise NumberRefusedError("unsupported_action", f"{kind}: {entry}", "forward_splits, reverse_splits, cash_dividends")
    if not isinstance(entry, dict):
        raise NumberRefusedError("malformed", entry, "an object")
    symbol, ex_date = text_of(entry.get("symbol")), _day(entry, "ex_date")
    if symbol is None:
        raise NumberRefusedError("missing_symbol", entry, "symbol")
    if ex_date is None:
        raise NumberRefusedError("missing_date", entry, "ex_date")
    is_past = delivered is not None and ex_date <= delivered.astimezone(_NEW_YORK).date()
    action: dict[str, object] = {
        "symbol": symbol,
        "action_key": text_of(entry.get("id")) or f"{symbol}:{kind}:{ex_date}",
        "ex_date": ex_date,
        "record_date": _day(entry, "record_date"),
        "pay_date": _day(entry, "payable_date"),
        "status": "confirmed" if is_past else "announced",
        "delivered_at": delivered,
    }
    if kind == _DIVIDENDS:
        amount = exact(entry.get("rate"), PRICE_SCALE)
        currency = None if entry.get("foreign") is True else "USD"  # in which currency a foreign rate is paid is not told
        return action | {"kind": "cash_dividend", "amount": amount, "share_basis": "as_paid", "currency": currency}
    new, old = lowest_terms(exact(entry.get("new_rate"), PRICE_SCALE), exact(entry.get("old_rate"), PRICE_SCALE))
    return action | {"kind": "split", "ratio_new": new, "ratio_old": old}


def _day(entry: Mapping[str, object], name: str) -> date | None:
    told = entry.get(name)
    if told is None or told == "":
        return None
    try:
        found = date.fromisoformat(str(told))
    except ValueError:
        found = None
    if found is None or not 1900 <= found.year <= 2199:
        raise NumberRefusedError("date", f"{name}: {told}", "a date like 2023-08-22")
    return found
