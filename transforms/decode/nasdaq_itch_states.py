"""Columns of ITCH messages about trading itself: system, directory, states, halts, participants, bands, IPOs, imbalances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.binary import Records, is_size, letters, micros, prices_e4, repeated, sizes, texts_of, worded
from transforms.numbers import Int64s

HEAD: list[tuple[str, str]] = [("type", "u1"), ("locate", ">u2"), ("tracking", ">u2"), ("time_high", ">u2"), ("time_low", ">u4")]
"""What every message begins with."""

Columns = Callable[[Records, Int64s], dict[str, pa.Array]]
Fields = list[tuple[str, str]]

_FLAG = pa.bool_()
_SYSTEM = {
    "O": "start_of_messages", "S": "start_of_system_hours", "Q": "start_of_regular_hours", "M": "end_of_regular_hours",
    "E": "end_of_system_hours", "C": "end_of_messages",
}  # fmt: skip
_TRADING = {"H": "halted", "P": "paused", "Q": "quoting", "T": "trading"}
_SHORT = {"0": "not_restricted", "1": "restricted", "2": "restriction_continued"}
_MAKERS = {"A": "active", "E": "excused", "W": "withdrawn", "S": "suspended", "D": "deleted"}
_AUCTIONS = {"O": "open", "C": "close", "H": "halt", "I": "intraday", "A": "extended"}
_INTEREST = {"B": "buy", "S": "sell", "A": "both", "N": "none"}
_SIDES = {"B": "buy", "S": "sell"}
_SYMBOL: Fields = [("symbol", "S8")]
_DIRECTORY: Fields = [
    ("market_category", "S1"), ("financial_status", "S1"), ("round_lot_size", ">u4"), ("round_lots_only", "S1"),
    ("issue_classification", "S1"), ("issue_sub_type", "S2"), ("authenticity", "S1"), ("short_sale_threshold", "S1"),
    ("ipo_flag", "S1"), ("luld_tier", "S1"), ("etp_flag", "S1"), ("etp_leverage", ">u4"), ("inverse", "S1"),
]  # fmt: skip
_MAKER: Fields = [("mpid", "S4"), ("symbol", "S8"), ("primary_market_maker", "S1"), ("market_maker_mode", "S1"), ("code", "u1")]
_IMBALANCE: Fields = [
    ("paired", ">u8"), ("imbalance", ">u8"), ("side", "u1"), ("symbol", "S8"), ("far", ">u4"), ("near", ">u4"),
    ("reference", ">u4"), ("cross", "u1"), ("variation", "S1"),
]  # fmt: skip
_DIRECT: Fields = [
    ("symbol", "S8"), ("open_eligibility", "S1"), ("minimum", ">u4"), ("maximum", ">u4"), ("near_execution", ">u4"),
    ("near_time", ">u8"), ("lower", ">u4"), ("upper", ">u4"),
]  # fmt: skip


def _by_letter(words: dict[str, Any]) -> dict[int, Any]:
    return {ord(letter): word for letter, word in words.items()}


def _written(value: Any) -> Any:
    return value.decode("latin-1").strip(" \x00") or None if isinstance(value, bytes) else value


def _details(records: Records, names: tuple[str, ...]) -> pa.Array:
    """Return the fields called `names` as JSON, prices left out of them."""
    rows = zip(*(records[name].tolist() for name in names), strict=True)
    found = [orjson.dumps({name: _written(value) for name, value in zip(names, row, strict=True)}).decode() for row in rows]
    return pa.array(found, pa.string())


def _event(kind: str, words: dict[str, str], field: str = "code") -> Columns:
    def columns(records: Records, days: Int64s) -> dict[str, pa.Array]:
        return {
            "kind": repeated(kind, len(records)),
            "status": worded(records[field], _by_letter(words)),
            "code": letters(records[field]),
        }

    return columns


def _directory(records: Records, days: Int64s) -> dict[str, pa.Array]:
    return {"kind": repeated("listing", len(records)), "detail": _details(records, tuple(name for name, _ in _DIRECTORY))}


def _trading(records: Records, days: Int64s) -> dict[str, pa.Array]:
    reason = texts_of(records["reason"])
    return _event("trading_status", _TRADING)(records, days) | {
        "reason": pc.if_else(pc.equal(reason, ""), pa.scalar(None, pa.string()), reason),
        "is_trading": worded(records["code"], _by_letter({"H": False, "P": False, "Q": False, "T": True}), _FLAG),
        "is_quoting": worded(records["code"], _by_letter({"H": False, "P": False, "Q": True, "T": True}), _FLAG),
    }


def _short_sale(records: Records, days: Int64s) -> dict[str, pa.Array]:
    restricted = worded(records["code"], _by_letter({"0": False, "1": True, "2": True}), _FLAG)
    return _event("short_sale", _SHORT)(records, days) | {"is_short_sale_restricted": restricted}


def _maker(records: Records, days: Int64s) -> dict[str, pa.Array]:
    names = ("mpid", "primary_market_maker", "market_maker_mode")
    return _event("participant", _MAKERS)(records, days) | {"detail": _details(records, names)}


def _decline_levels(records: Records, days: Int64s) -> dict[str, pa.Array]:
    rows = zip(*(records[f"level_{number}"].tolist() for number in (1, 2, 3)), strict=True)
    told = [orjson.dumps({f"level_{n}": f"{v // 10**8}.{v % 10**8:08}" for n, v in enumerate(row, 1)}).decode() for row in rows]
    status = repeated("decline_levels", len(records))
    return {"kind": repeated("circuit_breaker", len(records)), "status": status, "detail": pa.array(told, pa.string())}


def _breached(records: Records, days: Int64s) -> dict[str, pa.Array]:
    words = {"1": "level_1_breached", "2": "level_2_breached", "3": "level_3_breached"}
    return _event("circuit_breaker", words)(records, days)


def _ipo(records: Records, days: Int64s) -> dict[str, pa.Array]:
    released = records["release_s"].astype(np.int64)
    told = pa.array((released > 0) & (released < 86_400))
    return _event("ipo", {"A": "anticipated", "C": "canceled"})(records, days) | {
        "price": prices_e4(records["price"], records["price"] > 0),
        "auction": repeated("ipo", len(records)),
        "ts_effective": pc.if_else(told, micros(days + released * 10**9), pa.scalar(None, micros(days).type)),
    }


def _collar(records: Records, days: Int64s) -> dict[str, pa.Array]:
    return {
        "kind": repeated("price_band", len(records)),
        "status": repeated("auction_collar", len(records)),
        "reference_price": prices_e4(records["reference"], records["reference"] > 0),
        "upper_price": prices_e4(records["upper"], records["upper"] > 0),
        "lower_price": prices_e4(records["lower"], records["lower"] > 0),
        "detail": _details(records, ("extension",)),
    }


def _halt(records: Records, days: Int64s) -> dict[str, pa.Array]:
    return _event("operational_halt", {"H": "halted", "T": "trading"})(records, days) | {
        "is_trading": worded(records["code"], _by_letter({"H": False, "T": True}), _FLAG),
        "detail": _details(records, ("market",)),
    }


def _imbalance(records: Records, days: Int64s) -> dict[str, pa.Array]:
    prices = {name: records[name].astype(np.int64) for name in ("far", "near", "reference")}
    rows = zip(prices["far"].tolist(), records["variation"].tolist(), records["side"].tolist(), strict=True)
    told = [
        {
            "far_price": f"{far // 10_000}.{far % 10_000:04}" if far else None,
            "variation": _written(variation),
            "direction": chr(side),
        }
        for far, variation, side in rows
    ]
    return {
        "kind": repeated("auction", len(records)),
        "code": letters(records["cross"]),
        "auction": worded(records["cross"], _by_letter(_AUCTIONS)),
        "size": _units(records, "paired"),
        "imbalance_size": _units(records, "imbalance"),
        "side": worded(records["side"], _by_letter(_SIDES)),
        "indicative_price": prices_e4(prices["near"], prices["near"] > 0),
        "reference_price": prices_e4(prices["reference"], prices["reference"] > 0),
        "detail": pa.array([orjson.dumps(one).decode() for one in told], pa.string()),
    }


def _units(records: Records, name: str) -> pa.Array:
    """Return a size of 8 bytes; null for one beyond any column, which stays in the raw message."""
    told = is_size(records[name])
    return sizes(np.where(told, records[name], 0), told)


def no_cross(records: Records) -> dict[str, pa.Array]:
    """Return columns of crosses in which nothing traded."""
    return {
        "kind": repeated("auction", len(records)),
        "status": repeated("no_cross", len(records)),
        "code": letters(records["cross"]),
        "auction": worded(records["cross"], _by_letter(_AUCTIONS)),
    }


def _direct_listing(records: Records, days: Int64s) -> dict[str, pa.Array]:
    return {
        "kind": repeated("ipo", len(records)),
        "status": repeated("direct_listing", len(records)),
        "indicative_price": prices_e4(records["near_execution"], records["near_execution"] > 0),
        "lower_price": prices_e4(records["lower"], records["lower"] > 0),
        "upper_price": prices_e4(records["upper"], records["upper"] > 0),
        "detail": _details(records, ("open_eligibility", "minimum", "maximum", "near_time")),
    }


KINDS: dict[str, tuple[Fields, Columns]] = {
    "S": ([("code", "u1")], _event("system", _SYSTEM)),
    "R": ([*_SYMBOL, *_DIRECTORY], _directory),
    "H": ([*_SYMBOL, ("code", "u1"), ("reserved", "u1"), ("reason", "S4")], _trading),
    "Y": ([*_SYMBOL, ("code", "u1")], _short_sale),
    "L": (_MAKER, _maker),
    "V": ([("level_1", ">u8"), ("level_2", ">u8"), ("level_3", ">u8")], _decline_levels),
    "W": ([("code", "u1")], _breached),
    "K": ([*_SYMBOL, ("release_s", ">u4"), ("code", "u1"), ("price", ">u4")], _ipo),
    "J": ([*_SYMBOL, ("reference", ">u4"), ("upper", ">u4"), ("lower", ">u4"), ("extension", ">u4")], _collar),
    "h": ([*_SYMBOL, ("market", "S1"), ("code", "u1")], _halt),
    "I": (_IMBALANCE, _imbalance),
    "N": ([*_SYMBOL, ("code", "u1")], _event("retail_interest", _INTEREST)),
    "O": (_DIRECT, _direct_listing),
}
"""Message type -> fields after the head, and its columns."""
