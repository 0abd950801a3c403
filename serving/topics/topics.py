"""The list of topics: which table each is published from, and how its records are written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lake.errors import NotFoundError
from serving.topics import events
from serving.topics.events import Body


class Form(StrEnum):
    """How the records of a topic are written."""

    EVENTS = "events"
    """One JSON event a record."""
    BLOCKS = "blocks"
    """Up to 1,000 rows a record, an Arrow IPC stream."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, published from one table.

    body       what an event of it says
    interval   only rows of this interval (bars)
    """

    name: str
    table: str
    form: Form
    doc: str
    body: Body
    interval: str | None = None

    @property
    def example(self) -> dict[str, object] | None:
        """One event, to read its form from; None for blocks."""
        return events.example_of(self.body, self.table) if self.form is Form.EVENTS else None


_KINDS: dict[str, tuple[Body, str]] = {
    "trades": (events.trade, "executions"),
    "quotes": (events.quote, "best bids and offers"),
    "bars": (events.bar, "bars as delivered, every revision"),
}
TIMEFRAMES = ("1m", "2m", "5m", "15m", "30m", "60m", "90m")
"""Finer than a day: what providers deliver."""
QUALITY = "market.quality.v1"

TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        *(
            Topic(f"market.normalized.{kind}.v1", f"normalized.{kind}", Form.EVENTS, f"One event for each of {doc}.", body)
            for kind, (body, doc) in _KINDS.items()
        ),
        *(
            Topic(
                f"market.normalized.{kind}.blocks.v1",
                f"normalized.{kind}",
                Form.BLOCKS,
                f"The same {doc}, as Arrow blocks.",
                body,
            )
            for kind, (body, doc) in _KINDS.items()
        ),
        Topic(
            "market.corporate_actions.v1",
            "adjusted.factors",
            Form.EVENTS,
            "CorporateActionApplied: the effect of one action on price and volume; CorporateActionRescinded takes one back.",
            events.corporate_action,
        ),
        Topic(
            "market.analysis_ready.1d.v1",
            "adjusted.bars_1d",
            Form.EVENTS,
            "Daily bars, agreed and adjusted, ready to analyse; one more revision whenever a session's answer changes.",
            events.analysis_ready,
        ),
        *(
            Topic(
                f"market.analysis_ready.{timeframe}.v1",
                "normalized.bars",
                Form.EVENTS,
                f"Bars of {timeframe} as a provider delivered them, which is named; neither agreed nor adjusted.",
                events.delivered_ready,
                timeframe,
            )
            for timeframe in TIMEFRAMES
        ),
        Topic(
            QUALITY,
            "quality.findings",
            Form.EVENTS,
            "QualityFinding: what was kept and deserves a look. BatchHeld: what the gate refused; withdrawn when it is settled.",
            events.finding,
        ),
        Topic(
            "market.system_health.v1",
            "ops.health_events",
            Form.EVENTS,
            "SystemHealth: a breaker, a provider up, degraded or down, a failover and its reason, a quota nearly used up.",
            events.health,
        ),
    )
}
"""By name. One more topic is one more line here, and its body in events.py."""


def topic_named(name: str) -> Topic:
    """Return the topic called `name`. Raises NotFoundError that lists them."""
    if name not in TOPICS:
        raise NotFoundError(f"no topic {name!r}; there are {', '.join(TOPICS)}")
    return TOPICS[name]
