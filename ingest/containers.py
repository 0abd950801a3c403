"""How a file of each feed is cut into messages, at record boundaries, without losing a byte that can be read.

A file may be gzip (told by its first bytes). A damaged one gives what can be read, then says what is wrong in `damage`.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from ingest.conversation import FrameMemory
from lake.errors import InvalidValueError, NotFoundError

CSV_CHUNK_RECORDS = 500
CSV_CHUNK_BYTES = 128 * 1024
"""A CSV message is the header and so many records, well inside one block of the log."""
_MAX_RECORD_BYTES = 64 * 1024
"""A quote left open does not swallow the file: a record longer than this is cut at its next line end."""
_READ_BYTES = 64 * 1024
_SNIFF_BYTES = 64 * 1024
_RECORDED_LINE = re.compile(rb"(\d{19}) (.*)\Z", re.DOTALL)
_STREAM_SYMBOL = re.compile(rb'\{"stream":"([a-z0-9]+)@')


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a file before it has a number; `ts_recv_ns` is None unless the file recorded it."""

    payload: bytes
    content_type: str
    ts_recv_ns: int | None = None
    request: Mapping[str, object] | None = None
    status: int | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What is known about a file beside its bytes: the user's words, and what its `_manifest.json` recorded."""

    file: str
    received_at: datetime | None = None
    mapping: Mapping[str, object] | None = None
    manifest: Mapping[str, object] = field(default_factory=dict)

    def request(self, **more: object) -> dict[str, object]:
        """Return the request JSON of a message of this file."""
        known: dict[str, object] = {"file": self.file}
        if isinstance(self.manifest.get("url"), str):
            known |= {"method": self.manifest.get("method", "GET"), "url": self.manifest["url"]}
        if self.received_at is not None:
            known["received_at"] = self.received_at.isoformat()
        return known | more


class Source:
    """A file's content as chunks of bytes, decompressed where it is gzip. Read it as often as needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: str | None = None
        """After reading: what is wrong with the file, or None."""
        self.sha256 = ""
        """After reading to the end: of the content, in hex."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; sets `damage` when the rest cannot be read."""
        self.damage = None
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                head = file.read(2)
                file.seek(0)
                raw = iter(lambda: file.read(_READ_BYTES), b"")
                for chunk in self._gunzipped(raw) if head == b"\x1f\x8b" else raw:
                    digest.update(chunk)
                    yield chunk
        except OSError as error:
            self.damage = f"cannot be read: {error}"
        self.sha256 = digest.hexdigest()

    def beginning(self) -> bytes:
        """Return the first bytes of the content."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) >= _SNIFF_BYTES:
                break
        return bytes(found[:_SNIFF_BYTES])

    def lines(self) -> Iterator[bytes]:
        """Yield lines without their ends (LF or CR LF); an unfinished last line is a line."""
        rest = b""
        for chunk in self.chunks():
            parts = (rest + chunk).split(b"\n")
            rest = parts.pop()
            for part in parts:
                yield part.removesuffix(b"\r")
        if rest:
            yield rest

    def _gunzipped(self, raw: Iterable[bytes]) -> Iterator[bytes]:
        member, size = zlib.decompressobj(31), 0
        for chunk in raw:
            while chunk:
                if member.eof:
                    member = zlib.decompressobj(31)
                before = member.copy()
                try:
                    plain = member.decompress(chunk)
                except zlib.error as error:
                    plain = _until_damage(before, chunk)
                    self.damage = f"gzip is damaged after {size + len(plain)} bytes of content: {error}"
                    yield plain
                    return
                size += len(plain)
                yield plain
                chunk = member.unused_data
        if not member.eof:
            self.damage = f"gzip ends early, after {size} bytes of content"


def _until_damage(member: zlib._Decompress, chunk: bytes) -> bytes:
    plain = bytearray()
    for byte in chunk:
        try:
            plain += member.decompress(bytes((byte,)))
        except zlib.error:
            break
    return bytes(plain)


def recorded_frames(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the frames of a recorded stream: lines of `<receive time in ns> <frame>`.

    A line of another form is a message whole, for the decoder to judge; an empty line is none. A frame without a stream
    name is a REST snapshot, which does not name its symbol: it gets the symbol of the streams recorded before it.
    """
    symbol: str | None = None
    for number, line in enumerate(source.lines()):
        if not line.strip():
            continue
        found = _RECORDED_LINE.match(line)
        if found is None or int(found[1]) >= 1 << 63:
            yield Piece(line, "application/json", request=told.request(line=number))
            continue
        frame = found[2]
        stream = _STREAM_SYMBOL.match(frame)
        if stream is not None:
            symbol = stream[1].decode().upper()
            yield Piece(frame, "application/json", int(found[1]))
        else:
            named = {} if symbol is None else {"symbol": symbol, "params": {"symbol": symbol}}
            yield Piece(frame, "application/json", int(found[1]), told.request(line=number, **named))


