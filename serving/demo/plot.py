"""A small plot for a terminal: one mark a point, readable without colours and in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

MARKS = ("●", "○", "×")
STYLES = ("bold cyan", "bold yellow", "bold magenta")


def plot(series: Mapping[str, Sequence[float | None]], labels: Sequence[str], height: int = 12, spread: int = 1) -> Text:
    """Return a plot of up to three series over the same points, with a legend, an axis and its first and last label.

    series   name -> values, one a label; None leaves a hole
    spread   columns a point

    Where two series meet in one cell, the later one is seen. Raises ValueError for no points at all.
    """
    values = [value for line in series.values() for value in line if value is not None]
    if not values:
        raise ValueError("nothing to plot")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    width = len(labels) * spread
    cells: list[list[int | None]] = [[None] * width for _ in range(height)]
    for number, line in enumerate(series.values()):
        for place, value in enumerate(line):
            if value is not None:
                row = round((high - value) / span * (height - 1))
                cells[row][place * spread] = number
    text = Text()
    for number, name in enumerate(series):
        text.append(f"  {MARKS[number]} {name}", style=STYLES[number])
    text.append("\n")
    margin = max(len(f"{high:.0f}"), len(f"{low:.0f}"))
    for row, line_cells in enumerate(cells):
        is_labelled = row in (0, height - 1) or row == height // 2
        level = high - span * row / (height - 1)
        text.append(f"{level:>{margin}.0f} ┤" if is_labelled else " " * margin + " │", style="dim")
        for cell in line_cells:
            text.append(" ") if cell is None else text.append(MARKS[cell], style=STYLES[cell])
        text.append("\n")
    text.append(" " * margin + " └" + "─" * width + "\n", style="dim")
    gap = width - len(labels[0]) - len(labels[-1])
    text.append(" " * (margin + 2) + labels[0] + " " * max(gap, 1) + labels[-1], style="dim")
    return text
