"""Frames are cut as the library cuts them, whatever the reads."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from ingest.transport.frames import FrameCutter

BODIES = st.one_of(st.binary(max_size=200), st.binary(min_size=126, max_size=140), st.just(b"x" * 65_536))
PLAIN = st.builds(lambda body, code: Frame(code, body), BODIES, st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
CONTROL = st.builds(lambda body, code: Frame(code, body), st.binary(max_size=20), st.sampled_from([Opcode.PING, Opcode.PONG]))
FRAGMENTED = st.lists(st.binary(max_size=20), min_size=2, max_size=4)


def wire_of(items: list[Frame | list[bytes]]) -> bytes:
    found = b""
    for item in items:
        if isinstance(item, Frame):
            found += item.serialize(mask=False)
            continue
        for number, part in enumerate(item):
            code = Opcode.CONT if number else Opcode.TEXT
            found += Frame(code, part, fin=number == len(item) - 1).serialize(mask=False)
    return found


def cut(wire: bytes, edges: list[int], max_bytes: int = 1 << 20) -> list[tuple[bool, bytes]]:
    cutter, found = FrameCutter(max_bytes), []
    places = [0, *sorted(edge % (len(wire) + 1) for edge in edges), len(wire)]
    for start, end in pairwise(places):
        found += cutter.feed(wire[start:end])
    return found


def library(wire: bytes) -> list[tuple[Opcode, bytes]]:
    protocol = Protocol(Side.CLIENT, state=State.OPEN)
    protocol.receive_data(wire)
    return [(event.opcode, bytes(event.data)) for event in protocol.events_received() if isinstance(event, Frame)]


@given(st.lists(st.one_of(PLAIN, CONTROL, FRAGMENTED), max_size=8), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_any_reads_give_the_frames_that_the_library_reads(items: list[Frame | list[bytes]], edges: list[int]) -> None:
    wire = wire_of(items)
    found = cut(wire, edges)
    expected = library(wire)
    assert [body for _, body in expected] == [body if is_plain else library_body(body) for is_plain, body in found]
    plain = [item.data for item in items if isinstance(item, Frame) and item.opcode in (Opcode.TEXT, Opcode.BINARY)]
    assert [body for is_plain, body in found if is_plain] == plain


def library_body(frame: bytes) -> bytes:
    """Return the payload of one short whole frame."""
    return frame[2:]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_are_cut_and_none_is_made_up(wire: bytes, edges: list[int]) -> None:
    whole, parts = cut(wire, []), cut(wire, edges)
    assert [item for item in whole if item[0]] == [item for item in parts if item[0]]
    rest = b"".join(body for is_plain, body in parts if not is_plain)
    assert b"".join(body for is_plain, body in whole if not is_plain) == rest
    assert len(rest) <= len(wire)


def test_a_frame_that_is_too_long_is_the_library_s_from_its_head_on() -> None:
    long = Frame(Opcode.TEXT, b"y" * 2_000).serialize(mask=False)
    short = Frame(Opcode.TEXT, b"a").serialize(mask=False)
    found = cut(short + long + short, [500, 1_000], max_bytes=1_000)
    assert found[0] == (True, b"a")
    assert b"".join(body for is_plain, body in found[1:] if not is_plain) == long + short
    assert not any(is_plain for is_plain, _ in found[1:])


def test_a_masked_frame_is_the_library_s_to_refuse() -> None:
    masked = Frame(Opcode.TEXT, b"abc").serialize(mask=True)
    found = cut(masked, [3])
    assert not any(is_plain for is_plain, _ in found)
    assert b"".join(body for _, body in found) == masked
