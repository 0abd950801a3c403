"""Which messages of a landing are new: each (capture_id, message_seq) lands once, however often it stands in the log.

An append whose outcome is unknown is looked for and repeated by its recorder; when the first one arrives after all (a
request may outlive its client in the network or in a broker), the same messages stand twice. The second are dropped here.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from lake.as_of import published_messages
from lake.catalog import Lake

Span = tuple[int, int]
"""First and last message number, both included."""


class Landed:
    """What has landed before, by the publication ledger, and in the blocks given so far."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._asked_from: dict[str, int] = {}
        self._spans: dict[str, list[Span]] = {}

    def without_known(self, messages: pa.Table) -> pa.Table:
        """Return the messages of the next block that have not landed, and remember them."""
        for capture_id in pc.unique(messages["capture_id"]).to_pylist():
            is_mine = pc.equal(messages["capture_id"], capture_id)
            ends = pc.min_max(messages.filter(is_mine)["message_seq"]).as_py()
            first, last = ends["min"], ends["max"]
            for low, high in self._known(capture_id, first, last):
                seq = messages["message_seq"]
                is_known = pc.and_(
                    pc.equal(messages["capture_id"], capture_id), pc.and_(pc.greater_equal(seq, low), pc.less_equal(seq, high))
                )
                messages = messages.filter(pc.invert(is_known))
            self._remember(capture_id, first, last)
        return messages

    def _known(self, capture_id: str, first: int, last: int) -> Iterable[Span]:
        spans = self._spans.setdefault(capture_id, [])
        if first < self._asked_from.get(capture_id, first + 1):
            spans += published_messages(self._lake, "raw.messages", capture_id, first)
            self._asked_from[capture_id] = first
        return [span for span in spans if span[0] <= last and span[1] >= first]

    def _remember(self, capture_id: str, first: int, last: int) -> None:
        # A block's messages are numbered without holes, so its ends say which they are.
        spans = self._spans[capture_id]
        if spans and spans[-1][1] + 1 == first:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
