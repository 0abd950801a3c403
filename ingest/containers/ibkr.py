"""Recordings of Interactive Brokers: messages of TWS's socket, and JSON archives of historical bars and ticks.

Messages come as frames (four bytes of length, then fields that end with NUL), as JSON texts one a line, or as a YAML recording of
requests and responses (`raw: "…"`). Where the client's requests are recorded too, each answer is noted with what was asked for.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import orjson

from ingest.containers.source import Piece, Source, Told
from lake.errors import InvalidValueError
from transforms.decode.ibkr_history import interval_shown
from transforms.decode.ibkr_values import SECURITY_TYPES

WIRE_TYPE = "application/x-tws"
MOST_RECORDS = 1_000
_MOST_FRAME_BYTES = 16 * 1024 * 1024
_MOST_OPEN_REQUESTS = 10_000
_CONTRACT = (
    *(
        "conId",
        "symbol",
        "secType",
        "lastTradeDateOrContractMonth",
        "strike",
        "right",
        "multiplier",
        "exchange",
        "primaryExchange",
    ),
    *("currency", "localSymbol", "tradingClass"),
)
_ASKED: Mapping[str, tuple[tuple[str, int], ...]] = {
    "20": (("barSize", 14), ("whatToShow", 17)),
    "96": (("whatToShow", 16),),
    "97": (("tickType", 12),),
    "50": (("whatToShow", 13),),
    "1": (),
}
"""Client's requests about a contract, and what stands so many fields behind where it begins."""
_ANSWERS = ("1", "2", "17", "21", "45", "46", "50", "84", "90", "96", "97", "98", "99")
_YAML_RAW = re.compile(rb'\s*(?:- )?raw: "(.*)"\s*\Z')
_YAML_SIDE = re.compile(rb"\s*(?:- )?(request|responses):")
_YAML_VERSION = re.compile(rb"\s*server_version: (\d+)")
_ESCAPE = re.compile(rb'\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[0abtnvfre"/\\ ])')
_ESCAPED = {b"0": b"\0", b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r", b"e": b"\x1b"}
_HELLO = re.compile(rb"(\d{2,3})\0[^\0]*\0\Z")
_BARS_OR_TICKS = (b'"barCount":', b'"tickAttribLast":', b'"tickAttribBidAsk":', b'"priceBid":')


def is_wire(name: str, beginning: bytes) -> bool:
    """Return whether a file holds messages of TWS's socket, in any of the forms that are read."""
    if b"server_version:" in beginning[:4096] and b'raw: "' in beginning:
        return True
    if re.match(rb'\s*"\d{1,3}\\u0000', beginning):
        return True
    frame = beginning[4:] if beginning.startswith(b"API\0") else beginning
    length = int.from_bytes(frame[:4], "big")
    return re.match(rb"v?\d{1,4}[.\0]", frame[4:]) is not None and 2 <= length <= _MOST_FRAME_BYTES and _ends(frame, length)


def _ends(frame: bytes, length: int) -> bool:
    """Return whether a frame's last byte is what a message or a greeting ends with; a frame longer than what is seen may."""
    return len(frame) < 4 + length or frame[3 + length] == 0 or frame[4:5] == b"v"


def is_history(name: str, beginning: bytes) -> bool:
    """Return whether a file holds bars or ticks as JSON, as clients of IB's API write them."""
    packed = b"".join(beginning[:4096].split())
    return packed.startswith((b"{", b"[{")) and any(word in packed[:600] for word in _BARS_OR_TICKS)


def history_records(source: Source, told: Told) -> Iterator[Piece]:
    """Yield messages of up to MOST_RECORDS lines, or the array that the file is, with the manifest's words and the interval."""
    contract = {name: value for name, value in told.manifest.items() if name not in ("file", "url", "method", "status", "date")}
    interval = interval_shown(source.beginning().rsplit(b"\n", 1)[0])
    known = {name: value for name, value in (("contract", contract), ("interval", interval)) if value}
    if source.beginning().lstrip().startswith(b"["):
        payload = b"".join(source.chunks())
        known |= {} if interval or (shown := interval_shown(payload)) is None else {"interval": shown}
        yield Piece(payload, "application/json", request=told.request(**known))
        return
    chunk: list[bytes] = []
    first = 0
    for number, line in enumerate(line for line in source.lines() if line.strip()):
        if len(chunk) == MOST_RECORDS:
            yield Piece(b"\n".join(chunk) + b"\n", "application/x-ndjson", request=told.request(first_record=first, **known))
            chunk, first = [], number
        chunk.append(line)
    if chunk:
        yield Piece(b"\n".join(chunk) + b"\n", "application/x-ndjson", request=told.request(first_record=first, **known))


def wire_messages(source: Source, told: Told) -> Iterator[Piece]:
    """Yield messages with the server's version, their direction, and what was asked for, where the recording tells them."""
    asked = _Asked()
    version: int | None = None
    for number, (payload, side, found) in enumerate(_recorded(source)):
        version = version if found is None else found
        notes: dict[str, object] = {"message": number}
        if version is not None:
            notes["server_version"] = version
        if side is not None:
            notes["direction"] = side
        if side == "request":
            asked.take(payload)
        else:
            notes |= asked.about(payload)
        yield Piece(payload, WIRE_TYPE, request=told.request(**notes))


class _Asked:
    """What the client asked for, by the number of its request."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, object]] = OrderedDict()

    def take(self, payload: bytes) -> None:
        """Learn a request about a contract; any other tells nothing."""
        fields = payload.decode("utf-8", "replace").split("\0")
        if fields[0] not in _ASKED:
            return
        begin = next((at for at in (2, 3) if len(fields) > at + 12 and fields[at + 2] in SECURITY_TYPES), None)
        if begin is None:
            return
        contract = {name: value for name, value in zip(_CONTRACT, fields[begin:], strict=False) if value}
        ask = {name: fields[begin + place] for name, place in _ASKED[fields[0]] if len(fields) > begin + place}
        self._known[fields[begin - 1]] = {"contract": contract, "ask": ask}
        if len(self._known) > _MOST_OPEN_REQUESTS:
            self._known.popitem(last=False)

    def about(self, payload: bytes) -> dict[str, object]:
        """Return what an answer was asked with; nothing where that is not known."""
        fields = payload[:200].decode("utf-8", "replace").split("\0")
        if fields[0] not in _ANSWERS or not self._known:
            return {}
        return next((self._known[one] for one in fields[1:3] if one in self._known), {})


def _recorded(source: Source) -> Iterator[tuple[bytes, str | None, int | None]]:
    """Yield (message, its direction where told, the server's version where it is told before it)."""
    beginning = source.beginning()
    if b'raw: "' in beginning:
        yield from _of_yaml(source)
    elif beginning.lstrip().startswith(b'"'):
        for line in source.lines():
            if line.strip():
                yield _text_of(line), None, None
    else:
        yield from _frames(source)


def _text_of(line: bytes) -> bytes:
    """Return the text of a JSON line; a line that is none stays as it is, for the decoder to judge."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return line
    return found.encode() if isinstance(found, str) else line


def _of_yaml(source: Source) -> Iterator[tuple[bytes, str | None, int | None]]:
    side: str | None = None
    version: int | None = None
    for line in source.lines():
        if (told := _YAML_VERSION.match(line)) is not None:
            version = int(told[1][:9])
        elif (turned := _YAML_SIDE.match(line)) is not None:
            side = "request" if turned[1] == b"request" else "response"
        elif (raw := _YAML_RAW.match(line)) is not None:
            yield _ESCAPE.sub(lambda found: _unescaped(found[1]), raw[1]), side, version


def _unescaped(escape: bytes) -> bytes:
    if escape[:1] in b"xu" and len(escape) > 1:
        return chr(int(escape[1:], 16)).encode("utf-8", "replace")
    return _ESCAPED.get(escape, escape)


def _frames(source: Source) -> Iterator[tuple[bytes, str | None, int | None]]:
    """Yield frames by their lengths; what is no frame any more is one message, for the decoder to judge."""
    buffer = bytearray()
    is_first, at = True, 0
    for chunk in source.chunks():
        del buffer[:at]
        buffer += chunk
        at = 4 if is_first and buffer.startswith(b"API\0") else 0
        while len(buffer) >= at + 4:
            length = int.from_bytes(buffer[at : at + 4], "big")
            if length > _MOST_FRAME_BYTES:
                raise InvalidValueError(f"{source.path}: a frame of {length} bytes; expected at most {_MOST_FRAME_BYTES}")
            if len(buffer) < at + 4 + length:
                break
            payload = bytes(buffer[at + 4 : at + 4 + length])
            hello = _HELLO.match(payload) if is_first else None
            yield payload, None, None if hello is None else int(hello[1])
            is_first, at = False, at + 4 + length
    if len(buffer) > at:
        yield bytes(buffer[at:]), None, None
