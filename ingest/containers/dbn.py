"""Databento's files: DBN 1 to 3, plain or in zstd, and DBZ; read as a stream, cut between records.

The first messages are the header as it lies, then batches of records with what the header says of them: dataset, schema,
and the symbols of just the instruments in the batch. So each batch can be read alone. Memory is a batch and the header.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import zstandard

from ingest.containers.dbn_header import (
    LONGEST_HEADER_BYTES,
    PRELUDE_BYTES,
    Header,
    read_header,
    read_old_header,
)
from ingest.containers.source import Piece, Source, Told
from lake.errors import ProtocolError
from transforms.decode.dbn_layout import LONGEST_RECORD, SYMBOL_MAPPING, WORD, Bytes, gathered, layout_of, record_starts, run_keys
from transforms.numbers import Int64s

RECORDS_TYPE = "application/vnd.databento.dbn"
HEADER_TYPE = "application/vnd.databento.dbn-header"
BATCH_BYTES = 128 * 1024
"""A batch of records, well inside one block of the log."""
_LAST_RECEIPT_NS = 4_102_444_800_000_000_000
"""The year 2100: a later receipt is damage or the undefined time."""
_HEADER_PART_BYTES = 1024 * 1024
_DATASET = re.compile(r"[A-Za-z0-9]+(\.[A-Za-z0-9]+)+")
_ZSTD = b"\x28\xb5\x2f\xfd"
_SLICE_BYTES = 4096
"""Compressed bytes decoded at once: so much of a damaged file's last good part can be lost."""


def is_dbn(name: str, beginning: bytes) -> bool:
    """Return whether a file is of DBN or DBZ, by its first bytes; a zstd block may be longer than those, so by its name too."""
    is_named = name.endswith((".dbn.zst", ".dbn", ".dbz")) and bool(beginning)
    return dataset_of(beginning) is not None or (is_named and beginning.startswith(_ZSTD))


def file_feed(source: Source) -> str | None:
    """Return the feed of a file's dataset, like `xnas.itch`; None where its header cannot be read or names no dataset."""
    _, header, _ = _header(_Stream(source))
    return None if header is None or not _DATASET.fullmatch(header.dataset) else header.dataset.lower()


def dataset_of(beginning: bytes) -> str | None:
    """Return the dataset that the first bytes of a file of DBN or DBZ tell; None for any other file."""
    if _is_old(beginning):
        found = beginning[12:28]
    else:
        plain = _first_plain(beginning) if beginning.startswith(_ZSTD) else beginning
        if not plain.startswith(b"DBN") or len(plain) < PRELUDE_BYTES + 16:
            return None
        found = plain[PRELUDE_BYTES : PRELUDE_BYTES + 16]
    return found.rstrip(b"\0").decode("ascii", "replace")


