"""Rows of what venues say beside trading in DBN: states, auctions, statistics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.dbn_batch import Group, Who, chosen, event_times, prices, sizes, stamps
from transforms.decode.dbn_layout import UNDEF_OLD_QUANTITY, UNDEF_PRICE, UNDEF_STAMP
from transforms.decode.decoded import OPTION_OPEN_INTEREST, STATUS_EVENTS, columns_table
from transforms.numbers import SIZE_SCALE, Int64s, decimals

_ACTIONS = {
    1: "pre_open", 2: "pre_cross", 3: "quoting", 4: "cross", 5: "rotation", 6: "new_price_indication", 7: "trading", 8: "halted",
    9: "paused", 10: "suspended", 11: "pre_close", 12: "closed", 13: "post_close", 14: "ssr_change", 15: "not_available",
}  # fmt: skip
_SHORT_SALE = 14
_REASONS = {
    1: "scheduled", 2: "surveillance_intervention", 3: "market_event", 4: "instrument_activation", 5: "instrument_expiration",
    6: "recovery_in_process", 10: "regulatory", 11: "administrative", 12: "non_compliance", 13: "filings_not_current",
    14: "sec_trading_suspension", 15: "new_issue", 16: "issue_available", 17: "issues_reviewed", 18: "filing_reqs_satisfied",
    30: "news_pending", 31: "news_released", 32: "news_and_resumption_times", 33: "news_not_forthcoming", 40: "order_imbalance",
    50: "luld_pause", 60: "operational", 70: "additional_information_requested", 80: "merger_effective", 90: "etf",
    100: "corporate_action", 110: "new_security_offering", 120: "market_wide_halt_level1", 121: "market_wide_halt_level2",
    122: "market_wide_halt_level3", 123: "market_wide_halt_carryover", 124: "market_wide_halt_resumption",
    130: "quotation_not_available",
}  # fmt: skip
_STATISTICS = {
    1: "opening_price", 2: "indicative_opening_price", 3: "settlement_price", 4: "trading_session_low_price",
    5: "trading_session_high_price", 6: "cleared_volume", 7: "lowest_offer", 8: "highest_bid", 9: "open_interest",
    10: "fixing_price", 11: "close_price", 12: "net_change", 13: "vwap", 14: "volatility", 15: "delta", 16: "uncrossing_price",
    17: "upper_price_limit", 18: "lower_price_limit", 19: "block_volume", 10001: "venue_specific_volume_1",
}  # fmt: skip
_OPEN_INTEREST = 9
_OFFICIAL, _BANDS = (1, 3, 10, 11, 16), (17, 18)
_AUCTIONS = {ord("O"): "open", ord("C"): "close", ord("H"): "halt", ord("I"): "ipo", ord("M"): "open", ord("A"): "extended_close"}
_SIDES = {ord("B"): "buy", ord("A"): "sell"}
_YES, _NO = ord("Y"), ord("N")


def states(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return the states of instruments that status records tell; what they leave open is null."""
    found = group.records
    arrays = {
        **_common(group, who),
        "kind": pc.if_else(pa.array(found["action"] == _SHORT_SALE), "short_sale", "trading_status"),
        "status": _words(found["action"], _ACTIONS),
        "code": pa.array(found["action"].astype(np.int64)).cast(pa.string()),
        "reason": _words(found["reason"], _REASONS),
        "is_trading": _truth(found["is_trading"]),
        "is_quoting": _truth(found["is_quoting"]),
        "is_short_sale_restricted": _truth(found["is_short_sell_restricted"]),
        "detail": _json({"trading_event": found["trading_event"].astype(np.int64)}, found["trading_event"] != 0),
    }
    return {STATUS_EVENTS: columns_table(STATUS_EVENTS, arrays)}


