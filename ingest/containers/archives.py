"""Members of zip archives: where each one's bytes stand, and its content in chunks, as far as it can be read.

The directory at the end of an archive names them; where that is lost (an archive cut short), the headers before the members do.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_MARK = b"PK\x03\x04"
_CHUNK = 64 * 1024
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _IS_UTF8 = 0x1, 0x800


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    starts   where its header stands
    size     packed bytes as the archive's directory tells them; None where it is lost
    crc      of the content, where told
    """

    name: str
    starts: int
    method: int
    is_encrypted: bool
    size: int | None
    crc: int | None


def is_zip(path: Path) -> bool:
    """Return whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(4) in (_LOCAL_MARK, b"PK\x05\x06")


def members_of(path: Path) -> tuple[list[Member], str | None]:
    """Return the files of an archive, and what is wrong with its directory; nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [
                Member(
                    one.filename,
                    one.header_offset,
                    one.compress_type,
                    bool(one.flag_bits & _ENCRYPTED),
                    one.compress_size,
                    one.CRC,
                )
                for one in archive.infolist()
                if not one.is_dir()
            ]
            return [one for one in found if not one.name.startswith("__MACOSX/")], None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        return _by_headers(path), f"the zip's directory cannot be read: {error}"


def _by_headers(path: Path) -> list[Member]:
    found: list[Member] = []
    if path.stat().st_size == 0:
        return found
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_LOCAL_MARK)
        while at >= 0 and at + _LOCAL.size <= len(data):
            _, _, flags, method, _, _, _, packed, _, name_length, extra = _LOCAL.unpack_from(data, at)
            name = data[at + _LOCAL.size : at + _LOCAL.size + name_length].decode(
                "utf-8" if flags & _IS_UTF8 else "cp437", "replace"
            )
            if name and not name.endswith("/"):
                found.append(Member(name, at, method, bool(flags & _ENCRYPTED), None, None))
            at = data.find(_LOCAL_MARK, at + _LOCAL.size + name_length + extra + packed)
    return found


def content(path: Path, member: Member, damaged: Callable[[str], None]) -> Iterator[bytes]:
    """Yield a member's content; calls `damaged` with what is wrong when the rest cannot be read."""
    if member.is_encrypted or member.method not in (_STORED, _DEFLATED):
        damaged("encrypted" if member.is_encrypted else f"packed by method {member.method}; stored and deflated are read")
        return
    size = crc = 0
    for chunk in _unpacked(path, member, damaged):
        size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        yield chunk
    if member.crc is not None and crc != member.crc:
        damaged(f"the checksum of its {size} bytes is not the archive's")


def _unpacked(path: Path, member: Member, damaged: Callable[[str], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(member.starts)
        header = file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(_LOCAL_MARK):
            return damaged("no header where the archive's directory says")
        *_, packed, _, name_length, extra = _LOCAL.unpack(header)
        file.seek(name_length + extra, 1)
        left = member.size if member.size is not None else packed or None
        inflater = zlib.decompressobj(-15) if member.method == _DEFLATED else None
        size = 0
        while left is None or left > 0:
            chunk = file.read(_CHUNK if left is None else min(left, _CHUNK))
            if not chunk:
                return damaged(f"it ends early, after {size} bytes of content")
            left = None if left is None else left - len(chunk)
            try:
                plain = chunk if inflater is None else inflater.decompress(chunk)
            except zlib.error as error:
                return damaged(f"it is damaged after {size} bytes of content: {error}")
            size += len(plain)
            yield plain
            if inflater is not None and inflater.eof:
                return None
        return None if inflater is None else damaged(f"it ends early, after {size} bytes of content")
