"""What `tickhouse up` shows: a live page on a terminal, from what the parts told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from serving.operate.children import Child

WINDOW_S = 30.0
"""Rates are over this long."""
_STYLES = {"running": "green", "done": "dim", "waiting": "yellow", "stopped": "dim", "gave up": "bold red"}
_LINES = 6


@dataclass(slots=True)
class Board:
    """The figures of a running system, taken from the parts' events; times are monotonic seconds."""

    home: str
    addresses: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    behind_s: float | None = None
    last_work_at: float | None = None
    _flow: deque[tuple[float, int, int]] = field(default_factory=deque)

    def take(self, event: dict[str, Any], now: float) -> None:
        """Take the figures of one event."""
        if event.get("event") == "turn":
            if event["landed"] or event["published"]:
                self._flow.append((now, event["landed"], event["published"]))
                self.behind_s, self.last_work_at = event["behind_s"], now
        elif event.get("event") == "rows":
            self.rows, self.holds = event["tables"], event["holds"]

    def rates(self, now: float) -> tuple[float, float]:
        """Return messages landed and rows published a second, over the window."""
        while self._flow and self._flow[0][0] < now - WINDOW_S:
            self._flow.popleft()
        return tuple(sum(entry[place] for entry in self._flow) / WINDOW_S for place in (1, 2))  # type: ignore[return-value]

    def page(self, children: Sequence[Child], now: float) -> RenderableType:
        """Return the page."""
        title = Text.assemble(("tickhouse", "bold"), f"  {self.home}")
        for name, address in self.addresses.items():
            title.append(f"   {name} ", style="dim")
            title.append(address, style="cyan")
        landed, published = self.rates(now)
        figures = Table(box=None, pad_edge=False, show_header=False)
        for name, value in (
            ("landed", f"{self.rows.get('raw.messages', 0):,} messages, {landed:,.1f}/s"),
            ("published", f"{_sum(self.rows, 'normalized.'):,} rows, {published:,.1f}/s"),
            ("adjusted", f"{self.rows.get('adjusted.agreed_bars', 0):,} bars, {self.rows.get('adjusted.factors', 0):,} factors"),
            ("freshness", self._freshness(now)),
            ("quarantine", f"{self.rows.get('quality.quarantine', 0):,} rows"),
            ("held", ", ".join(self.holds) or "nothing"),
        ):
            figures.add_row(Text(name, style="dim"), Text(value, style="bold red" if name == "held" and self.holds else ""))
        said = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self.lines]
        return Group(
            title,
            Rule(style="dim"),
            _parts(children, now),
            Text(),
            figures,
            Text(),
            *said,
            Text("Ctrl-C stops cleanly", style="dim"),
        )

    def _freshness(self, now: float) -> str:
        if self.behind_s is None or self.last_work_at is None:
            return "nothing came yet"
        return f"published at most {self.behind_s:.1f} s after receipt, {now - self.last_work_at:.0f} s ago"


def _parts(children: Sequence[Child], now: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("part", "state", "for", "restarts", ""):
        table.add_column(column, justify="right" if column in ("for", "restarts") else "left", no_wrap=True)
    for child in children:
        lasted = f"{now - child.started_at:,.0f} s" if child.state == "running" else ""
        state = Text(child.state, style=_STYLES[child.state])
        table.add_row(child.name, state, lasted, str(child.restarts or ""), Text(child.words, overflow="ellipsis"))
    return table


def _sum(rows: dict[str, int], prefix: str) -> int:
    return sum(count for name, count in rows.items() if name.startswith(prefix))
