"""FIX market data, 4.2 to 5.0 SP2: snapshots (W), increments (X), quotes (S, i), definitions (d, y), statuses (f, h).

A message whose length, sum or group counts are wrong is refused whole; session messages, requests and rejects are control; other
application messages are refused as not_market_data. Rows are numbered by ApplSeqNum, else MsgSeqNum, within `venue_session`
(sender and day, and how often its numbers began anew); without any, by the message's place in its capture. A message sent again
(PossDup) was sent when it first was. Instants are UTC.
Source: PROVIDERS.md section 7; the specification at fixtrading.org.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.decode.decoded import (
    BOOK_EVENTS,
    FUTURES_CONTRACTS,
    INDEX_LEVELS,
    OPTION_CONTRACTS,
    QUOTES,
    STATUS_EVENTS,
    TRADE_EVENTS,
    TRADES,
    Decoded,
    in_order,
    texts,
)
from transforms.decode.delivery import json_object
from transforms.decode.fix_columns import Columns
from transforms.decode.fix_definitions import definition_rows, definitions_of
from transforms.decode.fix_entries import (
    ENTRIES,
    Place,
    Row,
    clear_row,
    conditions_of,
    detail_of,
    increment_rows,
    indices_of,
    price_of,
    quote_row,
    size_of,
    snapshot_rows,
    table_of,
    with_context,
)
from transforms.decode.fix_message import Fields, Message, parse
from transforms.decode.fix_values import (
    SENDING_TIME,
    SESSION_STATUSES,
    STATUSES,
    TRANSACT_TIME,
    about,
    stamp,
    symbol_of,
)
from transforms.decode.readers import Reader, read_messages
from transforms.kernels import fix as kernel
from transforms.numbers import Int64s, NumberRefusedError

TABLES = (*(TRADES, TRADE_EVENTS, QUOTES, BOOK_EVENTS, STATUS_EVENTS, INDEX_LEVELS, OPTION_CONTRACTS, FUTURES_CONTRACTS),)
CONTROL = frozenset(["0", "1", "2", "3", "4", "5", "A", "V", "Y", "R", "c", "e", "g", "v", "x", "b", "Z", "j", "n", "BE", "BF"])
"""Session messages, requests for market data and definitions, their rejections, acknowledgements of quotes."""
_POSS_DUP, _ORIG_SENDING_TIME = 43, 122
_SETS, _QUOTES, _SET_ID = 296, 295, 302
_BID_PX, _OFFER_PX, _BID_SIZE, _OFFER_SIZE, _BID_SPOT, _OFFER_SPOT = 132, 133, 134, 135, 188, 190
_STATUS, _HALT_REASON, _LAST_PX, _HIGH, _LOW, _SESSION_STATUS, _TEXT = 326, 327, 31, 332, 333, 340, 58


def decode(messages: pa.Table) -> Decoded:
    """Return what FIX messages say about the market; frequent increments go through the kernel."""
    return decode_with(messages, kernel.read_increments)


def decode_with(messages: pa.Table, scan: Callable[[bytes, bytes], kernel.Increments] | None) -> Decoded:
    """Return the same as `decode`: with `scan` for plain increments, or (None) all by the tree."""
    if scan is None:
        return _by_tree(messages)
    index = np.flatnonzero(_is_plain(messages))
    payload = messages["payload"].take(pa.array(index)).combine_chunks()
    given = payload.cast(pa.large_binary()).fill_null(b"")
    offsets = np.cumsum(np.concatenate([np.zeros(1, np.int64), pc.binary_length(given).to_numpy(zero_copy_only=False)]))
    data = b"".join(given.to_pylist())
    found = scan(data, offsets.astype(np.int64).tobytes())
    unread = np.frombuffer(found.unread.getvalue(), np.int64)
    left = np.sort(np.concatenate([np.setdiff1d(np.arange(messages.num_rows), index), index[unread]]))
    rest = _by_tree(messages.take(pa.array(left)))
    columns = Columns(found, index)
    read = {BOOK_EVENTS: [columns.book_events(data)], INDEX_LEVELS: columns.index_levels()}
    back = pa.array(left)
    tables = {name: in_order(name, [_placed(table, back), *read.get(name, [])]) for name, table in rest.tables.items()}
    return Decoded(tables, _placed(rest.refused, back), rest.control, rest.skipped)


def _by_tree(messages: pa.Table) -> Decoded:
    reader = _FixReader(texts(messages, "capture_id"), _numbers(messages))
    return read_messages(reader, messages, reader.read)


def _is_plain(messages: pa.Table) -> Int64s:
    """Return which messages are neither repeats nor of numbers that began anew, as their requests tell."""
    if "request" not in messages.column_names:
        return np.ones(messages.num_rows, np.int64)
    noted = pc.match_substring_regex(messages["request"], '"(repeats|session)"')
    plain: Int64s = pc.invert(pc.fill_null(noted, False)).to_numpy().astype(np.int64)
    return plain


def _placed(rows: pa.Table, back: pa.Array) -> pa.Table:
    """Return rows whose messages are counted as the caller counts them."""
    at = rows.schema.get_field_index("message_index")
    return rows.set_column(at, rows.schema.field(at), back.take(rows["message_index"]))


def _numbers(messages: pa.Table) -> Sequence[int]:
    if "message_seq" not in messages.column_names:
        return range(messages.num_rows)
    found: list[int] = messages["message_seq"].to_pylist()
    return found


class _FixReader(Reader):
    """The rows of FIX messages while they are read."""

    def __init__(self, captures: Sequence[str | None], numbers: Sequence[int]) -> None:
        super().__init__(TABLES)
        self._captures, self._numbers = captures, numbers
        self._restarts = 0

    def begin(self, message: int, request: str | None, headers: str | None) -> None:
        """Turn to the next message; its request tells how often the numbers of its sender began anew."""
        self.message, self.ordinal = message, 0
        told = json_object(request).get("session") if request is not None and '"session"' in request else 0
        self._restarts = told if isinstance(told, int) else 0

    def read(self, payload: bytes) -> None:
        """Read one message. Raises NumberRefusedError for one that is refused whole."""
        message = parse(payload)
        body = message.body
        if message.kind in CONTROL:
            return
        readers = {
            "W": self._snapshot, "X": self._increment, "i": self._mass_quote, "S": self._quote, "d": self._definitions,
            "y": self._definitions, "f": self._status, "h": self._session_status,
        }  # fmt: skip
        if message.kind not in readers:
            raise NumberRefusedError("not_market_data", f"35={message.kind}", "one of W, X, S, i, d, y, f, h")
        readers[message.kind](message, self._place(body))

    def _place(self, body: Fields) -> Place:
        sent = stamp(body, SENDING_TIME)
        if body.text(_POSS_DUP) == "Y" and body.text(_ORIG_SENDING_TIME) is not None:
            sent = stamp(body, _ORIG_SENDING_TIME)
        day = "" if sent is None else f"/{sent[0]:%Y%m%d}"
        restarts = f".{self._restarts}" if self._restarts else ""
        for tag, sender in ((1181, body.text(1180)), (34, body.text(49))):
            number = body.text(tag)
            if number is not None and number.isdecimal() and number.isascii() and len(number) <= 18:
                parties = sender or ""
                if tag == 34 and body.text(56) is not None:
                    parties = f"{parties}>{body.text(56)}"
                return Place(sent, int(number), parties or f"{tag}", f"{parties}{day}{restarts}")
        capture = self._captures[self.message] or "capture"
        return Place(sent, self._numbers[self.message], body.text(1180) or body.text(49) or "unnumbered", capture)

    def _take(self, rows: Iterable[tuple[str, Row]], table: str) -> None:
        """Append the rows of one entry, or refuse it as one that would have been of `table`."""
        try:
            for name, row in rows:
                self.rows[name].add(self.message, self.ordinal, row)
                self.ordinal += 1
        except NumberRefusedError as error:
            self.refuse(table, error)

    def _snapshot(self, message: Message, place: Place) -> None:
        body = message.body
        entries, at = body.groups.get(ENTRIES), place.sent
        if entries is None:
            raise NumberRefusedError("entry_count", None, "268, the number of entries")
        if body.text(TRANSACT_TIME) is not None:
            at = stamp(body, TRANSACT_TIME)
        placed = Place(at, place.sequence, place.channel, place.session)
        if not entries:
            row = about(body, symbol_of(body)) | placed.at(at)
            self._take([(BOOK_EVENTS, clear_row(placed, 0, row, "snapshot"))], BOOK_EVENTS)
        indices = indices_of(entries, body)
        for index, entry in enumerate(entries):
            self._take(snapshot_rows(placed, index, entry, body, indices), table_of(entry))
        try:
            quote = quote_row(placed, body, entries)
        except NumberRefusedError:
            return  # its entry is refused above, with the same reason
        if quote is not None:
            self._take([(QUOTES, quote)], QUOTES)

    def _increment(self, message: Message, place: Place) -> None:
        body = message.body
        entries = body.groups.get(ENTRIES)
        if entries is None:
            raise NumberRefusedError("entry_count", None, "268, the number of entries")
        at = stamp(body, TRANSACT_TIME) or place.sent
        placed = Place(at, place.sequence, place.channel, place.session)
        indices, before = indices_of(entries, None), None
        for index, entry in enumerate(entries):
            whole = with_context(entry, before)
            self._take(increment_rows(placed, index, whole, indices), table_of(whole))
            before = whole

    def _quote(self, message: Message, place: Place) -> None:
        self._take([(QUOTES, _quote_of(message.body, [], place) | {"sequence": place.sequence})], QUOTES)

    def _mass_quote(self, message: Message, place: Place) -> None:
        for quotes in message.body.groups.get(_SETS, []):
            for entry in quotes.groups.get(_QUOTES, []):
                try:
                    row = _quote_of(entry, [quotes, message.body], place)
                except NumberRefusedError as error:
                    self.refuse(QUOTES, error)
                else:
                    self._take([(QUOTES, row)], QUOTES)

    def _definitions(self, message: Message, place: Place) -> None:
        at: tuple[datetime, int] | None = stamp(message.body, TRANSACT_TIME) or place.sent
        for entry in definitions_of(message.kind, message.body):
            self._take(definition_rows(place, entry, at), STATUS_EVENTS)

    def _status(self, message: Message, place: Place) -> None:
        body = message.body
        code = body.text(_STATUS)
        status, is_trading = STATUSES.get(code or "", (None, None))
        row = self._system_row(message, place, "trading_status")
        if body.text(55) is not None or body.text(48) is not None:
            row |= about(body, symbol_of(body))
        row |= {"code": code, "status": status, "is_trading": is_trading, "reason": body.text(_HALT_REASON) or body.text(_TEXT)}
        prices = {"price": price_of(body, _LAST_PX), "upper_price": price_of(body, _HIGH), "lower_price": price_of(body, _LOW)}
        self._take([(STATUS_EVENTS, row | prices)], STATUS_EVENTS)

    def _session_status(self, message: Message, place: Place) -> None:
        code = message.body.text(_SESSION_STATUS)
        status, is_trading = SESSION_STATUSES.get(code or "", (None, None))
        row = self._system_row(message, place, "system") | {"code": code, "status": status, "is_trading": is_trading}
        self._take([(STATUS_EVENTS, row | {"reason": message.body.text(_TEXT)})], STATUS_EVENTS)

    @staticmethod
    def _system_row(message: Message, place: Place, kind: str) -> Row:
        at = stamp(message.body, TRANSACT_TIME) or place.sent
        told = {"channel": place.channel, "venue_session": place.session, "sequence": place.sequence, "exchange_zone": "UTC"}
        return place.at(at) | told | {"kind": kind, "detail": detail_of(message.body)}


def _quote_of(entry: Fields, around: Sequence[Fields], place: Place) -> Row:
    """Return the quote of one entry; the instrument may stand in the set around it. Raises NumberRefusedError."""
    named = next((one for one in (entry, *around) if one.text(55) or one.text(48)), None)
    if named is None:
        sets = next((one.text(_SET_ID) for one in around if one.text(_SET_ID)), None)
        raise NumberRefusedError("unknown_symbol", f"302={sets}", "55 Symbol or 48 SecurityID in the entry or its set")
    told = [stamp(one, TRANSACT_TIME) for one in (entry, *around)]
    at = next((found for found in told if found is not None), place.sent)
    row = (
        about(named, symbol_of(named)) | place.at(at) | {"venue_session": place.session, "conditions": conditions_of(entry, 276)}
    )
    for side, price, spot, size in (("bid", _BID_PX, _BID_SPOT, _BID_SIZE), ("ask", _OFFER_PX, _OFFER_SPOT, _OFFER_SIZE)):
        found = price_of(entry, price) if entry.text(price) is not None else price_of(entry, spot)
        row |= {f"{side}_price": found, f"{side}_size": None if found is None else size_of(entry, size)}
    return row