def whole_document(content_type: str) -> Callable[[Source, Told], Iterator[Piece]]:
    """Return a splitter that makes the file one message."""

    def split(source: Source, told: Told) -> Iterator[Piece]:
        payload = b"".join(source.chunks())
        if not payload:
            return
        known = told.manifest
        headers = {name: str(known[key]) for name, key in (("date", "date"), ("content-type", "content_type")) if known.get(key)}
        status = known.get("status")
        yield Piece(
            payload,
            content_type,
            request=told.request(),
            status=status if isinstance(status, int) else None,
            headers=headers or None,
        )

    return split


def csv_chunks(source: Source, told: Told) -> Iterator[Piece]:
    """Yield messages of the header and up to CSV_CHUNK_RECORDS records, the mapping in each one's request.

    A record ends at a line end outside quotes. Raises InvalidValueError without a mapping.
    """
    if told.mapping is None:
        raise InvalidValueError(f"{told.file}: a CSV file needs a mapping that says what its columns are")
    records = _records(source.lines())
    header = next(records, None)
    if header is None:
        return
    chunk: list[bytes] = []
    size = number = first = 0
    for index, record in enumerate(records):
        if chunk and (len(chunk) == CSV_CHUNK_RECORDS or size + len(record) > CSV_CHUNK_BYTES):
            yield _csv_piece(told, header, chunk, number, first)
            chunk, size, number, first = [], 0, number + 1, index
        chunk.append(record)
        size += len(record) + 1
    yield _csv_piece(told, header, chunk, number, first)


def _csv_piece(told: Told, header: bytes, chunk: list[bytes], number: int, first: int) -> Piece:
    request = told.request(mapping=told.mapping, chunk=number, first_record=first)
    return Piece(b"\n".join([header, *chunk]) + b"\n", "text/csv", request=request)


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    pending = b""
    for line in lines:
        pending = pending + b"\n" + line if pending else line
        if not pending.strip():
            pending = b""
        elif pending.count(b'"') % 2 == 0 or len(pending) > _MAX_RECORD_BYTES:
            yield pending
            pending = b""
    if pending:
        yield pending


