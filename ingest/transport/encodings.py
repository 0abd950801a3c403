"""Bodies that come compressed, though nobody asks for that: what is cut short is told from what is whole. Pure."""

from __future__ import annotations

import zlib

GZIP = ("gzip", "x-gzip")
"""Words of `Content-Encoding`."""
_MAGIC = b"\x1f\x8b"
_WITH_HEADER = 31


def gunzipped(raw: bytes, most: int) -> tuple[bytes, bool]:
    """Return what gzip holds, and whether that is all of it: its end was there, the checksum right, at most `most` bytes.

    What cannot be read at all is returned as it came. Bytes behind the last member are padding, as gzip itself takes them.
    """
    found, left = bytearray(), raw
    while left and (left is raw or left.startswith(_MAGIC)):
        member = zlib.decompressobj(_WITH_HEADER)
        try:
            found += member.decompress(left, most + 1 - len(found))
        except zlib.error:
            return bytes(found) or raw, False
        if not member.eof or len(found) > most:
            return bytes(found[:most]), False
        left = member.unused_data
    return bytes(found), True
