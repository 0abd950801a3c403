"""The list of topics: which table each is published from, and how its records are written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lake.errors import NotFoundError
from serving.topics.events import EXAMPLES


class Form(StrEnum):
    """How the records of a topic are written."""

    EVENTS = "events"
    """One JSON event a record."""
    BLOCKS = "blocks"
    """Up to 1,000 rows a record, an Arrow IPC stream."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, published from one table."""

    name: str
    table: str
    form: Form
    doc: str

    @property
    def example(self) -> dict[str, object] | None:
        """One event, to read its form from; None for blocks."""
        return EXAMPLES[self.table] if self.form is Form.EVENTS else None


_KINDS = {"trades": "executions", "quotes": "best bids and offers", "bars": "bars as delivered, every revision"}

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        *(
            Topic(f"market.normalized.{kind}.v1", f"normalized.{kind}", Form.EVENTS, f"One event for each of {doc}.")
            for kind, doc in _KINDS.items()
        ),
        *(
            Topic(f"market.normalized.{kind}.blocks.v1", f"normalized.{kind}", Form.BLOCKS, f"The same {doc}, as Arrow blocks.")
            for kind, doc in _KINDS.items()
        ),
        Topic(
            "market.corporate_actions.v1",
            "adjusted.factors",
            Form.EVENTS,
            "CorporateActionApplied: the effect of one action on price and volume, every revision.",
        ),
        Topic(
            "market.analysis_ready.1d.v1",
            "adjusted.bars_1d",
            Form.EVENTS,
            "Daily bars, agreed and adjusted, ready to analyse; one more event whenever a session's answer changes.",
        ),
    )
}
"""By name. One more topic is one more line here, and its body in events.py."""


def topic_named(name: str) -> Topic:
    """Return the topic called `name`. Raises NotFoundError that lists them."""
    if name not in TOPICS:
        raise NotFoundError(f"no topic {name!r}; there are {', '.join(TOPICS)}")
    return TOPICS[name]
