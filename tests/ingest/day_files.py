"""Day files of exchanges, made as large as wanted: each record differs from every other by its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.transforms.decode import iex_made, itch_made
from tests.transforms.decode.dbn_files import header, record
from transforms.decode.dbn_layout import LAYOUTS, MBO

Numbers = npt.NDArray[np.int64]
_AT_ONCE = 20_000
_PCAP_HEAD, _RECORD_HEAD = 24, 16
_SEGMENT_AT = _RECORD_HEAD + 14 + 20 + 8
_DAY_NS = 1_609_156_800_000_000_000


def write_day(path: Path, feed: str, size: int) -> None:
    """Write a file of at least `size` bytes (whole records) of `itch`, `tops` or `mbo`."""
    head, template, fields = _FORMS[feed]()
    with path.open("wb") as file:
        file.write(head)
        for first in range(0, -(-size // len(template)), _AT_ONCE):
            count = min(_AT_ONCE, -(-size // len(template)) - first)
            file.write(_numbered(template, fields, np.arange(first, first + count)))


_Field = Callable[[Numbers], npt.NDArray[np.generic]]


def _numbered(template: bytes, fields: Mapping[int, _Field], numbers: Numbers) -> bytes:
    """Return `template` once for each number, with the fields that begin at the places told."""
    rows = np.tile(np.frombuffer(template, np.uint8), (len(numbers), 1))
    for at, field in fields.items():
        values = field(numbers)
        rows[:, at : at + values.itemsize] = values.view(np.uint8).reshape(len(numbers), -1)
    return rows.tobytes()


def _itch() -> tuple[bytes, bytes, dict[int, _Field]]:
    """Orders that come, are executed in part, and go."""
    order, match = 0x1122334455667788, 0x99AABBCCDDEEFF00
    template = itch_made.prefixed(
        [itch_made.add(order, b"B", 500, 100_000), itch_made.executed(order, 100, match), itch_made.deleted(order)]
    )
    mark = order.to_bytes(8, "big")
    places = [at for at in range(len(template)) if template.startswith(mark, at)]
    fields: dict[int, _Field] = dict.fromkeys(places, lambda numbers: (numbers + 1).astype(">u8"))
    fields[template.index(match.to_bytes(8, "big"))] = lambda numbers: (numbers + 1).astype(">u8")
    return itch_made.prefixed([itch_made.directory()]), template, fields


def _tops() -> tuple[bytes, bytes, dict[int, _Field]]:
    """Packets of three quotes and a trade."""
    trade_id = 0x1122334455667788
    messages = [iex_made.quote(b"ZIEXT", (n, 100), (n + 100, 100)) for n in (10_000, 10_100, 10_200)]
    packet = iex_made.packet(iex_made.segment([*messages, iex_made.trade(b"ZIEXT", 100, 10_100, trade_id)]))
    whole = iex_made.pcap([packet])
    template = whole[_PCAP_HEAD:]
    fields: dict[int, _Field] = {
        _SEGMENT_AT + 24: lambda numbers: (numbers * 4 + 1).astype("<i8"),
        template.index(trade_id.to_bytes(8, "little")): lambda numbers: (numbers + 1).astype("<i8"),
    }
    return whole[:_PCAP_HEAD], template, fields


def _mbo() -> tuple[bytes, bytes, dict[int, _Field]]:
    """Orders that come."""
    layout = LAYOUTS[MBO, 56]
    template = record(layout, MBO, publisher_id=2, instrument_id=7, action=ord("A"), side=ord("B"), price=10**9, size=5)
    offsets = {name: layout.fields[name][1] for name in layout.names or ()}
    fields: dict[int, _Field] = {
        offsets["order_id"]: lambda numbers: (numbers + 1).astype("<u8"),
        offsets["sequence"]: lambda numbers: (numbers + 1).astype("<u4"),
        **dict.fromkeys((offsets["ts_event"], offsets["ts_recv"]), lambda numbers: (numbers + _DAY_NS).astype("<u8")),
    }
    return header({"X": [(20201228, 20201229, "7")]}, schema=0), template, fields


_FORMS: dict[str, Callable[[], tuple[bytes, bytes, dict[int, _Field]]]] = {"itch": _itch, "tops": _tops, "mbo": _mbo}
DAYS = {
    "itch": ("nasdaq", "itch", "S20101224.itch"),
    "tops": ("iex", "tops", "20170710.pcap"),
    "mbo": ("databento", "dbn", "20201228.mbo.dbn"),
}
"""Provider, feed and file name of each."""
