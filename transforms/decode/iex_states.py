"""Columns of IEX messages about trading itself: system and security events, directory, states, halts, restrictions, auctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.binary import Records, letters, micros, prices_e4, repeated, sizes, texts_of, worded

Columns = Callable[[Records], dict[str, pa.Array]]
Fields = list[tuple[str, str]]

_FLAG = pa.bool_()
_SYSTEM = {
    "O": "start_of_messages", "S": "start_of_system_hours", "R": "start_of_regular_hours", "M": "end_of_regular_hours",
    "E": "end_of_system_hours", "C": "end_of_messages",
}  # fmt: skip
_TRADING = {"H": "halted", "O": "order_acceptance", "P": "paused", "T": "trading"}
_SECURITY = {"O": "opening_process_complete", "C": "closing_process_complete"}
_INTEREST = {" ": "none", "A": "buy", "B": "sell", "C": "both"}
_AUCTIONS = {"O": "open", "C": "close", "I": "ipo", "H": "halt", "V": "volatility"}
_SIDES = {"B": "buy", "S": "sell"}
_DIRECTORY: Fields = [("round_lot", "<u4"), ("poc_price", "<i8"), ("luld_tier", "u1")]
_AUCTION: Fields = [
    ("paired", "<u4"), ("reference", "<i8"), ("indicative", "<i8"), ("imbalance", "<u4"), ("side", "u1"), ("extensions", "u1"),
    ("scheduled_s", "<u4"), ("clearing", "<i8"), ("collar", "<i8"), ("lower", "<i8"), ("upper", "<i8"),
]  # fmt: skip


def _by_letter(words: dict[str, Any]) -> dict[int, Any]:
    return {ord(letter): word for letter, word in words.items()}


def _event(kind: str, words: dict[str, str]) -> Columns:
    def columns(records: Records) -> dict[str, pa.Array]:
        return {
            "kind": repeated(kind, len(records)),
            "status": worded(records["code"], _by_letter(words)),
            "code": letters(records["code"]),
        }

    return columns


def _directory(records: Records) -> dict[str, pa.Array]:
    names = ("code", *(name for name, _ in _DIRECTORY))
    told = zip(*(records[name].tolist() for name in names), strict=True)
    details = [
        orjson.dumps(
            {
                "is_test": bool(flags & 0x80),
                "is_when_issued": bool(flags & 0x40),
                "is_etp": bool(flags & 0x20),
                "round_lot": round_lot,
                "luld_tier": tier,
            }
        ).decode()
        for flags, round_lot, _, tier in told
    ]
    return {
        "kind": repeated("listing", len(records)),
        "reference_price": _told_price(records["poc_price"]),
        "detail": pa.array(details, pa.string()),
    }


def _trading(records: Records) -> dict[str, pa.Array]:
    reason = texts_of(records["reason"])
    return _event("trading_status", _TRADING)(records) | {
        "reason": pc.if_else(pc.equal(reason, ""), pa.scalar(None, pa.string()), reason),
        "is_trading": worded(records["code"], _by_letter({"H": False, "O": False, "P": False, "T": True}), _FLAG),
    }


def _halt(records: Records) -> dict[str, pa.Array]:
    is_trading = worded(records["code"], {ord("O"): False}, _FLAG)
    return _event("operational_halt", {"O": "halted", "N": "not_halted"})(records) | {"is_trading": is_trading}


def _short_sale(records: Records) -> dict[str, pa.Array]:
    count = len(records)
    is_restricted = records["code"] != 0
    return {
        "kind": repeated("short_sale", count),
        "status": worded(is_restricted, {0: "not_restricted", 1: "restricted"}),
        "code": pa.array(records["code"]).cast(pa.string()),
        "reason": letters(records["reason"]),
        "is_short_sale_restricted": pa.array(is_restricted),
    }


def _interest(records: Records) -> dict[str, pa.Array]:
    return _event("retail_interest", _INTEREST)(records) | {
        "side": worded(records["code"], _by_letter({"A": "buy", "B": "sell"}))
    }


def _official(records: Records) -> dict[str, pa.Array]:
    return _event("official_price", {"Q": "official_open", "M": "official_close"})(records) | {
        "auction": worded(records["code"], _by_letter({"Q": "open", "M": "close"})),
        "price": _told_price(records["price"]),
    }


def _auction(records: Records) -> dict[str, pa.Array]:
    extras = zip(*(records[name].tolist() for name in ("extensions", "clearing", "collar")), strict=True)
    details = [
        orjson.dumps(
            {"extensions": extensions, "book_clearing_price": _written(clearing), "collar_reference_price": _written(collar)}
        ).decode()
        for extensions, clearing, collar in extras
    ]
    scheduled = records["scheduled_s"].astype(np.int64)
    return {
        "kind": repeated("auction", len(records)),
        "code": letters(records["code"]),
        "auction": worded(records["code"], _by_letter(_AUCTIONS)),
        "size": sizes(records["paired"]),
        "reference_price": _told_price(records["reference"]),
        "indicative_price": _told_price(records["indicative"]),
        "imbalance_size": sizes(records["imbalance"]),
        "side": worded(records["side"], _by_letter(_SIDES)),
        "lower_price": _told_price(records["lower"]),
        "upper_price": _told_price(records["upper"]),
        "ts_effective": pc.if_else(pa.array(scheduled > 0), micros(scheduled * 10**9), pa.scalar(None, micros(scheduled).type)),
        "detail": pa.array(details, pa.string()),
    }


def _told_price(e4: npt.NDArray[np.int64]) -> pa.Array:
    return prices_e4(e4, e4 > 0)


def _written(e4: int) -> str | None:
    """Return a price in ten-thousandths as text; None for 0, which says that there is none."""
    return f"{e4 // 10_000}.{e4 % 10_000:04}" if e4 > 0 else None


KINDS: dict[str, tuple[Fields | None, Columns, tuple[str, ...]]] = {
    "S": (None, _event("system", _SYSTEM), ()),
    "D": (_DIRECTORY, _directory, ("poc_price",)),
    "H": ([("reason", "S4")], _trading, ()),
    "I": ([], _interest, ()),
    "O": ([], _halt, ()),
    "P": ([("reason", "u1")], _short_sale, ()),
    "E": ([], _event("security_event", _SECURITY), ()),
    "X": ([("price", "<i8")], _official, ("price",)),
    "A": (_AUCTION, _auction, ("reference", "indicative", "clearing", "collar", "lower", "upper")),
}
"""Message type -> fields after the symbol (None: no symbol), its columns, and fields that must be prices."""
