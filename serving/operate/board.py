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

from ingest.providers.registry import PROVIDERS
from serving.operate.children import Child

WINDOW_S = 30.0
"""Rates are over this long."""
_STYLES = {
    "running": "green", "done": "dim", "waiting": "yellow", "stopped": "dim", "left out": "yellow", "gave up": "bold red",
}  # fmt: skip
_LINES = 8
Flow = deque[tuple[float, int, int]]


@dataclass(slots=True)
class Board:
    """The figures of a running system, taken from the parts' events; times are monotonic seconds."""

    home: str
    addresses: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    providers: dict[str, dict[str, int]] = field(default_factory=dict)
    holds: list[str] = field(default_factory=list)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    _flow: Flow = field(default_factory=deque)
    _flows: dict[str, Flow] = field(default_factory=dict)
    _published: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of each provider: how long what was published last can have waited, and when that was."""

    def take(self, event: dict[str, Any], now: float) -> None:
        """Take the figures of one event."""
        if event.get("event") == "turn":
            if event["landed"] or event["published"]:
                self._flow.append((now, event["landed"], event["published"]))
            for name, told in event["providers"].items():
                if told["messages"]:
                    self._flows.setdefault(name, deque()).append((now, told["messages"], told["rows"]))
                if told["rows"]:
                    self._published[name] = (event["behind_s"], now)
        elif event.get("event") == "rows":
            self.rows, self.holds, self.providers = event["tables"], event["holds"], event["providers"]

    def rates(self, now: float, provider: str | None = None) -> tuple[float, float]:
        """Return messages and published rows a second over the window: landed of all, or decoded of one provider."""
        flow = self._flow if provider is None else self._flows.get(provider, deque())
        while flow and flow[0][0] < now - WINDOW_S:
            flow.popleft()
        return tuple(sum(entry[place] for entry in flow) / WINDOW_S for place in (1, 2))  # type: ignore[return-value]

    def page(self, children: Sequence[Child], now: float, width: int = 120, height: int = 40) -> RenderableType:
        """Return the page; of a terminal with few lines the last words are left out first."""
        asking = [child for child in children if child.name.partition(" ")[0] in PROVIDERS]
        parts = [child for child in children if child not in asking]
        addresses = Text()
        for name, address in self.addresses.items():
            addresses.append(f"{name} ", style="dim")
            addresses.append(f"{address}/   ", style="cyan")
        shown: list[RenderableType] = [
            Text.assemble(("tickhouse  ", "bold"), self.home, no_wrap=True, overflow="ellipsis"),
            addresses if self.addresses else Text("starting; the addresses come in a moment", style="dim"),
            Rule(style="dim"),
            _parts(parts, now),
            Text(),
            self._providers(asking, now),
            Text(),
            *self._figures(now),
            self._next(),
        ]
        wrapped = sum((each.cell_len - 1) // width for each in shown[1:] if isinstance(each, Text) and each.plain)
        used = len(parts) + len(asking) + len(shown) + wrapped + 1  # a table is its rows and a head; one line stays free
        room = max(0, height - used)
        said = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in list(self.lines)[-room:]] if room else []
        return Group(*shown, *said)

    def _providers(self, asking: Sequence[Child], now: float) -> Table:
        """One line a capture: what it does, and how its provider's rows come through."""
        table = _table(
            "provider", "state", "rows", "rows/s", "lag", "last", "held", "", right=("rows", "rows/s", "lag", "last", "held")
        )
        for child in asking:
            name = child.name.partition(" ")[0]
            counts = self.providers.get(name, {})
            lag, at = self._published.get(name, (None, now))
            held = counts.get("held", 0)
            waited, ago = ("", "") if lag is None else (f"{lag:.1f} s", f"{now - at:,.0f} s ago")
            table.add_row(
                child.name, Text(child.state, style=_STYLES[child.state]), f"{counts.get('rows', 0):,}",
                f"{self.rates(now, name)[1]:,.1f}", waited, ago,
                Text(f"{held:,}", style="bold red" if held else "dim"), Text(child.words, style="dim", overflow="ellipsis"),
            )  # fmt: skip
        return table

    def _figures(self, now: float) -> list[Text]:
        landed, published = self.rates(now)
        of = self.rows.get
        figures = (
            ("landed", f"{of('raw.messages', 0):,} messages, {landed:,.1f}/s"),
            ("published", f"{_sum(self.rows, 'normalized.'):,} rows, {published:,.1f}/s"),
            ("adjusted", f"{of('adjusted.agreed_bars', 0):,} bars, {of('adjusted.factors', 0):,} factors"),
            ("quarantine", f"{of('quality.quarantine', 0):,} rows"),
        )
        line = Text(no_wrap=False)
        for place, (name, value) in enumerate(figures):
            line.append(f"{'   ' if place else ''}{name} ", style="dim")
            line.append(value)
        return [line]

    def _next(self) -> Text:
        """What a person can do now."""
        if self.holds:
            words = f"{len(self.holds)} held: `tickhouse holds` tells why, then `tickhouse release` or `reject`."
            return Text(f"{words} Ctrl-C stops cleanly.", style="bold red")
        if "http" not in self.addresses:
            return Text("Ctrl-C stops cleanly; the next start goes on", style="dim")
        page = self.addresses.get("notebooks", self.addresses["http"])
        return Text.assemble(("Next: open ", "dim"), (f"{page}/", "cyan"), ("; Ctrl-C stops, the next start goes on", "dim"))


def _parts(children: Sequence[Child], now: float) -> Table:
    table = _table("part", "state", "for", "restarts", "", right=("for", "restarts"))
    for child in children:
        lasted = f"{now - child.started_at:,.0f} s" if child.state == "running" else ""
        state = Text(child.state, style=_STYLES[child.state])
        table.add_row(child.name, state, lasted, str(child.restarts or ""), Text(child.words, style="dim", overflow="ellipsis"))
    return table


def _table(*columns: str, right: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column in columns:
        takes_the_rest = None if column else 1
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True, ratio=takes_the_rest)
    return table


def _sum(rows: dict[str, int], prefix: str) -> int:
    return sum(count for name, count in rows.items() if name.startswith(prefix))
