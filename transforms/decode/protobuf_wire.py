"""The wire format of protocol buffers: the scalar fields of one flat message.

Source: protobuf.dev, Encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from transforms.numbers import NumberRefusedError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE = {"int": _VARINT, "sint": _VARINT, "text": _BYTES, "float": _FIXED32, "double": _FIXED64}


def scalar_fields(data: bytes, fields: Mapping[int, tuple[str, str]]) -> dict[str, object]:
    """Return the values of a message by name; of a field that comes twice the last counts, unknown ones are passed over.

    fields    number -> name and kind: int, sint (zigzag), text, float, double
    Raises NumberRefusedError (malformed) for what is no message, or has a known field in another wire type.
    """
    found: dict[str, object] = {}
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        wire, number = tag & 7, tag >> 3
        value, place = _value(data, place, wire)
        known = fields.get(number)
        if number == 0 or (known is not None and wire != _WIRE[known[1]]):
            raise _malformed(data, f"field {number} of wire type {wire}")
        if known is not None:
            found[known[0]] = _typed(data, value, known[1])
    return found


def _value(data: bytes, place: int, wire: int) -> tuple[int | bytes, int]:
    if wire == _VARINT:
        return _varint(data, place)
    if wire == _BYTES:
        length, place = _varint(data, place)
    else:
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
    if length < 0 or place + length > len(data):
        raise _malformed(data, f"a value of wire type {wire} within the message")
    return data[place : place + length], place + length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place
    raise _malformed(data, "a varint of at most ten bytes")


def _typed(data: bytes, value: int | bytes, kind: str) -> object:
    if isinstance(value, int):
        if kind == "sint":
            return (value >> 1) ^ -(value & 1)
        return value - (1 << 64) if value >= 1 << 63 else value
    if kind == "text":
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise _malformed(data, "text in UTF-8") from error
    number: float = struct.unpack("<f" if kind == "float" else "<d", value)[0]
    return number


def _malformed(data: bytes, expected: str) -> NumberRefusedError:
    return NumberRefusedError("malformed", data[:100].hex(), f"protobuf: {expected}")
