"""What a verb prints: answers on stdout (text or one JSON document), progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
from rich.console import Console
from rich.text import Text

from serving.choices import From
from serving.cli.listings import Listing
from serving.outcomes import details_of, outcome_of

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN_ENOUGH = (2, 3)
"""Exit codes of errors whose message already says what to do: a wrong value, a name that does not exist."""
_ANY_WIDTH = 100_000
_ROWS_APART = 5
"""Rows printed one below the other, where their table would be wider than the terminal."""
PLAIN_WIDTH = 160
"""Columns of text that goes to a pipe or file, where nobody's terminal decides."""


def console(*, to_stderr: bool = False, width: int | None = None) -> Console:
    """Return a Rich console; without a terminal it writes plain text of a fixed width."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=width if stream.isatty() else (width or PLAIN_WIDTH), highlight=False, soft_wrap=False)


class Output:
    """Where one run of a verb writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = console()
        self.err = console(to_stderr=True)

    def answer(self, document: Mapping[str, object], render: Callable[[Console], None]) -> None:
        """Print `document` as JSON, or let `render` print it for a person."""
        if self.as_json:
            print_json(document)
        else:
            render(self.out)

    def say(self, text: str) -> None:
        """Print one line of progress on stderr."""
        self.err.print(Text(text, style="dim"))

    def say_who_answers(self, source: From) -> None:
        """Say that what comes are recordings, where nobody asked for the providers themselves."""
        if source is From.SIMULATOR:
            self.say("The simulator answers, from recordings; --from provider asks the providers themselves.")

    def event(self, document: Mapping[str, object]) -> None:
        """Print one event as a line of JSON on stderr."""
        sys.stderr.write(orjson.dumps(document, default=str).decode() + "\n")
        sys.stderr.flush()

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something takes a while: a spinner on a terminal, a line elsewhere."""
        if self.err.is_terminal:
            with self.err.status(text):
                yield
        else:
            self.say(f"{text} …")
            yield


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON document on stdout; values that JSON does not know are written as in `serving.formats`."""
    from serving import formats

    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(formats.plain_value(document), option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


def print_error(error: BaseException, *, as_json: bool) -> int:
    """Print an expected error on stderr and return its exit code."""
    outcome = outcome_of(error)
    if as_json:
        from serving import formats

        problem = {"type": outcome.type, "title": outcome.title, "detail": str(error), "exit_code": outcome.exit_code}
        text = orjson.dumps(formats.plain_value(problem | details_of(error)), option=orjson.OPT_INDENT_2)
        sys.stderr.write(text.decode() + "\n")
    else:
        shown = console(to_stderr=True)
        shown.print(Text.assemble((f"{outcome.title}: ", "bold red"), str(error)), soft_wrap=True)
        if outcome.exit_code not in _PLAIN_ENOUGH:
            shown.print(Text(outcome.advice, style="dim"), soft_wrap=True)
    return outcome.exit_code


def print_usage_error(message: str, verb: str, *, as_json: bool) -> None:
    """Print what is wrong about the words given to `verb`; nothing when the help was asked for by giving none."""
    if as_json:
        problem = {"type": "urn:tickhouse:problem:wrong-usage", "title": "Wrong usage", "detail": message, "exit_code": 2}
        sys.stderr.write(orjson.dumps(problem, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif message:
        shown = console(to_stderr=True)
        shown.print(Text.assemble(("Wrong usage: ", "bold red"), message), soft_wrap=True)
        shown.print(Text(f"`{verb} --help` tells what there is.", style="dim"), soft_wrap=True)


def listing(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> Listing:
    """Return a Rich table of plain values; columns named in `right` are aligned to the right and never broken."""
    return Listing(title, columns, [[_shown(value) for value in row] for row in rows], right)


def print_arrow(shown: Console, table: pa.Table, limit: int) -> int:
    """Print the first rows of an Arrow table and return how many.

    Where the table is too wide for the terminal: what is the same in every row is told once, and of the other columns as many as
    fit, the rest by name; a few rows are told one below the other, whole.
    """
    from serving import formats

    head = table.slice(0, limit)
    whole = arrow_listing(head)
    if not shown.is_terminal:
        Console(file=shown.file, width=_ANY_WIDTH, highlight=False).print(whole)
    elif whole.fits(shown.width):
        shown.print(whole)
    elif head.num_rows > _ROWS_APART:
        _print_narrow(shown, head)
    else:
        for number, row in enumerate(formats.records(head), 1):
            shown.print(Text(f"row {number}", style="bold cyan"))
            pairs = listing(None, ["", ""], [[name, _short(value)] for name, value in row.items()])
            pairs.show_header = False
            shown.print(pairs)
    return int(head.num_rows)


def _print_narrow(shown: Console, head: pa.Table) -> None:
    """Print many rows that are too wide together: constants once, then the columns that fit, then the names of the others."""
    constant = [name for name in head.column_names if len(set(map(_short, head[name].to_pylist()))) == 1]
    varying = [name for name in head.column_names if name not in constant]
    fitting = varying[:1]
    while len(fitting) < len(varying) and arrow_listing(head.select([*fitting, varying[len(fitting)]])).fits(shown.width):
        fitting.append(varying[len(fitting)])
    if constant:
        same = (f"{name} {_short(head[name][0].as_py())}" for name in constant)
        shown.print(Text(f"in every row: {', '.join(same)}", style="dim"))
    shown.print(arrow_listing(head.select(fitting)))
    if len(fitting) < len(varying):
        rest = ", ".join(varying[len(fitting) :])
        shown.print(Text(f"too narrow for {rest}; --format csv, or a wider terminal, has them", style="dim"))


def arrow_listing(head: pa.Table) -> Listing:
    """Return an Arrow table for a person: decimals aligned at their point, nulls as `·`."""
    import pyarrow as pa

    from serving import formats

    by_name = formats.columns(head)
    numeric = [
        name
        for name, kind in zip(by_name, (column.type for column in head.columns), strict=True)
        if pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    ]
    shown: list[list[object]] = []
    for values, column in zip(by_name.values(), head.columns, strict=True):
        shown.append(_aligned(values) if pa.types.is_decimal(column.type) else [_short(value) for value in values])
    return listing(None, list(by_name), list(zip(*shown, strict=True)), right=numeric)


def _aligned(values: Sequence[object]) -> list[object]:
    """Pad decimals on the right so that points stand below each other."""
    places = max((len(str(value).partition(".")[2]) for value in values if value is not None), default=0)
    padded: list[object] = []
    for value in values:
        whole, _, fraction = str(value).partition(".")
        padded.append("·" if value is None else f"{whole}.{fraction.ljust(places, '0')}" if places else whole)
    return padded


def _short(value: object) -> str:
    text = _shown(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _shown(value: object) -> str:
    if value is None:
        return "·"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, int)):
        return str(value)
    from serving import formats

    return str(formats.plain_value(value))
