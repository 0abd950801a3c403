"""Rows of DBN's instrument definitions: terms of options and futures, how a venue trades an instrument, its CFI code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.dbn_batch import Group, Who, prices, stamps
from transforms.decode.dbn_layout import UNDEF_PRICE, UNDEF_STAMP
from transforms.decode.decoded import CLASSIFICATIONS, FUTURES_CONTRACTS, OPTION_CONTRACTS, TRADING_RULES, columns_table
from transforms.numbers import PRICE_SCALE, Int64s, decimals

_OPTIONS = {ord("C"): "call", ord("P"): "put"}
_FUTURES = tuple(map(ord, "FSMT"))
_KINDS = {ord("K"): "equity", ord("B"): "bond", ord("X"): "fx", ord("Y"): "commodity"}
_UNDEF_LOT = 2**31 - 1
_AMOUNT = pa.decimal128(38, 18)
_DELETED = ord("D")
_OPTION_SLOT, _FUTURE_SLOT, _RULE_SLOT, _CLASS_SLOT = 0, 0, 0, 1


def definitions(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return what definitions tell, known from their receipt on; each gives one row of terms or rules, and its CFI code."""
    kinds = group.records["instrument_class"]
    is_option = np.isin(kinds, tuple(_OPTIONS)) & (group.records["strike_price"] != UNDEF_PRICE)
    is_option &= group.records["expiration"] != UNDEF_STAMP
    is_future = np.isin(kinds, _FUTURES) & ~is_option
    is_other = ~is_option & ~is_future
    told: dict[str, pa.Table] = {}
    for table, mask, read in (
        (OPTION_CONTRACTS, is_option, _options),
        (FUTURES_CONTRACTS, is_future, _futures),
        (TRADING_RULES, is_other, _rules),
        (CLASSIFICATIONS, _bytes(group.records["cfi"]) != b"", _classes),
    ):
        if mask.any():
            some = group.of(mask)
            told[table] = columns_table(table, read(some, Who(who.codes[mask], who.places)))
    return told


def _options(group: Group, who: Who) -> dict[str, pa.Array]:
    found = group.records
    underlying = _texts(found["underlying"])
    return {
        **_named(group, who),
        **_facts(group, _OPTION_SLOT),
        "underlying": pc.coalesce(underlying, _texts(found["asset"]), _texts(found["raw_symbol"])),
        "expiry_date": _dates(found["expiration"]),
        "option_right": pa.array(["call", "put"]).take(pa.array((found["instrument_class"] == ord("P")).astype(np.int64))),
        "strike": prices(found["strike_price"]),
        "multiplier": _amount(found["unit_of_measure_qty"]),
    }


def _futures(group: Group, who: Who) -> dict[str, pa.Array]:
    found = group.records
    return {
        "mic": who.texts([publisher.mic for _, publisher in who.places]),
        "exchange_zone": who.texts([publisher.zone for _, publisher in who.places]),
        "currency": _texts(found["currency"]),
        **_facts(group, _FUTURE_SLOT),
        "market": who.texts([publisher.venue for _, publisher in who.places]),
        "product": pc.coalesce(_texts(found["asset"]), _symbols(group, who)),
        "contract": _symbols(group, who),
        "expiry_date": _dates(found["expiration"]),
        "multiplier": _amount(found["unit_of_measure_qty"]),
        "tick_size": _amount(found["min_price_increment"]),
        "legs": pa.array(_legs(group), pa.string()),
        "description": _texts(found["security_type"]),
    }


def _rules(group: Group, who: Who) -> dict[str, pa.Array]:
    found = group.records
    kinds = found["instrument_class"]
    words = [_KINDS.get(code, "other") for code in range(256)]
    return {
        "mic": who.texts([publisher.mic for _, publisher in who.places]),
        "exchange_zone": who.texts([publisher.zone for _, publisher in who.places]),
        "currency": _texts(found["currency"]),
        **_facts(group, _RULE_SLOT),
        "market": who.texts([publisher.venue for _, publisher in who.places]),
        "product_kind": pa.array(words).take(pa.array(kinds.astype(np.int64))),
        "product": _symbols(group, who),
        "description": _texts(found["security_type"]),
        "tick_size": _amount(found["min_price_increment"]),
        "lot_size": _lots(found["min_lot_size"]).cast(_AMOUNT),
        "round_lot": _lots(found["min_lot_size_round_lot"]),
    }


