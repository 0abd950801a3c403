"""Frames of Tiingo's streams: trades and quotes of IEX, its reference prices, trades and quotes of crypto, quotes of currencies.

A frame holds one event, an array whose places mean what its service and its first letter say. Places are read strictly, for a
wrong one would be a wrong price: a quote tells its mid too, and one whose mid is not half of bid and ask is refused. Of
currencies the documented table numbers size and price of the ask the other way round than its own examples; the mid of the
examples decides. A reference price is Tiingo's own measure of IEX, no trade. Trades have no id. A trade that IEX broke (`B`)
names none either, so it is refused: nobody can say which. Kept in raw only: mids, nanoseconds beside their stamp, the flag of
rule 611. Source: Tiingo's documentation of its websockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from transforms.decode.decoded import ALTERNATIVE, QUOTES, TRADES
from transforms.decode.json_digits import exact, instant, rounded, text_of
from transforms.decode.readers import Object, Reader, Row, two_sides
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, NumberRefusedError

FRAME = "messageType"
"""The name that tells a frame from an answer."""
_CONTROL = frozenset({"I", "H", "E"})
_MEASURE_SCALE, _MEASURE_DIGITS = 12, 38
_MID_PARTS = 1_000_000
"""A mid may be off by so small a part of itself: it is a float."""
_SIDES = {name: name for name in ("bid_price", "bid_size", "ask_price", "ask_size")}
_FLAGS = {"halted": "HALTED", "after_hours": "EXTENDED_HOURS", "iso": "ISO", "odd_lot": "ODD_LOT"}


@dataclass(frozen=True, slots=True)
class _Service:
    """What a service's arrays tell: the names of their places, by the letter at the first one."""

    kinds: Mapping[str, tuple[str, ...]]
    number: Callable[..., Decimal]


_IEX_PLACES = (
    *("kind", "at", "nanos", "ticker", "bid_size", "bid_price", "mid", "ask_price", "ask_size"),
    *("last_price", "last_size", "halted", "after_hours", "iso", "odd_lot"),
)
_CRYPTO_QUOTE = ("kind", "ticker", "at", "exchange", "bid_size", "bid_price", "mid", "ask_size", "ask_price")
_SERVICES = {
    "iex": _Service({"T": _IEX_PLACES, "Q": _IEX_PLACES}, exact),
    "crypto_data": _Service({"T": ("kind", "ticker", "at", "exchange", "last_size", "last_price"), "Q": _CRYPTO_QUOTE}, rounded),
    "fx": _Service({"Q": ("kind", "ticker", "at", "bid_size", "bid_price", "mid", "ask_size", "ask_price")}, rounded),
}
_LEAST_IEX = 11
"""Flags may be missing; what follows the flags is not read."""


def read_frame(reader: Reader, frame: Object, service: str, who: Callable[[str], Row]) -> None:
    """Append what a frame of `service` tells; words about the connection hold no fact. Raises NumberRefusedError.

    who   what a ticker tells of its instrument
    """
    kind = text_of(frame[FRAME])
    if kind in _CONTROL:
        return
    told = frame.get("data")
    if kind != "A" or frame.get("service") != service or not isinstance(told, list):
        words = {name: frame.get(name) for name in (FRAME, "service")}
        raise NumberRefusedError("unsupported_answer", words, f"a frame of {service}: I, H, E, or A with an array")
    letter = told[0] if told and isinstance(told[0], str) else ""
    if service == "iex" and len(told) == 3:
        reader.add(ALTERNATIVE, _reference, told, who)
    elif letter == "T" and letter in _SERVICES[service].kinds:
        reader.add(TRADES, _trade, told, service, who)
    elif letter == "Q":
        reader.add(QUOTES, _quote, told, service, who)
    else:
        table = TRADES if "T" in _SERVICES[service].kinds else QUOTES
        reader.refuse(table, NumberRefusedError("unsupported_event", told, "T or Q; a broken trade names no trade"))


def _placed(told: list[object], service: str, who: Callable[[str], Row]) -> tuple[dict[str, object], Row]:
    """Return an array by the names of its places, and what every kind of row has of it."""
    places = _SERVICES[service].kinds[str(told[0])]
    if len(told) < (_LEAST_IEX if service == "iex" else len(places)):
        raise NumberRefusedError("malformed", told, f"an array of {', '.join(places)}")
    found = dict(zip(places, told, strict=False))
    ticker, exchange = text_of(found["ticker"]), text_of(found.get("exchange"))
    if ticker is None or ("exchange" in places and exchange is None):
        raise NumberRefusedError("missing_symbol", told, "a ticker" + (", and an exchange" if "exchange" in places else ""))
    at, nanos = instant(found["at"])
    row = who(ticker if exchange is None else f"{ticker}:{exchange.upper()}")
    flags = [word for name, word in _FLAGS.items() if found.get(name) == 1]
    return found, row | {"ts_event": at, "ts_event_nanos": nanos, "conditions": ",".join(flags) or None}


def _trade(told: list[object], service: str, who: Callable[[str], Row]) -> Row:
    found, row = _placed(told, service, who)
    number = _SERVICES[service].number
    return row | {"price": number(found["last_price"], PRICE_SCALE), "size": number(found["last_size"], SIZE_SCALE)}


def _quote(told: list[object], service: str, who: Callable[[str], Row]) -> Row:
    found, row = _placed(told, service, who)
    sides = two_sides(found, _SIDES, _SERVICES[service].number)
    bid, ask = sides.get("bid_price"), sides.get("ask_price")
    if isinstance(bid, Decimal) and isinstance(ask, Decimal) and found["mid"] is not None:
        mid = rounded(found["mid"], _MEASURE_SCALE, _MEASURE_DIGITS)
        if abs(bid + ask - 2 * mid) * _MID_PARTS > abs(mid):
            raise NumberRefusedError("malformed", told, "a mid that is half of bid and ask: the places may have changed")
    return row | sides


def _reference(told: list[object], who: Callable[[str], Row]) -> Row:
    ticker = text_of(told[1])
    if ticker is None:
        raise NumberRefusedError("missing_symbol", told, "a ticker")
    at, _ = instant(told[0])
    value = rounded(told[2], _MEASURE_SCALE, _MEASURE_DIGITS)
    return who(ticker) | {"ts_event": at, "measure": "reference_price", "value": value, "unit": "USD"}
