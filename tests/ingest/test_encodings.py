"""Gzip that nobody asked for: whole or cut anywhere, one member or many, garbage, and bombs."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.transport.encodings import gunzipped

TEXT = b"timestamp,open\n2024-01-02,1\n2024-01-03,2\n" * 20
WIRE = gzip.compress(TEXT, mtime=0)
NOISE = random.Random(1).randbytes(20_000)
LONG = gzip.compress(NOISE, mtime=0)
"""Of several steps."""


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (WIRE, (TEXT, True)),
        (WIRE + WIRE, (TEXT + TEXT, True)),
        (WIRE + b"\0\0\0", (TEXT, True)),
        (b"", (b"", True)),
        (b"{}", (b"{}", False)),
        (WIRE[:-1], (TEXT, False)),
        (WIRE + WIRE[:-1], (TEXT + TEXT, False)),
        (WIRE[:-8] + b"\0\0\0\0" + WIRE[-4:], (b"", False)),  # another checksum: read to its end in one step, nothing is sure
        (LONG[:-8] + b"\0\0\0\0" + LONG[-4:], (NOISE[:12_000], False)),
        (LONG, (NOISE, True)),
        (gzip.compress(b"\0" * 50_000_000, mtime=0), (b"\0" * 1_000, False)),
    ],
)
def test_all_of_it_or_not(raw: bytes, told: tuple[bytes, bool]) -> None:
    found, is_whole = gunzipped(raw, 1_000 if told[0][:1] == b"\0" else 100_000)
    assert is_whole is told[1]
    assert found == told[0] if is_whole else found.startswith(told[0])


def test_what_is_broken_within_is_not_kept_as_it_came_for_a_secret_would_not_be_found_in_it() -> None:
    text = b"".join(b"line %d of the key\n" % number for number in range(20_000))
    wire = gzip.compress(text, mtime=0)
    found, is_whole = gunzipped(wire[:-8] + b"\0\0\0\0" + wire[-4:], len(text))
    assert not is_whole and text.startswith(found) and len(found) > 100_000


@given(st.integers(1, len(WIRE) - 1))
def test_cut_anywhere_it_is_not_whole(cut: int) -> None:
    found, is_whole = gunzipped(WIRE[:cut], 10_000)
    assert not is_whole and (TEXT.startswith(found) or found == WIRE[:1])  # one byte tells no gzip


@given(st.binary(max_size=60), st.integers(1, 100))
def test_any_bytes_are_read_within_bounds(raw: bytes, most: int) -> None:
    found, _ = gunzipped(raw, most)
    assert len(found) <= max(most, len(raw))
