"""Packet captures, pcap and pcapng: cut at packet boundaries into captures of their own, in bounded memory.

A message is the capture's own headers and a run of whole packets, so that it reads alone; the messages without their repeated
headers are the file. What follows the last whole packet (a capture cut off in the middle of one) is a message too, for the
decoder to judge. The numbers of IEX-TP are followed by session: what they leave out is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ingest.asks import Gap
from ingest.containers.runs import RUN_BYTES, run_pieces
from ingest.containers.sequences import Sequences
from ingest.containers.source import Piece, Source, Told
from transforms.decode.binary import gather, ints
from transforms.kernels import packets as kernel

PCAP_TYPE, PCAPNG_TYPE = "application/vnd.tcpdump.pcap", "application/x-pcapng"
_MOST_UNREAD_BYTES = 32 * 1024 * 1024
_MAGICS = (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")
_SEGMENT = np.dtype(
    {
        "names": ["protocol", "channel", "session", "count", "first"],
        "formats": ["<u2", "<u4", "<u4", "<u2", "<i8"],
        "offsets": [2, 4, 8, 14, 24],
        "itemsize": kernel.HEADER_BYTES,
    }
)


def is_capture_of(protocols: tuple[int, ...]) -> Callable[[str, bytes], bool]:
    """Return whether a file is a packet capture whose first IEX-TP segments are of one of `protocols`."""

    def is_one(name: str, beginning: bytes) -> bool:
        if not beginning.startswith(_MAGICS):
            return False
        found = kernel.Packets()
        kernel.walk(beginning, 0, len(beginning), kernel.Form(), len(beginning), found, with_messages=False)
        return bool(np.isin(_segments(beginning, found)["protocol"], protocols).any())

    return is_one


def capture_packets(source: Source, told: Told) -> Iterator[Piece]:
    """Return runs of whole packets, each a capture of its own, with the gaps that their session's numbers show."""
    return run_pieces(source, _Cutter(told), _MOST_UNREAD_BYTES)


class _Cutter:
    """Where a capture stands: its form up to the packets cut so far, and its sessions' numbers."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._form, self._sequences = kernel.Form(), Sequences()
        self._number = 0

    def cut(self, data: bytes, *, is_last: bool) -> tuple[Piece | None, int]:
        """Return the next message and how many bytes of `data` it is; None where more bytes must come first."""
        form, found = self._form.copy(), kernel.Packets()
        end = kernel.walk(data, 0, len(data), form, RUN_BYTES, found, with_messages=False)
        if end < RUN_BYTES and not is_last and not form.is_damaged:
            return None, 0
        taken = end or min(len(data), RUN_BYTES)  # what is no packet is cut by length
        kind = PCAPNG_TYPE if form.kind == kernel.PCAPNG else PCAP_TYPE
        stamps = ints(found.segment_stamp.getvalue())
        first_ns = int(stamps[0]) if len(stamps) and stamps[0] > 0 else None
        request = self._told.request(run=self._number)
        gaps = _gaps(_segments(data, found), self._sequences)
        piece = Piece(self._form.prefix + data[:taken], kind, first_ns, request, gaps=gaps)
        self._form, self._number = form, self._number + 1
        return piece, taken


def _segments(data: bytes, found: kernel.Packets) -> npt.NDArray[np.void]:
    return gather(np.frombuffer(data, np.uint8), ints(found.segment_at.getvalue()), _SEGMENT)


def _gaps(segments: npt.NDArray[np.void], sequences: Sequences) -> tuple[Gap, ...]:
    gaps: list[Gap] = []
    for protocol, channel, session in dict.fromkeys(segments[["protocol", "channel", "session"]].tolist()):
        is_mine = (segments["protocol"] == protocol) & (segments["channel"] == channel) & (segments["session"] == session)
        mine = segments[is_mine]
        name = f"{protocol:#06x}/{channel}/{session}"
        gaps += sequences.follow(name, mine["first"], mine["count"].astype(np.int64))
    return tuple(gaps)