def dbn_batches(source: Source, told: Told) -> Iterator[Piece]:
    """Yield the header as it lies, then batches of whole records; what cannot be read is the last messages, told so.

    A batch ends before a record that maps a symbol, unless it begins with one: symbols hold for a whole batch.
    """
    stream = _Stream(source)
    head, header, fault = _header(stream)
    for part in range(0, len(head), _HEADER_PART_BYTES):
        kept = head[part : part + _HEADER_PART_BYTES]
        yield Piece(kept, HEADER_TYPE, request=told.request(part=part // _HEADER_PART_BYTES, **_note(fault)))
    number, run = 0, (0, 0)
    while header is not None and stream.fill(BATCH_BYTES + LONGEST_RECORD):
        window = np.frombuffer(stream.peek(BATCH_BYTES), np.uint8)
        starts = _batch_starts(window)
        if not len(starts):
            break
        size = int(starts[-1]) + int(window[starts[-1]]) * WORD
        payload = stream.take(size)
        keys = _run_keys(np.frombuffer(payload, np.uint8), starts, header)
        repeats = run[1] if len(keys) and keys[0] == run[0] else 0
        yield _batch(payload, starts, header, told, number, repeats)
        run = _last_run(keys, repeats)
        number += len(starts)
    while rest := stream.take(BATCH_BYTES if stream.fill(BATCH_BYTES) else 0):
        yield Piece(rest, RECORDS_TYPE, request=told.request(first_record=number, fault=fault or "no whole record"))


def is_reference_lines(name: str, beginning: bytes) -> bool:
    """Return whether a file is of Databento's reference data: a JSON object a line, plain or in zstd."""
    plain = _first_plain(beginning) if beginning.startswith(_ZSTD) else beginning
    first = b"".join(plain[:4096].split())
    words = (b'"event_unique_id":', b'"ts_effective":', b'"sentiment":')
    return first.startswith(b"{") and b'"security_id":' in first and any(word in first for word in words)


def reference_lines(source: Source, told: Told) -> Iterator[Piece]:
    """Yield batches of lines of reference data, plain or in zstd, each with the number of its first line."""
    lines: list[bytes] = []
    size = number = 0
    for line in _Unpacked(source).lines():
        if lines and size + len(line) >= BATCH_BYTES:
            yield Piece(b"\n".join(lines), "application/jsonl", request=told.request(first_line=number))
            lines, size, number = [], 0, number + len(lines)
        lines.append(line)
        size += len(line) + 1
    if any(lines):
        yield Piece(b"\n".join(lines), "application/jsonl", request=told.request(first_line=number))


class _Unpacked(Source):
    """A source whose content is unpacked from zstd; its hash is of the file as it lies."""

    def __init__(self, source: Source) -> None:
        super().__init__(source.path)
        self._lying = source

    def chunks(self) -> Iterator[bytes]:
        """Yield the content."""
        stream = _Stream(self._lying)
        while stream.fill(1):
            yield stream.take(BATCH_BYTES)


def _note(fault: str | None) -> dict[str, object]:
    return {} if fault is None else {"fault": fault}


def _batch_starts(window: Bytes) -> Int64s:
    """Return where the records of the next batch begin."""
    starts = record_starts(window)
    is_mapping = window[starts + 1] == SYMBOL_MAPPING
    begins = np.flatnonzero(is_mapping[1:] & ~is_mapping[:-1])
    return starts[: int(begins[0]) + 1] if len(begins) else starts


def _run_keys(data: Bytes, starts: Int64s, header: Header) -> Int64s:
    """Return which packet or snapshot each record of a batch of one kind is of; none where records have no sequence."""
    length = int(data[starts[0]]) * WORD
    layout = layout_of(int(data[starts[0] + 1]), length, header.has_ts_out)
    names = () if layout is None else layout.names or ()
    if layout is None or not {"sequence", "flags"} <= set(names) or len(data) != length * len(starts):
        return np.empty(0, np.int64)
    return run_keys(gathered(data, starts, layout, length))


def _last_run(keys: Int64s, repeats: int) -> tuple[int, int]:
    """Return the packet or snapshot of the last record, and how many records in a row are of it, over batches."""
    if not len(keys):
        return 0, 0
    other = np.flatnonzero(keys != keys[-1])
    return int(keys[-1]), len(keys) - int(other[-1]) - 1 if len(other) else len(keys) + repeats


def _batch(payload: bytes, starts: Int64s, header: Header, told: Told, number: int, repeats: int) -> Piece:
    data = np.frombuffer(payload, np.uint8)
    for at in starts[data[starts + 1] == SYMBOL_MAPPING].tolist():
        _take_mapping(payload[at : at + payload[at] * WORD], header)
    ids = data[starts[:, None] + np.arange(4, 8)].view("<u4").reshape(len(starts))
    about: dict[str, object] = {
        "version": header.version,
        "dataset": header.dataset,
        "schema": header.schema,
        "ts_out": header.has_ts_out,
        "repeats": repeats,
        "symbols": header.symbols.of(np.unique(ids)),
    }
    return Piece(payload, RECORDS_TYPE, _receipt_ns(data, starts, header), told.request(first_record=number, dbn=about))


def _receipt_ns(data: Bytes, starts: Int64s, header: Header) -> int | None:
    """Return when Databento received the last record of a batch; None where records do not tell."""
    last = int(starts[-1])
    length = int(data[last]) * WORD
    layout = layout_of(int(data[last + 1]), length, header.has_ts_out)
    if layout is None or "ts_recv" not in (layout.names or ()):
        return None
    told = int(gathered(data, starts[-1:], layout, length)["ts_recv"][0])
    return told if 0 < told < _LAST_RECEIPT_NS else None


def _take_mapping(record: bytes, header: Header) -> None:
    """Take the symbol that a live capture's record tells."""
    layout = layout_of(SYMBOL_MAPPING, len(record), header.has_ts_out)
    if layout is not None:
        told = np.frombuffer(record, layout, 1)[0]
        symbol = bytes(told["stype_out_symbol"]).split(b"\0")[0].decode("utf-8", "replace")
        if symbol:
            header.symbols.tell(int(told["instrument_id"]), symbol)


def _header(stream: _Stream) -> tuple[bytes, Header | None, str | None]:
    """Return the header's bytes as they lie, what they say, and else what is wrong."""
    if stream.is_old:
        return stream.old_header, *_judged(lambda: read_old_header(stream.old_header[PRELUDE_BYTES:], _unpacked))
    stream.fill(PRELUDE_BYTES)
    prelude = stream.peek(PRELUDE_BYTES)
    length = int.from_bytes(prelude[4:], "little")
    if len(prelude) < PRELUDE_BYTES or length > LONGEST_HEADER_BYTES:
        return b"", None, f"a DBN header of {length} bytes in a file of {len(prelude)}" if prelude else "an empty file"
    stream.fill(PRELUDE_BYTES + length)
    head = stream.take(PRELUDE_BYTES + length)
    return head, *_judged(lambda: read_header(head[:PRELUDE_BYTES], head[PRELUDE_BYTES:]))


def _judged(read: Callable[[], Header]) -> tuple[Header | None, str | None]:
    try:
        return read(), None
    except ProtocolError as error:
        return None, str(error)


def _is_old(beginning: bytes) -> bool:
    """Return whether a file begins with DBZ's header: a skippable frame of zstd."""
    return len(beginning) >= 12 and beginning[1:4] == b"\x2a\x4d\x18" and beginning[0] >> 4 == 5 and beginning[8:11] == b"DBZ"


def _first_plain(packed: bytes) -> bytes:
    """Return the first bytes of a zstd frame's content, as far as they can be read, a block at least."""
    member, plain = zstandard.ZstdDecompressor().decompressobj(), b""
    for at in range(0, len(packed), _SLICE_BYTES):
        try:
            plain += member.decompress(packed[at : at + _SLICE_BYTES])
        except zstandard.ZstdError:
            return plain
        if len(plain) > PRELUDE_BYTES + 16 or member.eof:
            break
    return plain


def _unpacked(packed: bytes) -> bytes:
    """Return the content of a zstd frame. Raises ProtocolError."""
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    except zstandard.ZstdError as error:
        raise ProtocolError(f"the symbols of a DBZ header cannot be unpacked: {error}") from error


class _Stream:
    """The plain bytes of a file, as many ahead as asked for; says in `source.damage` what of it cannot be unpacked."""

    def __init__(self, source: Source) -> None:
        self._source, self._raw = source, source.chunks()
        self._ahead = bytearray()
        self.is_old, self.old_header = False, b""
        first = bytearray()
        for chunk in self._raw:
            first += chunk
            if len(first) >= 12:
                break
        self._first = self._without_old_header(first) if _is_old(bytes(first[:12])) else bytes(first)
        is_packed = self.is_old or self._first.startswith(_ZSTD)
        self._plain = self._unzipped() if is_packed else self._whole()

    def fill(self, size: int) -> bool:
        """Read ahead until `size` bytes are there or the file ends; returns whether there is a byte at all."""
        while len(self._ahead) < size:
            chunk = next(self._plain, b"")
            if not chunk:
                break
            self._ahead += chunk
        return bool(self._ahead)

    def peek(self, size: int) -> bytes:
        """Return up to `size` bytes that were read ahead, and leave them there."""
        return bytes(self._ahead[:size])

    def take(self, size: int) -> bytes:
        """Return up to `size` bytes that were read ahead."""
        found = bytes(self._ahead[:size])
        del self._ahead[:size]
        return found

    def _without_old_header(self, first: bytearray) -> bytes:
        self.is_old = True
        size = PRELUDE_BYTES + min(int.from_bytes(first[4:8], "little"), LONGEST_HEADER_BYTES)
        while len(first) < size and (chunk := next(self._raw, b"")):
            first += chunk
        self.old_header = bytes(first[:size])
        return bytes(first[size:])

    def _whole(self) -> Iterator[bytes]:
        yield self._first
        yield from self._raw

    def _unzipped(self) -> Iterator[bytes]:
        member, size, is_begun = zstandard.ZstdDecompressor().decompressobj(), 0, False
        for chunk in self._whole():
            for at in range(0, len(chunk), _SLICE_BYTES):
                piece = chunk[at : at + _SLICE_BYTES]
                while piece:
                    if member.eof:
                        member, is_begun = zstandard.ZstdDecompressor().decompressobj(), False
                    try:
                        plain = member.decompress(piece)
                    except zstandard.ZstdError as error:
                        self._source.damage = f"zstd is damaged after {size} bytes of content: {error}"
                        self._drain()
                        return
                    is_begun, piece, size = True, member.unused_data, size + len(plain)
                    if plain:
                        yield plain
        if is_begun and not member.eof:
            self._source.damage = f"zstd ends early, after {size} bytes of content"

    def _drain(self) -> None:
        """Read the file to its end, for its sha256 is of all of it; what was found wrong stays."""
        wrong = self._source.damage
        for _ in self._raw:
            continue
        self._source.damage = wrong
