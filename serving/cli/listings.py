"""A table that stays readable where the terminal is narrow: words whole as long as they fit, else row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_GAP = 2
"""Blanks between two columns."""
_LONGEST_WORD = 36
"""A longer one (a path, a hash) may be broken: nobody reads it as a word."""
_INDENT = 2


class Listing(Table):
    """Plain cells in columns without lines; where not even each column's longest word fits, each row is a little list."""

    def __init__(self, title: str | None, columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[str]) -> None:
        super().__init__(
            title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold cyan"
        )
        self.names, self.cells, self.right = columns, cells, right
        for column in columns:
            self.add_column(column, justify="right" if column in right else "left", overflow="fold")
        for row in cells:
            self.add_row(*map(Text, row))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.widths(options.max_width)
        if widths is None:
            yield from self._row_by_row()
            return
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def fits(self, most: int) -> bool:
        """Return whether it can be so wide with every cell on one line."""
        return sum(map(_widest, self._columns_of_text())) + _GAP * (len(self.names) - 1) <= most

    def widths(self, most: int) -> list[int] | None:
        """Return the width of each column of a table at most so wide: the widest give way first; None: it cannot be."""
        room = most - _GAP * (len(self.names) - 1)
        whole, least = [], []
        for name, *cells in self._columns_of_text():
            whole.append(_widest([name, *cells]))
            is_number = name in self.right
            words = cells if is_number else [word for cell in cells for word in cell.split()]
            least.append(max(_widest(name.split()), min(_widest(words), whole[-1] if is_number else _LONGEST_WORD)))
        if sum(least) > room:
            return None
        bound = max(whole, default=0)
        while sum(widths := [max(low, min(high, bound)) for low, high in zip(least, whole, strict=True)]) > room:
            bound -= 1
        return widths

    def _columns_of_text(self) -> list[list[str]]:
        """Return each column, its name first."""
        return [[name, *(row[number] for row in self.cells)] for number, name in enumerate(self.names)]

    def _row_by_row(self) -> Iterator[Text | Table]:
        """Tell each row under its first cell, a line for each other that is not empty."""
        if self.title:
            yield Text(str(self.title), style="bold")
        names = _widest(self.names[1:]) + _GAP
        for first, *others in self.cells:
            yield Text(first, style="bold cyan", overflow="fold")
            rest = Table.grid()
            rest.add_column(no_wrap=True)
            rest.add_column(overflow="fold")
            for name, cell in zip(self.names[1:], others, strict=True):
                if cell:
                    rest.add_row(Text(f"{'':{_INDENT}}{name:<{names}}", style="cyan"), Text(cell))
            yield rest


def _widest(texts: Sequence[str]) -> int:
    return max((Text(text).cell_len for text in texts), default=0)
