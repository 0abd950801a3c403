"""Tables on a narrow terminal: no word is cut that could stay whole, nothing is wider than the terminal, nothing is lost."""

from __future__ import annotations

import io
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console

from serving.cli.output import listing, print_arrow

COLUMNS = ("table", "rows", "what it is")
WORDS = st.text(st.sampled_from("ab ./_é"), max_size=30).map(str.strip)
ROWS = st.lists(st.tuples(WORDS.filter(bool), st.integers(0, 10**9), WORDS), min_size=1, max_size=5)


def narrow(width: int) -> tuple[Console, io.StringIO]:
    """Return a terminal so wide, and what is written on it."""
    written = io.StringIO()
    return Console(file=written, width=width, force_terminal=True, color_system=None, highlight=False), written


def lines_of(rows: list[tuple[str, int, str]], width: int) -> list[str]:
    console, written = narrow(width)
    console.print(listing(None, COLUMNS, rows, right=("rows",)))
    return [line.rstrip() for line in written.getvalue().splitlines()]


@given(ROWS, st.integers(40, 100))
@example([("a", 1, "b" * 200)], 40)
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(rows, width):
    lines = lines_of(rows, width)
    assert max(map(len, lines)) <= width
    told, wanted = (Counter("".join(texts).replace(" ", "")) for texts in (lines, (str(cell) for row in rows for cell in row)))
    assert wanted <= told


def test_the_widest_column_gives_way_and_words_stay_whole():
    rows = [("normalized.corporate_actions", 12_345, "splits and dividends as providers announced them, every revision")]
    lines = lines_of(rows, 60)
    assert lines[0].split() == ["table", "rows", "what", "it", "is"]
    assert lines[1].startswith("normalized.corporate_actions  12345  splits and") and len(lines) == 4


def test_rows_are_told_one_by_one_where_names_do_not_fit():
    rows = [("normalized.corporate_actions", 7, "normalized.option_open_interest"), ("raw.messages", 8, "")]
    assert lines_of(rows, 50) == [
        "normalized.corporate_actions",
        "  rows        7",
        "  what it is  normalized.option_open_interest",
        "raw.messages",
        "  rows        8",
    ]


@pytest.mark.parametrize(("width", "shown"), [(200, "a b c d"), (24, "b d"), (10, "b")])
def test_many_rows_tell_once_what_never_changes_and_name_what_does_not_fit(width, shown):
    rows = pa.table(
        {"a": ["same"] * 7, "b": [f"b{n:06}" for n in range(7)], "d": [f"d{n:09}" for n in range(7)], "c": [None] * 7}
    )
    rows = rows.select(["a", "b", "c", "d"])
    console, written = narrow(width)
    assert print_arrow(console, rows, 6) == 6
    text = written.getvalue()
    told = " ".join(text.split())
    assert ("in every row: a same, c ·" in told) == (width < 200)
    assert ("too narrow for d;" in told) == (width == 10)
    assert "b000005" in text and "b000006" not in text and ("d000000005" in text) == ("d" in shown.split())
