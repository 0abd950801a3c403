"""The scanner of Binance's three frequent frames: trade, bookTicker and depthUpdate, bytes in, columns out.

It knows the exact text that Binance writes (keys in its order, no spaces) for spot and USDⓈ-M futures, inside
`{"stream":…,"data":…}` or bare. A frame that differs in anything, down to a digit too many, is left to the caller by its
index; what it does read is what a JSON parser and exact decimals would give. Columns are bytes of little-endian int64, no
objects a row; prices and sizes are scaled by 9 and 8 digits; -1 is "not told": none of these quantities is negative.
"""

from __future__ import annotations

from typing import Final, final

from librt.strings import BytesWriter, read_i64_le, write_i64_le
from mypy_extensions import i64

PRICE_SCALE: Final = 9
SIZE_SCALE: Final = 8
MOST_DIGITS: Final = 18
IS_BUYER_MAKER: Final = 1
IS_MARKET: Final = 2

_QUOTE: Final = 34
_COMMA: Final = 44
_POINT: Final = 46
_ZERO: Final = 48
_NINE: Final = 57
_BACKSLASH: Final = 92


@final
class Names:
    """Symbols or streams, numbered as they are first seen."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._codes: dict[bytes, int] = {}
        self._last: bytes = b'"'
        self._last_code: i64 = -1

    def code(self, data: bytes, start: i64, end: i64) -> i64:
        """Return the number of the name at [start, end), or -1 when it is no plain ASCII name."""
        if end - start == len(self._last) and is_at(data, start, end, self._last):
            return self._last_code
        name = data[start:end]
        found = self._codes.get(name, -1)
        if found < 0:
            if len(name) == 0:
                return -1
            for char in name:
                if char < 33 or char > 126 or char in (_QUOTE, _BACKSLASH):
                    return -1
            found = len(self.seen)
            self.seen.append(name)
            self._codes[name] = found
        self._last = name
        self._last_code = found
        return found


@final
class Frames:
    """Columns of what a batch of frames says, and which of its messages were not read."""

    def __init__(self) -> None:
        self.symbols = Names()
        self.streams = Names()
        self.unread = BytesWriter()
        self.trade_message = BytesWriter()
        self.trade_ms = BytesWriter()
        self.trade_id = BytesWriter()
        self.trade_price = BytesWriter()
        self.trade_size = BytesWriter()
        self.trade_symbol = BytesWriter()
        self.trade_flags = BytesWriter()
        self.quote_message = BytesWriter()
        self.quote_ms = BytesWriter()
        self.quote_sequence = BytesWriter()
        self.quote_bid_price = BytesWriter()
        self.quote_bid_size = BytesWriter()
        self.quote_ask_price = BytesWriter()
        self.quote_ask_size = BytesWriter()
        self.quote_symbol = BytesWriter()
        self.depth_message = BytesWriter()
        self.depth_ms = BytesWriter()
        self.depth_first = BytesWriter()
        self.depth_last = BytesWriter()
        self.depth_previous = BytesWriter()
        self.depth_symbol = BytesWriter()
        self.depth_stream = BytesWriter()
        self.depth_bids = BytesWriter()
        self.depth_asks = BytesWriter()
        self.level_price = BytesWriter()
        self.level_size = BytesWriter()


def read_frames(data: bytes, offsets: bytes) -> Frames:
    """Return the columns of the messages that lie in `data` between successive `offsets` (int64, one more than messages)."""
    frames = Frames()
    count: i64 = len(offsets) // 8 - 1
    message: i64 = 0
    while message < count:
        if not _read_frame(frames, data, message, read_i64_le(offsets, message * 8), read_i64_le(offsets, message * 8 + 8)):
            write_i64_le(frames.unread, message)
        message += 1
    return frames


def is_at(data: bytes, i: i64, end: i64, text: bytes) -> bool:
    """Return whether `text` stands in `data` at `i`, before `end`."""
    length: i64 = len(text)
    if i + length > end:
        return False
    k: i64 = 0
    while k + 8 <= length:
        if read_i64_le(data, i + k) != read_i64_le(text, k):
            return False
        k += 8
    while k < length:
        if data[i + k] != text[k]:
            return False
        k += 1
    return True


def whole(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (value, next index) of the whole number at `i`; (-1, i) unless it has 1 to 18 digits and no leading zero."""
    value: i64 = 0
    k: i64 = i
    while k < end:
        digit: i64 = data[k]
        if digit < _ZERO or digit > _NINE:
            break
        value = value * 10 + (digit - _ZERO)
        k += 1
        if k - i > MOST_DIGITS:
            return -1, i
    if k == i or (k - i > 1 and data[i] == _ZERO):
        return -1, i
    return value, k


