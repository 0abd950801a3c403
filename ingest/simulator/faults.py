"""Misbehaviour by plan: which answers and frames go wrong, and how. Pure, and the same every time for the same plan.

Frames are numbered by their place in the market's recording, from 0, snapshots left out; `scale` counts trades only. What
happens to a frame's content happens each time it is sent, so that a replay after a drop tells the same story; a drop
happens once.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

import msgspec

from lake.errors import InvalidValueError

Market = Literal["spot", "usdm"]
Stream = Literal["spot", "usdm", "alpaca", "finnhub", "polygon", "yahoo", "tiingo"]
"""Whatever is replayed frame by frame: the markets of Binance, and the streams of `keyed_stream.py`."""
_PRICE = re.compile(rb'"p":"([0-9]+(?:\.[0-9]+)?)"')
_NOISE = b"~#%*abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class HttpFault:
    """Answers to paths that contain `path` go wrong, `times` times after the first `skip`.

    kind   status (with the body Yahoo sends under it), slow (`delay_s` late), truncate (half the body, then the
           connection closes), garble (bytes changed)
    """

    kind: Literal["status", "slow", "truncate", "garble"]
    path: str = ""
    status: int = 429
    times: int = 1
    skip: int = 0
    delay_s: float = 0.0
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamFault:
    """Frames `first` to `last` (both included; `last` defaults to `first`) of a market go wrong.

    kind      drop (the socket dies after frame `first`; the next connection resumes `overlap` frames before it, a negative
              overlap loses frames), truncate, garble, duplicate, reorder (shuffled among themselves), scale (prices of
              trades times `factor`)
    """

    kind: Literal["drop", "truncate", "garble", "duplicate", "reorder", "scale"]
    market: Stream
    first: int
    last: int | None = None
    overlap: int = 0
    factor: int = 100

    @property
    def span(self) -> range:
        """The numbers of the frames concerned."""
        return range(self.first, (self.first if self.last is None else self.last) + 1)


@dataclass(frozen=True, slots=True)
class Faults:
    """A plan; `seed` decides what garbled bytes and shuffled frames look like."""

    http: tuple[HttpFault, ...] = ()
    stream: tuple[StreamFault, ...] = ()
    seed: int = 0

    @classmethod
    def from_document(cls, document: Any) -> Faults:
        """Return the plan that a JSON document describes, by the fields of these classes. Raises InvalidValueError."""
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise InvalidValueError(f"fault plan: {error}") from error


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded frame of a market: its number, receive time, stream name and bytes."""

    number: int
    recv_ns: int
    stream: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sending:
    """A frame on its way out, and what was done to it."""

    frame: Frame
    fault: str = ""


def sendings(frames: Sequence[Frame], faults: Faults, market: Stream) -> list[Sending]:
    """Return what is sent for a market's recorded `frames`: all of them in order, but for the plan's faults."""
    out = [Sending(frame) for frame in frames]
    trades = [index for index, frame in enumerate(frames) if frame.stream.endswith("@trade")]
    mine = [fault for fault in faults.stream if fault.market == market]
    for fault in mine:
        if fault.kind == "scale":
            for index in trades[fault.first : fault.span.stop]:
                out[index] = _changed(out[index], "scale", scaled(out[index].frame.payload, fault.factor))
        elif fault.kind in ("truncate", "garble"):
            for index in _within(fault, len(out)):
                payload = out[index].frame.payload
                bad = payload[: len(payload) // 2] if fault.kind == "truncate" else garbled_text(payload, faults.seed + index)
                out[index] = _changed(out[index], fault.kind, bad)
    for fault in mine:
        if fault.kind == "reorder":
            places = _within(fault, len(out))
            moved = [replace(out[index], fault="reorder") for index in places]
            random.Random(faults.seed + fault.first).shuffle(moved)
            out[places.start : places.stop] = moved
    doubled = {number for fault in mine if fault.kind == "duplicate" for number in fault.span}
    return [
        copy
        for sending in out
        for copy in ((sending, replace(sending, fault="duplicate")) if sending.frame.number in doubled else (sending,))
    ]


def scaled(payload: bytes, factor: int) -> bytes:
    """Return a trade frame with its price times `factor`, written with as many digits after the point."""

    def times(found: re.Match[bytes]) -> bytes:
        price = Decimal(found[1].decode())
        return f'"p":"{(price * factor).quantize(price)}"'.encode()

    return _PRICE.sub(times, payload, count=1)


def garbled_text(payload: bytes, seed: int) -> bytes:
    """Return a frame of the same length that is text and surely no JSON."""
    rng = random.Random(seed)
    noisy = bytearray(payload)
    for _ in range(max(1, len(noisy) // 8)):
        noisy[rng.randrange(len(noisy))] = rng.choice(_NOISE)
    noisy[0] = _NOISE[rng.randrange(4)]
    return bytes(noisy)


def garbled_body(body: bytes, seed: int) -> bytes:
    """Return a body of the same length with bytes of any value in it, surely no JSON."""
    rng = random.Random(seed)
    noisy = bytearray(body)
    for _ in range(max(1, len(noisy) // 8)):
        noisy[rng.randrange(len(noisy))] = rng.randrange(256)
    noisy[:1] = b"\x00"
    return bytes(noisy)


def _changed(sending: Sending, fault: str, payload: bytes) -> Sending:
    return Sending(replace(sending.frame, payload=payload), fault)


def _within(fault: StreamFault, length: int) -> range:
    return range(min(fault.first, length), min(fault.span.stop, length))


DEMO = Faults(
    http=(
        HttpFault("status", path="/AAPL", status=429),
        HttpFault("status", path="/MSFT", status=503),
        HttpFault("truncate", path="/PM"),
        HttpFault("garble", path="/TSLA"),
    ),
    stream=(
        StreamFault("garble", "spot", 303),  # a trade: its number is then missing
        StreamFault("truncate", "spot", 353),  # a depth update
        StreamFault("duplicate", "spot", 500, 519),
        StreamFault("reorder", "spot", 700, 719),
        StreamFault("drop", "spot", 1_500, overlap=40),
        StreamFault("scale", "spot", 100, 139),
        StreamFault("drop", "usdm", 1_800, overlap=60),
    ),
    seed=20240808,
)
"""What goes wrong in the demo: a bit of everything that really happens, within the first 2,000 frames."""
