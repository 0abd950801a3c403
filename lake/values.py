"""The values that pass between the rooms: parsed at the edge, frozen, trusted after.

A *message* is one frame, page, packet or record batch as received. Its identity is (`capture_id`, `message_seq`); a fact
in it adds `ordinal`; the three in one string are its `event_id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from lake.errors import InvalidValueError

Vector = dict[str, int]
"""A position: log partition (or input table) -> next offset (or snapshot id)."""

MESSAGE_ITSELF = -1
"""The ordinal of a quarantined message that could not be decoded at all."""


class CaptureKind(StrEnum):
    """How a capture's messages came to us; `known_at` of its facts follows from it."""

    LIVE = "live"
    POLL = "poll"
    BACKFILL = "backfill"
    IMPORT = "import"


class Basis(StrEnum):
    """How prices arrived."""

    AS_TRADED = "as_traded"
    SPLIT_ADJUSTED = "split_adjusted"
    FULLY_ADJUSTED = "fully_adjusted"


class NumberKind(StrEnum):
    """Whether a feed's digits are exact text or the image of a binary float."""

    EXACT = "exact"
    FLOAT_IMAGE = "float_image"


@dataclass(frozen=True, slots=True)
class Capture:
    """One run of asking one feed: the unit of identity of messages."""

    capture_id: str
    provider: str
    feed: str
    kind: CaptureKind
    started_at_ns: int
    code_version: str
    configuration_hash: str
    detail: str = "{}"
    """JSON: what was asked (universe, file name and sha256, delivery instant); never a secret."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message as received; `request` and `headers` are JSON without secrets. A struct, for speed."""

    message_seq: int
    ts_recv_ns: int
    content_type: str
    payload: bytes
    request: str | None = None
    status: int | None = None
    headers: str | None = None

    @property
    def sha256(self) -> str:
        """The payload's SHA-256, in hex."""
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True, slots=True)
class MessageRange:
    """Messages of one capture, both ends included."""

    capture_id: str
    first_seq: int
    last_seq: int


def event_id(capture_id: str, message_seq: int, ordinal: int) -> str:
    """Return the name of a fact, for example `binance-spot-01J…:17:0`."""
    return f"{capture_id}:{message_seq}:{ordinal}"


def parse_event_id(text: str) -> tuple[str, int, int]:
    """Return (capture_id, message_seq, ordinal) of `text`. Raises InvalidValueError."""
    capture_id, _, rest = text.partition(":")
    seq, _, ordinal = rest.partition(":")
    try:
        return capture_id, int(seq), int(ordinal)
    except ValueError as error:
        raise InvalidValueError(f"event id {text!r} is not CAPTURE:MESSAGE:ORDINAL") from error


def derived_event_id(table: str, key: Mapping[str, object]) -> str:
    """Return the name of a derived row: its table, key values and known_at, like `adjusted.factors/123/2020-08-31/…`."""
    return "/".join([table, *(str(value) for value in key.values())])


def instrument_id_of(identity: str) -> int:
    """Return the permanent int64 id of an identity key such as `listing:US/AAPL` (63 bits of its SHA-256, never 0)."""
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") >> 1 or 1


class RunnerKind(StrEnum):
    """Where the tasks of a runner are done (lake/runner.py)."""

    LOCAL = "local"
    PROCESS = "process"
    RAY = "ray"