def _classes(group: Group, who: Who) -> dict[str, pa.Array]:
    count = len(group.records)
    return {
        **_named(group, who),
        **_facts(group, _CLASS_SLOT),
        "scheme": pa.repeat("cfi", count),
        "level": pa.repeat("cfi", count),
        "label": _texts(group.records["cfi"]),
    }


def _facts(group: Group, slot: int) -> dict[str, pa.Array]:
    """Return since when the terms hold, until when, and when they were known; a deletion ends them on its day."""
    found = group.records
    ends = np.where(found["security_update_action"] == _DELETED, group.index_ns(), np.uint64(UNDEF_STAMP))
    activation = found["activation"]
    return {
        "start_date": _dates(np.where(activation == 0, np.uint64(UNDEF_STAMP), activation)),
        "end_date": _dates(ends),
        "known_at": stamps(group.index_ns()),
        **group.place(slot),
    }


def _named(group: Group, who: Who) -> dict[str, pa.Array]:
    return {**who.columns(), "symbol": _symbols(group, who), "currency": _texts(group.records["currency"])}


def _symbols(group: Group, who: Who) -> pa.Array:
    """Return the definition's own symbol, else the one that the file maps its number to."""
    return pc.coalesce(_texts(group.records["raw_symbol"]), who.columns()["symbol"])


def _legs(group: Group) -> list[str | None]:
    """Return the legs of each spread as `ratio symbol`, bought ones positive; each record of DBN 3 tells one of them."""
    found = group.records
    if "leg_count" not in (found.dtype.names or ()):
        return [None] * len(found)
    told: dict[tuple[int, int], dict[int, str]] = {}
    keys: list[tuple[int, int] | None] = []
    names = _texts(found["leg_raw_symbol"]).to_pylist()
    for number, record in enumerate(found):
        if not record["leg_count"]:
            keys.append(None)
            continue
        key = (int(record["instrument_id"]), int(record["ts_recv"]))
        sign = "-" if record["leg_side"] == ord("A") else ""
        told.setdefault(key, {})[int(record["leg_index"])] = f"{sign}{int(record['leg_ratio_qty_numerator'])} {names[number]}"
        keys.append(key)
    whole = {key: ", ".join(legs[index] for index in sorted(legs)) for key, legs in told.items()}
    return [None if key is None else whole[key] for key in keys]


def _bytes(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(values)


def _texts(values: npt.NDArray[Any]) -> pa.Array:
    """Return texts without what follows their first zero byte; an empty one is null."""
    distinct, index = np.unique(_bytes(values), return_inverse=True)
    words = [bytes(word).split(b"\0")[0].decode("utf-8", "replace").strip() or None for word in distinct.tolist()]
    return pa.array(words, pa.string()).take(pa.array(index.reshape(-1)))


def _dates(ns: npt.NDArray[np.uint64]) -> pa.Array:
    return stamps(ns).cast(pa.timestamp("us")).cast(pa.date32(), safe=False)


def _amount(values: Int64s) -> pa.Array:
    """Return amounts in units of 1e-9; the undefined one is null."""
    whole = decimals(values.astype(np.int64), 19, PRICE_SCALE).cast(_AMOUNT)
    return pc.if_else(pa.array(values != UNDEF_PRICE), whole, pa.scalar(None, _AMOUNT))


def _lots(values: npt.NDArray[np.int32]) -> pa.Array:
    whole = pa.array(values.astype(np.int64))
    return pc.if_else(pa.array(values != _UNDEF_LOT), whole, pa.scalar(None, pa.int64()))
