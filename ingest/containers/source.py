"""A file as it lies: its content, unpacked, and what is known about it beside its bytes.

A file may be gzip or a zip archive, of which each member is a source (told by first bytes). A damaged one gives what can be
read, then says what is wrong in `damage`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

import orjson

from ingest.asks import Gap
from ingest.containers.archives import Member, content, is_zip, members_of
from lake.errors import InvalidValueError

_READ_BYTES = 64 * 1024
_SNIFF_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of a file before it has a number; `ts_recv_ns` is None unless the file recorded it.

    gaps   what its own numbers say was missing right before it; their numbers count through the file, the same at each reading
    """

    payload: bytes
    content_type: str
    ts_recv_ns: int | None = None
    request: Mapping[str, object] | None = None
    status: int | None = None
    headers: Mapping[str, str] | None = None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What is known about a file beside its bytes: the user's words, and what its `_manifest.json` recorded."""

    file: str
    received_at: datetime | None = None
    mapping: Mapping[str, object] | None = None
    manifest: Mapping[str, object] = field(default_factory=dict)
    archive: str | None = None
    """The zip archive that the file came in."""

    def request(self, **more: object) -> dict[str, object]:
        """Return the request JSON of a message of this file."""
        known: dict[str, object] = {"file": self.file}
        if isinstance(self.manifest.get("url"), str):
            known |= {"method": self.manifest.get("method", "GET"), "url": self.manifest["url"]}
        if self.archive is not None:
            known["archive"] = self.archive
        if self.received_at is not None:
            known["received_at"] = self.received_at.isoformat()
        return known | more


class Source:
    """The content of a file, or of one member of a zip archive, as chunks of bytes, decompressed where it is gzip.

    Read it as often as needed.
    """

    def __init__(self, path: Path, member: Member | None = None) -> None:
        self.path = path
        self.member = member
        self.name = path.name if member is None else Path(member.name).name
        """Of the file, without folders."""
        self.label = str(path) if member is None else f"{path}!{member.name}"
        """What reports call it."""
        self.damage: str | None = None
        """After reading: what is wrong with the file, or None."""
        self.sha256 = ""
        """After reading to the end: of the content, in hex."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the content; sets `damage` when the rest cannot be read."""
        self.damage = None
        digest = hashlib.sha256()
        try:
            for chunk in self._content():
                digest.update(chunk)
                yield chunk
        except OSError as error:
            self.damage = f"cannot be read: {error}"
        self.sha256 = digest.hexdigest()

    def _content(self) -> Iterator[bytes]:
        raw = self._packed()
        first = next(raw, b"")
        whole = chain([first], raw)
        yield from self._gunzipped(whole) if first.startswith(b"\x1f\x8b") else whole

    def _packed(self) -> Iterator[bytes]:
        if self.member is not None:
            yield from (chunk for chunk in content(self.path, self.member, self._damaged) if chunk)
            return
        with self.path.open("rb") as file:
            yield from iter(lambda: file.read(_READ_BYTES), b"")

    def _damaged(self, reason: str) -> None:
        self.damage = reason

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


def sources_of(path: Path) -> tuple[list[Source], str | None]:
    """Return a file as the sources it holds, and what is wrong with an archive as a whole: itself, or the members of a zip."""
    if not is_zip(path):
        return [Source(path)], None
    members, damage = members_of(path)
    return [Source(path, member) for member in members], damage


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
