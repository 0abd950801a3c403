"""Which line of a TOML text has which key: the parser of the standard library does not tell. Function; the text is valid TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|#[^\n]*|[\[{]|[\]}]|\n|[^\"'#\[\]{}\n]+|.",
    re.DOTALL,
)
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'))*)\s*="""
)


def lines_of(text: str) -> dict[Path, int]:
    """Return path -> line, from 1, of every table, key, and table in a list; what else stands inside a value has its key's."""
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for number, statement, elements in _statements(text):
        if statement.startswith("[["):
            name = key_path(statement.strip()[2:].partition("]]")[0])
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
        elif statement.startswith("["):
            table = key_path(_header(statement))
        else:
            key = _KEY.match(statement)
            if key is not None:
                path = (*table, *key_path(key[1]))
                for length in range(len(table) + 1, len(path) + 1):
                    found.setdefault(path[:length], number)
                for place, line in enumerate(elements):
                    found.setdefault((*path, place), line)
            continue
        for length in range(1, len(table) + 1):
            found.setdefault(table[:length], number)
    return found


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of `path`, or of what it stands in; 0 for none."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 0


def _statements(text: str) -> Iterator[tuple[int, str, list[int]]]:
    """Yield (line, text, lines of the tables of a list) of each header and each assignment, comments left out."""
    line = start = 1
    depth, statement, elements = 0, "", list[int]()
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if statement:
                yield start, statement, elements
            statement, elements = "", []
        elif not piece.startswith("#") and (statement or piece.strip()):
            start = start if statement else line
            statement += piece
            if piece == "{" and depth == 1:
                elements.append(line)
            depth += (piece in ("[", "{")) - (piece in ("]", "}"))
        line += piece.count("\n")
    if statement:
        yield start, statement, elements


def _header(statement: str) -> str:
    return statement.strip()[1:].rpartition("]")[0]


def key_path(dotted: str) -> Path:
    """Return the parts of a dotted key, quotes and escapes read as TOML reads them."""
    parts: list[str] = []
    value = tomllib.loads(f"{dotted} = 0")
    while True:
        ((name, inner),) = value.items()
        parts.append(name)
        if not isinstance(inner, dict):
            return tuple(parts)
        value = inner
