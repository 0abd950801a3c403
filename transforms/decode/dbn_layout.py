"""The records of DBN 1 to 3: kinds, lengths, fields. Little-endian, no gaps, told apart by kind and length.

A record begins with its length in words of four bytes, its kind (`rtype`), publisher and instrument. What a version changed
changed the length too, so (kind, length) names the layout; with `ts_out` the sending time, eight bytes, follows each record.
Source: github.com/databento/dbn, rust/dbn/src/{record,v1,v2,enums}.rs (Apache-2.0).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Records = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]

WORD: Final = 4
TS_OUT_BYTES: Final = 8
LONGEST_RECORD: Final = 255 * WORD

MBP_0, MBP_1, MBP_10, MBO = 0x00, 0x01, 0x0A, 0xA0
CMBP_1, CBBO_1S, CBBO_1M, TCBBO = 0xB1, 0xC0, 0xC1, 0xC2
BBO_1S, BBO_1M = 0xC3, 0xC4
OHLCV_OLD, OHLCV_1S, OHLCV_1M, OHLCV_1H, OHLCV_1D, OHLCV_EOD = 0x11, 0x20, 0x21, 0x22, 0x23, 0x24
STATUS, DEFINITION, IMBALANCE, ERROR, SYMBOL_MAPPING, SYSTEM, STATISTICS = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18

UNDEF_PRICE: Final = 2**63 - 1
UNDEF_STAMP: Final = 2**64 - 1
UNDEF_SIZE: Final = 2**32 - 1
UNDEF_OLD_QUANTITY: Final = 2**31 - 1
"""Of a statistic of DBN 1 and 2, where quantities have 32 bits."""

LEVELS: Final = 10
LAST, TOB, SNAPSHOT = 128, 64, 32
"""Flags: the last record of its event, top of book only, of a snapshot."""

_Field = tuple[str, str]
_HEADER: list[_Field] = [
    ("length", "u1"),
    ("rtype", "u1"),
    ("publisher_id", "<u2"),
    ("instrument_id", "<u4"),
    ("ts_event", "<u8"),
]
_LEAST_WORDS = np.dtype(_HEADER).itemsize // WORD
_TRADE: list[_Field] = [
    *_HEADER,
    *[("price", "<i8"), ("size", "<u4"), ("action", "u1"), ("side", "u1"), ("flags", "u1"), ("depth", "u1")],
    *[("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4")],
]


def _without(*names: str) -> list[_Field]:
    """Return the fields of a trade, those named left out as reserved bytes."""
    return [(f"pad_{name}", f"V{np.dtype(kind).itemsize}") if name in names else (name, kind) for name, kind in _TRADE]


def _level(number: int, orders: str) -> list[_Field]:
    """Return the fields of a level; `orders` is how many orders stand there (`ct`) or whose they are (`pb`)."""
    prices = [(f"{side}_px_{number:02}", "<i8") for side in ("bid", "ask")]
    sizes = [(f"{side}_sz_{number:02}", "<u4") for side in ("bid", "ask")]
    if orders == "ct":
        return [*prices, *sizes, *((f"{side}_ct_{number:02}", "<u4") for side in ("bid", "ask"))]
    return [*prices, *sizes, (f"bid_pb_{number:02}", "<u2"), ("pad_b", "V2"), (f"ask_pb_{number:02}", "<u2"), ("pad_a", "V2")]


_MBO: list[_Field] = [
    *_HEADER,
    *[("order_id", "<u8"), ("price", "<i8"), ("size", "<u4"), ("flags", "u1"), ("channel_id", "u1"), ("action", "u1")],
    *[("side", "u1"), ("ts_recv", "<u8"), ("ts_in_delta", "<i4"), ("sequence", "<u4")],
]
_BAR: list[_Field] = [*_HEADER, *((name, "<i8") for name in ("open", "high", "low", "close")), ("volume", "<u8")]
_STATUS: list[_Field] = [
    *_HEADER,
    *[("ts_recv", "<u8"), ("action", "<u2"), ("reason", "<u2"), ("trading_event", "<u2"), ("is_trading", "u1")],
    *[("is_quoting", "u1"), ("is_short_sell_restricted", "u1"), ("pad", "V7")],
]
_IMBALANCE: list[_Field] = [
    *_HEADER,
    *[("ts_recv", "<u8"), ("ref_price", "<i8"), ("auction_time", "<u8"), ("cont_book_clr_price", "<i8")],
    *[("auct_interest_clr_price", "<i8"), ("ssr_filling_price", "<i8"), ("ind_match_price", "<i8"), ("upper_collar", "<i8")],
    *[("lower_collar", "<i8"), ("paired_qty", "<u4"), ("total_imbalance_qty", "<u4"), ("market_imbalance_qty", "<u4")],
    *[("unpaired_qty", "<u4"), ("auction_type", "u1"), ("side", "u1"), ("auction_status", "u1"), ("freeze_status", "u1")],
    *[("num_extensions", "u1"), ("unpaired_side", "u1"), ("significant_imbalance", "u1"), ("pad", "V1")],
]


def _statistics(quantity: str, pad: str) -> list[_Field]:
    return [
        *_HEADER,
        *[("ts_recv", "<u8"), ("ts_ref", "<u8"), ("price", "<i8"), ("quantity", quantity), ("sequence", "<u4")],
        *[("ts_in_delta", "<i4"), ("stat_type", "<u2"), ("channel_id", "<u2"), ("update_action", "u1"), ("stat_flags", "u1")],
        ("pad", pad),
    ]


def _mapping(symbol: str, has_kinds: bool) -> list[_Field]:
    names: list[_Field] = [("stype_in_symbol", symbol), ("stype_out_symbol", symbol)]
    if has_kinds:
        names = [("stype_in", "u1"), names[0], ("stype_out", "u1"), names[1]]
    else:
        names = [*names, ("pad", "V4")]
    return [*_HEADER, *names, ("start_ts", "<u8"), ("end_ts", "<u8")]


_LONG_PRICES = ("min_price_increment", "display_factor", "expiration", "activation", "high_limit_price", "low_limit_price")
_AMOUNTS = ("max_price_variation", "unit_of_measure_qty", "min_price_increment_amount", "price_ratio")
_OLD_AMOUNTS = ("max_price_variation", "trading_reference_price", *_AMOUNTS[1:])
_DEPTHS: list[_Field] = [("market_depth_implied", "<i4"), ("market_depth", "<i4"), ("market_segment_id", "<u4")]
_LOTS: list[_Field] = [
    *[("max_trade_vol", "<u4"), ("min_lot_size", "<i4"), ("min_lot_size_block", "<i4"), ("min_lot_size_round_lot", "<i4")],
    ("min_trade_vol", "<u4"),
]
_SIZES: list[_Field] = [("contract_multiplier", "<i4"), ("decay_quantity", "<i4"), ("original_contract_size", "<i4")]
_MATURITY: list[_Field] = [("maturity_month", "u1"), ("maturity_day", "u1"), ("maturity_week", "u1")]
_LAST: list[_Field] = [
    *[("user_defined_instrument", "u1"), ("contract_multiplier_unit", "i1"), ("flow_schedule_type", "i1"), ("tick_rule", "u1")]
]


def _names(symbol: str, asset: str) -> list[_Field]:
    return [
        *[("currency", "S4"), ("settl_currency", "S4"), ("secsubtype", "S6"), ("raw_symbol", symbol), ("group", "S21")],
        *[("exchange", "S5"), ("asset", asset), ("cfi", "S7"), ("security_type", "S7"), ("unit_of_measure", "S31")],
        *[("underlying", "S21"), ("strike_price_currency", "S4")],
    ]


def _stamped(names: tuple[str, ...]) -> list[_Field]:
    return [(name, "<u8" if name in ("expiration", "activation") else "<i8") for name in names]


def _old_definition(symbol: str, is_first: bool) -> list[_Field]:
    """Return the fields of a definition of DBN 1 (`is_first`) or 2."""
    strike: list[_Field] = [("strike_price", "<i8")]
    pads: list[list[_Field]] = [[(f"pad_{n}", pad)] for n, pad in enumerate(("V4", "V4", "V2", "V6"))]
    return [
        *_HEADER,
        ("ts_recv", "<u8"),
        *_stamped((*_LONG_PRICES, *_OLD_AMOUNTS)),
        *([] if is_first else strike),
        *[("inst_attrib_value", "<i4"), ("underlying_id", "<u4"), ("raw_instrument_id", "<u4")],
        *_DEPTHS,
        *_LOTS,
        *(pads[0] if is_first else []),
        *_SIZES,
        *(pads[1] if is_first else []),
        *[("trading_reference_date", "<u2"), ("appl_id", "<i2"), ("maturity_year", "<u2"), ("decay_start_date", "<u2")],
        ("channel_id", "<u2"),
        *_names(symbol, "S7"),
        ("instrument_class", "u1"),
        *([*pads[2], *strike, *pads[3]] if is_first else []),
        *[("match_algorithm", "u1"), ("md_security_trading_status", "u1"), ("main_fraction", "u1")],
        *[("price_display_format", "u1"), ("settl_price_type", "u1"), ("sub_fraction", "u1"), ("underlying_product", "u1")],
        ("security_update_action", "u1"),
        *_MATURITY,
        *_LAST,
        ("pad", "V3" if is_first else "V10"),
    ]


_DEFINITION: list[_Field] = [
    *_HEADER,
    ("ts_recv", "<u8"),
    *_stamped((*_LONG_PRICES, *_AMOUNTS)),
    *[("strike_price", "<i8"), ("raw_instrument_id", "<u8"), ("leg_price", "<i8"), ("leg_delta", "<i8")],
    *[("inst_attrib_value", "<i4"), ("underlying_id", "<u4")],
    *_DEPTHS,
    *_LOTS,
    *_SIZES,
    ("leg_instrument_id", "<u4"),
    *((f"leg_ratio_{of}_{part}", "<i4") for of in ("price", "qty") for part in ("numerator", "denominator")),
    *[("leg_underlying_id", "<u4"), ("appl_id", "<i2"), ("maturity_year", "<u2"), ("decay_start_date", "<u2")],
    *[("channel_id", "<u2"), ("leg_count", "<u2"), ("leg_index", "<u2")],
    *_names("S71", "S11"),
    *[("leg_raw_symbol", "S71"), ("instrument_class", "u1"), ("match_algorithm", "u1"), ("main_fraction", "u1")],
    *[("price_display_format", "u1"), ("sub_fraction", "u1"), ("underlying_product", "u1"), ("security_update_action", "u1")],
    *_MATURITY,
    *_LAST,
    *[("leg_instrument_class", "u1"), ("leg_side", "u1"), ("pad", "V17")],
]


def _dtype(fields: list[_Field]) -> np.dtype[Any]:
    named: dict[str, str] = {}
    for number, (name, kind) in enumerate(fields):
        named[f"{name}_{number}" if name.startswith("pad") else name] = kind
    return np.dtype(list(named.items()))


_MBP = _dtype([*_TRADE, *_level(0, "ct")])
_BBO = _dtype([*_without("action", "depth", "ts_in_delta"), *_level(0, "ct")])
_CMBP = _dtype([*_without("depth", "sequence"), *_level(0, "pb")])
_CBBO = _dtype([*_without("action", "depth", "ts_in_delta", "sequence"), *_level(0, "pb")])
_OHLCV = _dtype(_BAR)

_KINDS: tuple[tuple[int, np.dtype[Any]], ...] = (
    (MBP_0, _dtype(_TRADE)),
    (MBP_1, _MBP),
    *((kind, _BBO) for kind in (BBO_1S, BBO_1M)),
    (MBP_10, _dtype([*_TRADE, *(field for number in range(LEVELS) for field in _level(number, "ct"))])),
    *((kind, _CMBP) for kind in (CMBP_1, TCBBO)),
    *((kind, _CBBO) for kind in (CBBO_1S, CBBO_1M)),
    (MBO, _dtype(_MBO)),
    *((kind, _OHLCV) for kind in (OHLCV_OLD, OHLCV_1S, OHLCV_1M, OHLCV_1H, OHLCV_1D, OHLCV_EOD)),
    (STATUS, _dtype(_STATUS)),
    (IMBALANCE, _dtype(_IMBALANCE)),
    (STATISTICS, _dtype(_statistics("<i4", "V6"))),
    (STATISTICS, _dtype(_statistics("<i8", "V18"))),
    (DEFINITION, _dtype(_old_definition("S22", True))),
    (DEFINITION, _dtype(_old_definition("S71", False))),
    (DEFINITION, _dtype(_DEFINITION)),
    (SYMBOL_MAPPING, _dtype(_mapping("S22", False))),
    (SYMBOL_MAPPING, _dtype(_mapping("S71", True))),
    (ERROR, _dtype([*_HEADER, ("text", "S64")])),
    (ERROR, _dtype([*_HEADER, ("text", "S302"), ("code", "u1"), ("is_last", "u1")])),
    (SYSTEM, _dtype([*_HEADER, ("text", "S64")])),
    (SYSTEM, _dtype([*_HEADER, ("text", "S303"), ("code", "u1")])),
)

LAYOUTS: Final[dict[tuple[int, int], np.dtype[Any]]] = {(kind, layout.itemsize): layout for kind, layout in _KINDS}
"""(kind, length in bytes, ts_out left out) -> fields."""

KINDS: Final = frozenset(kind for kind, _ in _KINDS)


def layout_of(kind: int, length: int, has_ts_out: bool) -> np.dtype[Any] | None:
    """Return the fields of records of `kind` and `length` bytes, or None where no version has such."""
    return LAYOUTS.get((kind, length - TS_OUT_BYTES if has_ts_out else length))


def record_starts(data: Bytes) -> npt.NDArray[np.int64]:
    """Return where each whole record of `data` begins, in order; what follows the last is no whole record.

    Files of one schema have records of one length, which needs no walk. A record shorter than what all begin with is none.
    """
    if len(data) == 0 or data[0] < _LEAST_WORDS:
        return np.empty(0, np.int64)
    length = int(data[0]) * WORD
    even = np.arange(0, len(data) - length + 1, length, dtype=np.int64)
    other = np.flatnonzero(data[even] != data[0])
    if not len(other) and len(data) % length == 0:
        return even
    starts: list[int] = even[: int(other[0])].tolist() if len(other) else even.tolist()
    lengths = data.tobytes()
    at = starts[-1] + length if starts else 0
    while at < len(lengths):
        step = lengths[at] * WORD
        if step < _LEAST_WORDS * WORD or at + step > len(lengths):
            break
        starts.append(at)
        at += step
    return np.array(starts, np.int64)


def run_keys(records: Records) -> npt.NDArray[np.int64]:
    """Return a number that records next to each other share when they are of one packet, or all of one snapshot of a book."""
    sequence = records["sequence"].astype(np.int64)
    return np.where((records["flags"] & SNAPSHOT) > 0, np.int64(-1), sequence)


def gathered(data: Bytes, starts: npt.NDArray[np.int64], layout: np.dtype[Any], length: int) -> Records:
    """Return the records of one layout that begin at `starts`; a view where they lie one after the other.

    length   of each record in the data, ts_out included
    """
    count = len(starts)
    if count and int(starts[-1] - starts[0]) == (count - 1) * length:
        run = data[int(starts[0]) : int(starts[0]) + count * length]
        if length == layout.itemsize:
            return run.view(layout)
        return np.ascontiguousarray(run.reshape(count, length)[:, : layout.itemsize]).view(layout).reshape(count)
    wide: Records = data[starts[:, None] + np.arange(layout.itemsize)].view(layout).reshape(count)
    return wide
