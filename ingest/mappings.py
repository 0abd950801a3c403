"""Mappings of CSV files: a user's own TOML file, or one that is shipped for a known layout, by its name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from lake.errors import InvalidValueError, NotFoundError
from transforms.decode.csv_mapping import parse_mapping

_SHIPPED = "transforms.decode.mappings"


def load_mapping(named: Path | str, overrides: Mapping[str, str] | None = None) -> dict[str, object]:
    """Return a CSV mapping: of a TOML file, or the shipped one called `named`.

    overrides   keys said otherwise for these files, like symbol or currency; numbers and truths are written as in TOML

    Raises NotFoundError that lists what is shipped, or InvalidValueError naming the file.
    """
    try:
        document = tomllib.loads(_text(named))
        document |= {key: _value(text) for key, text in (overrides or {}).items()}
        parse_mapping(document)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, InvalidValueError) as error:
        raise InvalidValueError(f"{named}: {error}") from error
    return document


@cache
def shipped_mappings() -> dict[str, str]:
    """Return the shipped mappings: name -> what it is for, the first lines of its file."""
    found = {}
    for file in sorted(resources.files(_SHIPPED).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            lines = file.read_text(encoding="utf-8").split("\nkind", 1)[0].splitlines()
            found[file.name.removesuffix(".toml")] = " ".join(line.removeprefix("#").strip() for line in lines)
    return found


def overriding(pairs: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE texts as a table. Raises InvalidValueError for one without a key."""
    found = {key: text for key, equals, text in (pair.partition("=") for pair in pairs) if key and equals}
    if len(found) != len(pairs):
        raise InvalidValueError(f"{', '.join(pairs)}: expected KEY=VALUE, each key once")
    return found


def _text(named: Path | str) -> str:
    path = Path(named)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    if str(named) in shipped_mappings():
        return resources.files(_SHIPPED).joinpath(f"{named}.toml").read_text(encoding="utf-8")
    raise NotFoundError(f"no mapping file {named}; shipped are {', '.join(shipped_mappings())}")


def _value(text: str) -> object:
    """Return a number, a truth or a list as TOML writes it; anything else is the text itself."""
    try:
        found: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return found if isinstance(found, bool | int | list) else text
