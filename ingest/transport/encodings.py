"""Bodies that come compressed, though nobody asks for that: what is cut short is told from what is whole. Pure."""

from __future__ import annotations

import zlib

GZIP = ("gzip", "x-gzip")
"""Words of `Content-Encoding`."""
_MAGIC = b"\x1f\x8b"
_WITH_HEADER = 31
_STEP = 4_096


def gunzipped(raw: bytes, most: int) -> tuple[bytes, bool]:
    """Return what gzip holds, and whether that is all of it: its end was there, the checksum right, at most `most` bytes.

    What is no gzip is returned as it came. Of what is broken within only the part before is kept: secrets are looked for in
    what is returned, and would not be found in the rest. Bytes behind the last member are padding, as gzip itself takes them.
    """
    if raw and not raw.startswith(_MAGIC):
        return raw, False
    found, left = bytearray(), raw
    while left.startswith(_MAGIC):
        member, at = zlib.decompressobj(_WITH_HEADER), 0
        while at < len(left) and not member.eof:
            try:
                found += member.decompress(left[at : at + _STEP], most + 1 - len(found))
            except zlib.error:
                return bytes(found), False
            if len(found) > most:
                return bytes(found[:most]), False
            at += _STEP
        if not member.eof:
            return bytes(found), False
        left = member.unused_data + left[at:]
    return bytes(found), True
