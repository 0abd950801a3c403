"""Definitions of FIX: SecurityDefinition (d), SecurityList (y): one listing an instrument, and the terms of options and futures.

The definitions are the entries of a list's NoRelatedSym; of a definition its own instrument, or, where it names none, the entries
of NoUnderlyings (ICE lists its markets so). What an entry tells beyond our columns stays in the listing's `detail`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from transforms.decode.decoded import FUTURES_CONTRACTS, OPTION_CONTRACTS, STATUS_EVENTS
from transforms.decode.fix_entries import Place, Row, detail_of
from transforms.decode.fix_message import Fields
from transforms.decode.fix_values import CFI_CODE, SECURITY_DESC, SYMBOL, about, asset_class_of, day, expiry_of, stamp, symbol_of
from transforms.numbers import PRICE_SCALE, NumberRefusedError, exact_decimal

_RELATED, _UNDERLYINGS, _LEGS = 146, 711, 555
_NAMES = (55, 48)
_UNDERLYING_FIELDS = {
    311: 55, 309: 48, 305: 22, 307: 107, 308: 207, 318: 15, 542: 541, 436: 231, 463: 461, 310: 167, 462: 460, 313: 200, 314: 205,
    315: 201, 316: 202,
}  # fmt: skip
"""Fields of an underlying -> those of an instrument that say the same."""
_MATURITY_DATE, _MATURITY_MONTH, _MATURITY_DAY, _STRIKE, _PUT_OR_CALL, _MULTIPLIER = 541, 200, 205, 202, 201, 231
_STYLE, _STEP, _CME_STEP, _GROUP, _SECURITY_STATUS, _UPDATED, _ACTIVATED = 1194, 969, 9787, 1151, 965, 779, 1145
_RATIO, _LEG_SYMBOL, _LEG_ID = 623, 600, 602
_AMOUNT_SCALE, _AMOUNT_DIGITS = 18, 38
_RIGHTS = {"0": "put", "1": "call"}
_STYLES = {"0": "european", "1": "american"}
_STATES = {"1": "active", "2": "inactive"}


def definitions_of(kind: str, body: Fields) -> list[Fields]:
    """Return the definitions of a message, each as the fields of its instrument."""
    if kind == "y" or (_RELATED in body.groups and not any(tag in body.values for tag in _NAMES)):
        return body.groups.get(_RELATED, [])
    if any(tag in body.values for tag in (*_NAMES, SECURITY_DESC)) or _UNDERLYINGS not in body.groups:
        return [body]
    return [_as_instrument(entry) for entry in body.groups[_UNDERLYINGS]]


def _as_instrument(entry: Fields) -> Fields:
    values = {_UNDERLYING_FIELDS[tag]: value for tag, value in entry.values.items() if tag in _UNDERLYING_FIELDS}
    return Fields({**entry.values, **values}, entry.groups, {_UNDERLYING_FIELDS.get(tag, tag) for tag in entry.twice})


def definition_rows(place: Place, entry: Fields, at: tuple[datetime, int] | None) -> Iterator[tuple[str, Row]]:
    """Yield (table, row) of one definition. Raises NumberRefusedError for one that names no instrument."""
    symbol = symbol_of(entry)
    kind = "option" if _is_option(entry) else asset_class_of(entry, symbol)
    who = about(entry, symbol, kind)
    told = entry.text(SECURITY_DESC)
    who["name"] = told if told != symbol else None
    state = entry.text(_SECURITY_STATUS)
    yield (
        STATUS_EVENTS,
        who
        | place.at(at)
        | {
            "channel": place.channel,
            "venue_session": place.session,
            "kind": "listing",
            "status": _STATES.get(state or "", "defined"),
            "code": state,
            "detail": detail_of(entry),
        },
    )
    if at is None:
        raise NumberRefusedError("timestamp", None, "52 or 60: when it was known")
    known: Row = {"known_at": at[0], "delivered_at": at[0]}
    if kind == "option":
        yield OPTION_CONTRACTS, who | known | _option(entry, symbol)
    elif kind == "future":
        named = {name: who[name] for name in ("mic", "currency", "exchange_zone")}
        yield FUTURES_CONTRACTS, named | known | _future(place, entry, symbol)


def _is_option(entry: Fields) -> bool:
    return entry.text(_STRIKE) is not None and (_right(entry) is not None)


def _right(entry: Fields) -> str | None:
    told = _RIGHTS.get(entry.text(_PUT_OR_CALL) or "")
    code = entry.text(CFI_CODE) or ""
    return told or ({"C": "call", "P": "put"}.get(code[1:2]) if code.startswith("O") else None)


def _option(entry: Fields, symbol: str) -> Row:
    expiry = expiry_of(entry, _MATURITY_DATE, _MATURITY_MONTH, _MATURITY_DAY) or _ends(entry)
    if expiry is None:
        raise NumberRefusedError("malformed_date", entry.text(_MATURITY_MONTH), "541, or 200 and 205: the day of maturity")
    underlyings = entry.groups.get(_UNDERLYINGS, [])
    named = underlyings[0].text(311) or underlyings[0].text(309) if underlyings else None
    return {
        "underlying": named or entry.text(_GROUP) or entry.text(SYMBOL) or symbol,
        "expiry_date": expiry,
        "option_right": _right(entry),
        "strike": exact_decimal(entry.text(_STRIKE), PRICE_SCALE),
        "exercise_style": _STYLES.get(entry.text(_STYLE) or ""),
        "multiplier": _amount(entry, _MULTIPLIER),
    }


def _future(place: Place, entry: Fields, symbol: str) -> Row:
    legs = [
        f"{leg.text(_RATIO) or '1'} {leg.text(_LEG_SYMBOL) or leg.text(_LEG_ID) or '?'}" for leg in entry.groups.get(_LEGS, [])
    ]
    group = entry.text(SYMBOL)
    return {
        "market": entry.text(207) or place.channel,
        "product": entry.text(_GROUP) or (group if group not in (None, symbol) else None) or symbol,
        "contract": symbol,
        "expiry_date": expiry_of(entry, _MATURITY_DATE, _MATURITY_MONTH, _MATURITY_DAY) or _ends(entry),
        "multiplier": _amount(entry, _MULTIPLIER),
        "tick_size": _amount(entry, _STEP) if entry.text(_STEP) is not None else None,
        "legs": ",".join(legs) or None,
        "description": entry.text(SECURITY_DESC),
    }


def _ends(entry: Fields) -> object:
    """Return the day that ends trading, among the events (865: 7 last eligible trade, 6 maturity); None where none is told."""
    for event in entry.groups.get(864, []):
        if event.text(865) in ("7", "6"):
            found = day(event, 866) if event.text(866) is not None else None
            moment = None if found is not None else stamp(event, _ACTIVATED)
            return found if moment is None else moment[0].date()
    return None


def _amount(entry: Fields, tag: int) -> Decimal | None:
    text = entry.text(tag)
    return None if text is None else exact_decimal(text, _AMOUNT_SCALE, _AMOUNT_DIGITS)
