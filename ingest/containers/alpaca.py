"""Files of Alpaca: answers, frames of its stream one a line, or frames in msgpack one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgpack

from ingest.containers.source import Piece, Source, Told
from ingest.containers.splitters import json_lines, whole_document

_FEEDS: dict[str, tuple[bytes, ...]] = {
    "news": (b'{"news":', b'[{"T":"n"'),
    "screener": (b'{"last_updated":', b'{"most_actives":', b'{"gainers":', b'{"losers":'),
    "contracts": (b'{"option_contracts":',),
    "reference": (),
}
_LISTS = (
    b'{"bars":',
    b'{"trades":',
    b'{"quotes":',
    b'{"snapshots":',
    b'{"next_page_token":',
    b'{"bar":',
    b'{"trade":',
    b'{"quote":',
)
_PARTS = re.compile(rb'\{"[A-Z0-9./]{1,24}":\{"(latestTrade|latestQuote|minuteBar|dailyBar|prevDailyBar)"')
_OPTION, _PAIR = re.compile(rb"[A-Z]{1,6}\d{6}[CP]\d{8}"), re.compile(rb"[A-Z]{2,6}/[A-Z]{3,5}")
_MARKETS = {"iex": "stock", "sip": "stock", "opra": "option", "indicative": "option", "crypto": "crypto"}
_MOST_FRAME_BYTES = 16 * 1024 * 1024


def is_msgpack_frame(beginning: bytes) -> bool:
    """Return whether bytes begin with an array of msgpack, whose first byte no JSON has."""
    return bool(beginning) and (0x90 <= beginning[0] <= 0x9F or beginning[0] in (0xDC, 0xDD))


def is_alpaca_market(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file holds answers or frames about the market of `feed`; symbols tell it, an empty answer is of each."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning[:4096].split())
        if is_msgpack_frame(beginning):
            if b"\xa1T" not in beginning:
                return False
        elif not packed.startswith((*_LISTS, b'[{"T":')) and not _PARTS.match(packed):
            return False
        if packed.startswith((b'[{"T":"n"', b'{"news":')) or b'"news":' in packed[:100]:
            return False
        told = {word for word, one in (("option", _OPTION), ("crypto", _PAIR)) if one.search(packed)}
        if not told and re.search(rb'[:{,]?"(S"|[A-Z.]{1,8}":[\[{])|\xa1S', packed):
            told = {"stock"}
        return not told or _MARKETS[feed] in told

    return is_one


def is_alpaca(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of Alpaca's `news`, `screener`, `contracts` or `reference`."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning[:4096].split())
        if packed.startswith(_FEEDS[feed]):
            return True
        is_contract = packed.startswith(b"{") and b'"underlying_symbol":' in packed and b'"open_interest' in packed
        is_asset = b'"class":"' in packed and b'"tradable":' in packed and not is_contract
        return (feed == "contracts" and is_contract) or (feed == "reference" and is_asset)

    return is_one


def alpaca_answer(source: Source, told: Told) -> Iterator[Piece]:
    """Yield a file's frames of the stream, in JSON (an array a line) or msgpack, or its one answer."""
    beginning = source.beginning().lstrip()
    if is_msgpack_frame(source.beginning()):
        yield from _msgpack_frames(source, told)
    elif beginning.startswith(b'[{"T"'):
        yield from json_lines(source, told)
    else:
        yield from whole_document("application/json")(source, told)


def _msgpack_frames(source: Source, told: Told) -> Iterator[Piece]:
    """Yield frames by their own lengths; what is no frame any more is one message, for the decoder to judge."""
    unpacker = msgpack.Unpacker(max_buffer_size=_MOST_FRAME_BYTES)
    pending, done, number, is_lost = b"", 0, 0, False
    for chunk in source.chunks():
        pending += chunk
        try:
            if not is_lost:
                unpacker.feed(chunk)
            while not is_lost:
                unpacker.skip()
                length = unpacker.tell() - done
                yield Piece(pending[:length], "application/msgpack", request=told.request(frame=number))
                pending, done, number = pending[length:], done + length, number + 1
        except msgpack.OutOfData:
            continue
        except (ValueError, msgpack.exceptions.UnpackException):
            is_lost = True
    if pending:
        yield Piece(pending, "application/msgpack", request=told.request(frame=number))