def scaled(data: bytes, i: i64, end: i64, scale: i64) -> tuple[i64, i64]:
    """Return (value x 10^scale, index after the closing quote) of the decimal whose first digit is at `i`.

    (-1, i) for what is not plain digits with at most one point, does not fit 18 digits, or has digits other than 0
    beyond the scale.
    """
    value: i64 = 0
    k: i64 = i
    digit: i64 = 0
    while k < end:
        digit = data[k]
        if digit < _ZERO or digit > _NINE:
            break
        value = value * 10 + (digit - _ZERO)
        k += 1
        if k - i > MOST_DIGITS - scale:
            return -1, i
    if k == i or k >= end:
        return -1, i
    left: i64 = scale
    if digit == _POINT:
        k += 1
        point: i64 = k
        while k < end:
            digit = data[k]
            if digit < _ZERO or digit > _NINE:
                break
            if left > 0:
                value = value * 10 + (digit - _ZERO)
                left -= 1
            elif digit != _ZERO:
                return -1, i
            k += 1
        if k == point or k >= end:
            return -1, i
    if digit != _QUOTE:
        return -1, i
    while left > 0:
        value *= 10
        left -= 1
    return value, k + 1


def _name_end(data: bytes, i: i64, end: i64) -> i64:
    while i < end and data[i] != _QUOTE:
        i += 1
    return i


def _read_frame(frames: Frames, data: bytes, message: i64, start: i64, end: i64) -> bool:
    """Append what the frame says and return True, or return False and leave the columns as they were."""
    i = start
    stop = end
    stream: i64 = -1
    if is_at(data, i, end, b'{"stream":"'):
        name_start = i + 11
        i = _name_end(data, name_start, end)
        if not is_at(data, i, end, b'","data":{') or data[end - 1] != 125:
            return False
        stream = frames.streams.code(data, name_start, i)
        if stream < 0:
            return False
        i += 9
        stop = end - 1
    if is_at(data, i, stop, b'{"e":"trade","E":'):
        return _read_trade(frames, data, message, i + 17, stop)
    if is_at(data, i, stop, b'{"u":'):
        return _read_quote(frames, data, message, i + 5, stop, False)
    if is_at(data, i, stop, b'{"e":"bookTicker","u":'):
        return _read_quote(frames, data, message, i + 22, stop, True)
    if stream >= 0 and is_at(data, i, stop, b'{"e":"depthUpdate","E":'):
        return _read_depth(frames, data, message, i + 23, stop, stream)
    return False


def _read_trade(frames: Frames, data: bytes, message: i64, i: i64, end: i64) -> bool:
    event_ms, i = whole(data, i, end)
    trade_ms: i64 = -1
    is_futures = is_at(data, i, end, b',"T":')
    if is_futures:
        trade_ms, i = _stamp(data, i + 5, end)
    if event_ms < 0 or not is_at(data, i, end, b',"s":"'):
        return False
    name_start = i + 6
    name_end = _name_end(data, name_start, end)
    if not is_at(data, name_end, end, b'","t":'):
        return False
    trade_id, i = whole(data, name_end + 6, end)
    if trade_id < 0 or not is_at(data, i, end, b',"p":"'):
        return False
    price, i = scaled(data, i + 6, end, PRICE_SCALE)
    if price < 0 or not is_at(data, i, end, b',"q":"'):
        return False
    size, i = scaled(data, i + 6, end, SIZE_SCALE)
    if size < 0:
        return False
    if is_futures:
        if not is_at(data, i, end, b',"X":"MARKET"'):
            return False
        i += 13
    else:
        if not is_at(data, i, end, b',"T":'):
            return False
        trade_ms, i = _stamp(data, i + 5, end)
    if trade_ms < 0 or not is_at(data, i, end, b',"m":'):
        return False
    flags, i = _truth(data, i + 5, end)
    if flags >= 0 and is_futures:
        flags += IS_MARKET
    elif flags >= 0:
        if not is_at(data, i, end, b',"M":'):
            return False
        ignored, i = _truth(data, i + 5, end)
        if ignored < 0:
            return False
    if flags < 0 or i + 1 != end or data[i] != 125:
        return False
    symbol = frames.symbols.code(data, name_start, name_end)
    if symbol < 0:
        return False
    write_i64_le(frames.trade_message, message)
    write_i64_le(frames.trade_ms, trade_ms)
    write_i64_le(frames.trade_id, trade_id)
    write_i64_le(frames.trade_price, price)
    write_i64_le(frames.trade_size, size)
    write_i64_le(frames.trade_symbol, symbol)
    write_i64_le(frames.trade_flags, flags)
    return True