def json_lines(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the lines of a file of frames, one a line, as messages; a line that came before is noted, as a session does."""
    memory = FrameMemory()
    for number, line in enumerate(line for line in source.lines() if line.strip()):
        first = None if b'"ping"' in line[:40] else memory.first_of(line, number)
        note = {} if first is None else {"repeats": first}
        yield Piece(line, "application/json", request=told.request(line=number, **note))


def answer_or_frames(source: Source, told: Told) -> Iterator[Piece]:
    """Yield a file of Alpaca's: frames of the stream, an array a line, or one answer."""
    is_frames = source.beginning().lstrip().startswith(b'[{"T"')
    yield from (json_lines if is_frames else whole_document("application/json"))(source, told)


def _looks_like_binance(beginning: bytes) -> frozenset[str]:
    if not re.match(rb'(\d{19} )?\{"(stream|lastUpdateId|e)"', beginning):
        return frozenset()
    is_usdm = b'"pu":' in beginning or b'"X":"' in beginning
    is_spot = b'"M":' in beginning
    if is_usdm == is_spot:
        return frozenset({"spot", "usdm"})
    return frozenset({"usdm" if is_usdm else "spot"})


@dataclass(frozen=True, slots=True)
class Container:
    """How files of one feed are recognised and cut."""

    split: Callable[[Source, Told], Iterator[Piece]]
    is_one: Callable[[str, bytes], bool]
    """By file name and first bytes."""


def _is_chart(name: str, beginning: bytes) -> bool:
    return beginning.lstrip().startswith(b'{"chart"')


def _is_csv(name: str, beginning: bytes) -> bool:
    return name.lower().removesuffix(".gz").endswith(".csv")


def _is_reorg(name: str, beginning: bytes) -> bool:
    return b"TEXT#" in beginning and b"ENT:" in beginning


def _begins(*words: bytes) -> Callable[[str, bytes], bool]:
    """Return whether a file's first kilobyte, blanks left out, has any of `words`."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning[:1024].split())
        return any(word in packed for word in words)

    return is_one


def _is_alpaca(name: str, beginning: bytes) -> bool:
    packed = b"".join(beginning[:1024].split())
    return packed.startswith((b'{"bars":', b'{"trades":', b'{"quotes":', b'{"snapshots":', b'{"next_page_token":', b'[{"T":'))


def _is_alpha_vantage(name: str, beginning: bytes) -> bool:
    packed = b"".join(beginning[:1024].split())
    is_json = packed.startswith((b'{"MetaData":', b'{"GlobalQuote":', b'{"RealtimeCurrency'))
    return is_json or packed.startswith((b"time,open,", b"timestamp,open,")) or b"AlphaVantage!" in packed[:80]


CONTAINERS: dict[tuple[str, str], Container] = {
    ("binance", "spot"): Container(recorded_frames, lambda _, beginning: "spot" in _looks_like_binance(beginning)),
    ("binance", "usdm"): Container(recorded_frames, lambda _, beginning: "usdm" in _looks_like_binance(beginning)),
    ("yahoo", "chart"): Container(whole_document("application/json"), _is_chart),
    ("csv", "bars"): Container(csv_chunks, _is_csv),
    ("csv", "actions"): Container(csv_chunks, _is_csv),
    ("ice", "reorg"): Container(whole_document("text/plain"), _is_reorg),
    **{("alpaca", feed): Container(answer_or_frames, _is_alpaca) for feed in ("iex", "sip", "opra", "indicative", "crypto")},
    ("alpaca", "actions"): Container(whole_document("application/json"), _begins(b'"corporate_actions":')),
    ("finnhub", "quote"): Container(whole_document("application/json"), _begins(b'"pc":')),
    ("finnhub", "trades"): Container(json_lines, _begins(b'"type":"trade"', b'"type":"ping"')),
    ("alpha_vantage", "stocks"): Container(whole_document("application/json"), _is_alpha_vantage),
    ("alpha_vantage", "currencies"): Container(whole_document("application/json"), _is_alpha_vantage),
}
"""How files of each feed are cut: one line a feed."""


def container_named(provider: str, feed: str) -> Container:
    """Return how files of a feed are cut. Raises NotFoundError that lists what can be imported."""
    found = CONTAINERS.get((provider, feed))
    if found is None:
        known = ", ".join(f"{provider} {feed}" for provider, feed in sorted(CONTAINERS))
        raise NotFoundError(f"no import for feed {provider} {feed}; there are {known}")
    return found


def manifest_entry(path: Path) -> dict[str, object]:
    """Return what `_manifest.json` beside `path` says of it: url, status, date; nothing when there is none.

    Raises InvalidValueError naming the manifest when it is not a JSON list of objects.
    """
    manifest = path.parent / "_manifest.json"
    if not manifest.is_file():
        return {}
    try:
        entries = orjson.loads(manifest.read_bytes())
        found = [entry for entry in entries if entry["file"] == path.name]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise InvalidValueError(f"{manifest}: expected a JSON list of objects with a `file` each ({error!r})") from error
    return dict(found[0]) if found else {}