def auctions(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return auctions as imbalance records tell them; a price of 0 is one that the venue does not tell."""
    found = group.records
    clears = np.where(_told(found["ind_match_price"]), found["ind_match_price"], found["cont_book_clr_price"])
    rest = ("auct_interest_clr_price", "cont_book_clr_price", "ind_match_price", "ssr_filling_price")
    more = ("market_imbalance_qty", "unpaired_qty", "auction_status", "freeze_status", "num_extensions")
    letters = {name: found[name].astype(np.int64) for name in ("unpaired_side", "significant_imbalance")}
    numbers = {name: found[name].astype(np.int64) for name in (*rest, *more)}
    arrays = {
        **_common(group, who),
        "kind": pa.repeat("auction", len(found)),
        "code": chosen(found["auction_type"], _LETTERS),
        "auction": chosen(found["auction_type"], _AUCTIONS),
        "size": sizes(found["paired_qty"]),
        "reference_price": _price(found["ref_price"]),
        "indicative_price": _price(clears),
        "imbalance_size": sizes(found["total_imbalance_qty"]),
        "side": chosen(found["side"], _SIDES),
        "lower_price": _price(found["lower_collar"]),
        "upper_price": _price(found["upper_collar"]),
        "ts_effective": stamps(np.where(found["auction_time"] == 0, np.uint64(UNDEF_STAMP), found["auction_time"])),
        "detail": _json(numbers, np.ones(len(found), np.bool_), letters),
    }
    return {STATUS_EVENTS: columns_table(STATUS_EVENTS, arrays)}


def statistics(group: Group, who: Who) -> Mapping[str, pa.Table]:
    """Return statistics; the open interest of an option is told of its contract too."""
    found = group.records
    kinds = found["stat_type"].astype(np.int64)
    undefined = UNDEF_PRICE if found.dtype["quantity"].itemsize == 8 else UNDEF_OLD_QUANTITY
    quantity = found["quantity"].astype(np.int64)
    is_told = quantity != undefined
    fits = (quantity > -(10 ** (18 - SIZE_SCALE))) & (quantity < 10 ** (18 - SIZE_SCALE))
    arrays = {
        **_common(group, who),
        "kind": pa.array(["statistic", "official_price", "price_band"]).take(
            pa.array(np.isin(kinds, _OFFICIAL) + 2 * np.isin(kinds, _BANDS))
        ),
        "status": _words(found["stat_type"], _STATISTICS),
        "code": pa.array(kinds).cast(pa.string()),
        "price": prices(found["price"]),
        "size": _masked(decimals(np.where(fits, quantity, 0) * 10**SIZE_SCALE, 18, SIZE_SCALE), is_told & fits),
        "ts_effective": stamps(found["ts_ref"]),
        "detail": _json(
            {
                **{name: found[name].astype(np.int64) for name in ("sequence", "channel_id", "update_action", "stat_flags")},
                "quantity": quantity,
            },
            np.ones(len(found), np.bool_),
        ),
    }
    told = {STATUS_EVENTS: columns_table(STATUS_EVENTS, arrays)}
    is_option = np.array([publisher.asset_class == "option" for _, publisher in who.places], np.bool_)[who.codes]
    wanted = is_option & (kinds == _OPEN_INTEREST) & is_told & (found["update_action"] == 1)
    if wanted.any():
        told[OPTION_OPEN_INTEREST] = _open_interest(group.of(wanted), Who(who.codes[wanted], who.places), quantity[wanted])
    return told


def _open_interest(group: Group, who: Who, quantity: Int64s) -> pa.Table:
    arrays = {
        **who.columns(),
        "ts_event": stamps(group.records["ts_event"]),
        "known_at": stamps(group.index_ns()),
        "underlying": who.texts([symbol[:6].rstrip() or None for symbol, _ in who.places]),
        "open_interest": pa.array(quantity),
        **group.place(1),
    }
    return columns_table(OPTION_OPEN_INTEREST, arrays)


def _common(group: Group, who: Who) -> dict[str, pa.Array]:
    channels = [f"{publisher.dataset}.{publisher.venue}" for _, publisher in who.places]
    return {
        **who.columns(),
        **event_times(group.records["ts_event"]),
        "channel": who.texts(channels),
        **group.place(),
    }


_LETTERS = {code: chr(code) for code in range(33, 127)}


def _told(values: Int64s) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (values != 0) & (values != UNDEF_PRICE)
    return found


def _price(values: Int64s) -> pa.Array:
    return prices(np.where(values == 0, UNDEF_PRICE, values))


def _masked(values: pa.Array, is_told: npt.NDArray[np.bool_]) -> pa.Array:
    return values if is_told.all() else pc.if_else(pa.array(is_told), values, pa.scalar(None, values.type))


def _truth(letters: npt.NDArray[np.uint8]) -> pa.Array:
    return _masked(pa.array(letters == _YES), (letters == _YES) | (letters == _NO))


def _words(codes: npt.NDArray[np.uint16], words: Mapping[int, str]) -> pa.Array:
    """Return the word of each code; a code without one is told as its number, 0 as null."""
    found = np.unique(codes)
    named = [words.get(code) or (str(code) if code else None) for code in found.tolist()]
    return pa.array(named, pa.string()).take(pa.array(np.searchsorted(found, codes)))


def _json(numbers: Mapping[str, Int64s], wanted: npt.NDArray[np.bool_], letters: Mapping[str, Int64s] | None = None) -> pa.Array:
    """Return a JSON object of each wanted record: numbers with the vendor's names, prices in units of 1e-9 as they lie."""
    parts: list[pa.Array | str] = ["{"]
    for name, values in numbers.items():
        parts += [f'"{name}":', pa.array(values).cast(pa.string()), ","]
    for name, values in (letters or {}).items():
        parts += [f'"{name}":"', pc.fill_null(chosen(values, _PLAIN), ""), '"', ","]
    parts[-1] = "}"
    whole = pc.binary_join_element_wise(*parts, "")
    return _masked(whole, wanted)


_PLAIN = {code: letter for code, letter in _LETTERS.items() if letter not in '"\\'}