def _read_quote(frames: Frames, data: bytes, message: i64, i: i64, end: i64, is_futures: bool) -> bool:
    sequence, i = whole(data, i, end)
    if sequence < 0 or not is_at(data, i, end, b',"s":"'):
        return False
    name_start = i + 6
    name_end = _name_end(data, name_start, end)
    if not is_at(data, name_end, end, b'","b":"'):
        return False
    bid_price, i = scaled(data, name_end + 7, end, PRICE_SCALE)
    if bid_price < 0 or not is_at(data, i, end, b',"B":"'):
        return False
    bid_size, i = scaled(data, i + 6, end, SIZE_SCALE)
    if bid_size < 0 or not is_at(data, i, end, b',"a":"'):
        return False
    ask_price, i = scaled(data, i + 6, end, PRICE_SCALE)
    if ask_price < 0 or not is_at(data, i, end, b',"A":"'):
        return False
    ask_size, i = scaled(data, i + 6, end, SIZE_SCALE)
    if ask_size < 0:
        return False
    quote_ms: i64 = -1
    if is_futures:
        if not is_at(data, i, end, b',"T":'):
            return False
        quote_ms, i = _stamp(data, i + 5, end)
        if quote_ms < 0 or not is_at(data, i, end, b',"E":'):
            return False
        event_ms, i = whole(data, i + 5, end)
        if event_ms < 0:
            return False
    if i + 1 != end or data[i] != 125:
        return False
    symbol = frames.symbols.code(data, name_start, name_end)
    if symbol < 0:
        return False
    write_i64_le(frames.quote_message, message)
    write_i64_le(frames.quote_ms, quote_ms)
    write_i64_le(frames.quote_sequence, sequence)
    write_i64_le(frames.quote_bid_price, bid_price)
    write_i64_le(frames.quote_bid_size, bid_size)
    write_i64_le(frames.quote_ask_price, ask_price)
    write_i64_le(frames.quote_ask_size, ask_size)
    write_i64_le(frames.quote_symbol, symbol)
    return True


def _read_depth(frames: Frames, data: bytes, message: i64, i: i64, end: i64, stream: i64) -> bool:
    depth_ms, i = _stamp(data, i, end)
    is_futures = is_at(data, i, end, b',"T":')
    if is_futures and depth_ms >= 0:
        depth_ms, i = _stamp(data, i + 5, end)
    if depth_ms < 0 or not is_at(data, i, end, b',"s":"'):
        return False
    name_start = i + 6
    name_end = _name_end(data, name_start, end)
    if not is_at(data, name_end, end, b'","U":'):
        return False
    first, i = whole(data, name_end + 6, end)
    if first < 0 or not is_at(data, i, end, b',"u":'):
        return False
    last, i = whole(data, i + 5, end)
    previous: i64 = -1
    if is_futures:
        if not is_at(data, i, end, b',"pu":'):
            return False
        previous, i = whole(data, i + 6, end)
        if previous < 0:
            return False
    if last < 0 or not is_at(data, i, end, b',"b":['):
        return False
    mark: i64 = len(frames.level_price)
    bids, i = _read_levels(frames, data, i + 6, end)
    if bids >= 0 and is_at(data, i, end, b',"a":['):
        asks, i = _read_levels(frames, data, i + 6, end)
        if asks >= 0 and i + 1 == end and data[i] == 125:
            symbol = frames.symbols.code(data, name_start, name_end)
            if symbol >= 0:
                write_i64_le(frames.depth_message, message)
                write_i64_le(frames.depth_ms, depth_ms)
                write_i64_le(frames.depth_first, first)
                write_i64_le(frames.depth_last, last)
                write_i64_le(frames.depth_previous, previous)
                write_i64_le(frames.depth_symbol, symbol)
                write_i64_le(frames.depth_stream, stream)
                write_i64_le(frames.depth_bids, bids)
                write_i64_le(frames.depth_asks, asks)
                return True
    frames.level_price.truncate(mark)
    frames.level_size.truncate(mark)
    return False


def _read_levels(frames: Frames, data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Append the levels of a list whose first element is at `i`; return (count, index after `]`), count -1 when unread."""
    count: i64 = 0
    if i < end and data[i] == 93:
        return 0, i + 1
    while is_at(data, i, end, b'["'):
        price, i = scaled(data, i + 2, end, PRICE_SCALE)
        if price < 0 or not is_at(data, i, end, b',"'):
            return -1, i
        size, i = scaled(data, i + 2, end, SIZE_SCALE)
        if size < 0 or i + 1 >= end or data[i] != 93:
            return -1, i
        write_i64_le(frames.level_price, price)
        write_i64_le(frames.level_size, size)
        count += 1
        i += 2
        if data[i - 1] == 93:
            return count, i
        if data[i - 1] != _COMMA:
            return -1, i
    return -1, i


def _truth(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (1 for true or 0 for false, next index); (-1, i) for anything else."""
    if is_at(data, i, end, b"true"):
        return 1, i + 4
    if is_at(data, i, end, b"false"):
        return 0, i + 5
    return -1, i


def _stamp(data: bytes, i: i64, end: i64) -> tuple[i64, i64]:
    """Return (milliseconds, next index) of a stamp of 13 digits, years 2001 to 2286; (-1, i) for any other."""
    value, k = whole(data, i, end)
    return (value, k) if k - i == 13 else (-1, i)
