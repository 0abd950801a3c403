"""The configuration as text: TOML read with every mistake at once, the commented default, and changes that keep comments.

A mistake says where (path and line), what was found and what is expected. What may be a secret is never shown.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import orjson
import tomlkit
from pydantic import BaseModel, ValidationError
from tomlkit.exceptions import TOMLKitError

from ingest.configuration import SECTIONS, SINGLE, Configuration, Window
from ingest.plan_mistakes import wrong_plan
from ingest.telling_names import MAX_SHOWN, looks_secret, meant, name_told
from ingest.toml_lines import Path, line_of, lines_of
from lake.errors import InvalidValueError, WrongConfigurationError
from transforms.feeds import FEEDS

MAX_BYTES = 8 << 20
_PRIVATE = frozenset({"key_variables", "http", "stream"})
"""Fields in whose place a key may have been written: their values are not told."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_SCHEMES = {"http": ("http", "https"), "stream": ("ws", "wss")}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong in the text; `line` counts from 1, 0: no line has it."""

    where: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{f'line {self.line}: ' if self.line else ''}{f'{self.where}: ' if self.where else ''}{self.what}"

    def document(self) -> dict[str, object]:
        """Return it as plain values."""
        return {"where": self.where, "line": self.line or None, "what": self.what}


def read_configuration(text: str, secrets: Sequence[str] = ()) -> Configuration:
    """Return the configuration that `text` is. Raises WrongConfigurationError with every mistake.

    secrets   values that must not stand in it, such as the keys in the environment
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _error([Mistake("", 0, f"longer than {MAX_BYTES} bytes")])
    held = [
        Mistake("", number, "holds a key itself; expected the name of the environment variable that has it")
        for number, line in enumerate(text.splitlines(), 1)
        if any(secret in line for secret in secrets if secret)
    ]
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _error([*held, _unreadable(text, error)]) from None
    lines = lines_of(text)
    mistakes = [*held, *(Mistake(_words(path), line_of(lines, path), what) for path, what in _wrong(document))]
    try:
        made = Configuration.model_validate_json(orjson.dumps(document, default=str))
    except (ValidationError, TypeError) as error:
        details = error.errors() if isinstance(error, ValidationError) else []
        found = [(_place(each), _told(each, document)) for each in details] or [((), "holds a number that is too large")]
        mistakes += [Mistake(_words(path), line_of(lines, path), what) for path, what in found]
        raise _error([_without(each, secrets) for each in mistakes]) from None
    if mistakes:
        raise _error([_without(each, secrets) for each in mistakes])
    return made


def etag_of(text: str) -> str:
    """Return what names this very text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def default_text() -> str:
    """Return the commented default, as `tickhouse config init` writes it: every line of it is what holds without it."""
    return (resources.files("ingest") / "tickhouse.toml").read_text(encoding="utf-8")


def merged(text: str, patch: Mapping[str, Any]) -> str:
    """Return `text` with a JSON merge patch (RFC 7396) applied: null takes away, comments stay. Raises InvalidValueError."""
    try:
        document = tomlkit.parse(text)
        _merge(document, patch)
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"the change does not fit TOML: {type(error).__name__}") from error


def as_text(document: Mapping[str, Any]) -> str:
    """Return a document as TOML. Raises InvalidValueError for what TOML cannot hold."""
    return merged("", document)


def differences(before: Configuration, after: Configuration) -> list[dict[str, object]]:
    """Return what differs, a line a value: where, before, after; None: as shipped."""
    old, new = (dict(_leaves(each.model_dump(mode="json", exclude_defaults=True))) for each in (before, after))
    paths = sorted(set(old) | set(new))
    return [
        {"where": ".".join(path), "before": old.get(path), "after": new.get(path)}
        for path in paths
        if old.get(path) != new.get(path)
    ]


def _without(mistake: Mistake, secrets: Sequence[str]) -> Mistake:
    """Return a mistake that shows no secret, although the text held one in place of a name."""
    where, what = mistake.where, mistake.what
    for secret in secrets:
        if secret:
            where, what = where.replace(secret, "…"), what.replace(secret, "…")
    return Mistake(where, mistake.line, what)


def _merge(into: Any, patch: Mapping[str, Any]) -> None:
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping):
            if not isinstance(into.get(name), Mapping):
                into[name] = tomlkit.table()
            _merge(into[name], value)
        else:
            into[name] = _without_nulls(value)


def _without_nulls(value: Any) -> Any:
    """Return a value without what is null in tables of its lists: as if it had not been told."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _leaves(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _unreadable(text: str, error: Exception) -> Mistake:
    """Return what the parser says, without the line itself: it may hold a key."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    words = str(error).partition(" (at ")[0] if isinstance(error, tomllib.TOMLDecodeError) else "nested too deeply"
    words = words.split(": ")[0].split("'")[0].rstrip(" (")
    number = int(found[1]) if found else len(text.splitlines())
    return Mistake("", number, f"no TOML{f', column {found[2]}' if found else ''}: {words}")


def _error(mistakes: Sequence[Mistake]) -> WrongConfigurationError:
    ordered = sorted(dict.fromkeys(mistakes), key=lambda each: (each.line, each.where, each.what))
    return WrongConfigurationError("\n".join(str(each) for each in ordered), [each.document() for each in ordered])


def _place(detail: Mapping[str, Any]) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _words(path: Path) -> str:
    return ".".join(name_told(part) for part in path)


def _told(detail: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in words: what was expected, what was found."""
    path = _place(detail)
    if detail["type"] == "extra_forbidden":
        fields = _fields_at(path[:-1])
        return f"no such key{meant(str(path[-1]), fields)}; expected some of {', '.join(sorted(fields))}"
    if detail["type"] == "missing":
        return "is missing"
    words = detail["msg"]
    words = words[0].lower() + words[1:]
    return f"{words}, found {_shown(path, detail['input'])}"


def _shown(path: Path, value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str) and (len(value) > MAX_SHOWN or _PRIVATE & set(map(str, path)) or looks_secret(value)):
        return f"a text of {len(value)} characters"
    return repr(value)


def _fields_at(path: Path) -> frozenset[str]:
    """Return the keys that the table at `path` may have."""
    model: type[BaseModel] = Configuration
    if path:
        model = {**SINGLE, **SECTIONS}[str(path[0])]
        model = Window if "windows" in path[1:] else model
    return frozenset(model.model_fields)


def _wrong(document: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield what the shapes of the values do not tell: names that nothing has, keys in place of their names, bad addresses."""
    known = sorted({provider for provider, _ in FEEDS})
    for name, provider in _tables(document, "providers"):
        if name not in known:
            yield ("providers", name), f"no such provider{meant(name, known)}; expected one of {', '.join(known)}"
        yield from _wrong_provider(("providers", name), provider)
    universes = dict(_tables(document, "universes"))
    for name, universe in universes.items():
        yield from _repeated(("universes", name, "symbols"), universe.get("symbols"))
    for name, schedule in _tables(document, "schedules"):
        yield from _wrong_schedule(("schedules", name), schedule, known, universes)
    yield from _wrong_reconcile(document.get("reconcile"), known)


def _tables(document: Mapping[str, Any], section: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = document.get(section)
    for name, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, Mapping):
            yield str(name), value


def _wrong_provider(path: Path, provider: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    variables = provider.get("key_variables")
    for number, text in enumerate(variables if isinstance(variables, list) else ()):
        is_name = isinstance(text, str) and _VARIABLE.fullmatch(text) and not looks_secret(text)
        if isinstance(text, str) and not is_name:
            yield (
                (*path, "key_variables", number),
                f"expected the name of an environment variable like FINNHUB_API_KEY, never a key; found a text of {len(text)}",
            )
    for field, schemes in _SCHEMES.items():
        text = provider.get(field)
        if isinstance(text, str) and text:
            yield from (((*path, field), words) for words in _wrong_address(text, schemes))
    yield from wrong_plan(path, provider)


def _wrong_address(text: str, schemes: tuple[str, ...]) -> Iterator[str]:
    try:
        address = urlsplit(text)
        (address.hostname or "").encode("idna")  # a label that is empty or too long is no host anywhere
        is_whole = bool(address.scheme in schemes and address.hostname) and (address.port is None or address.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole:
        yield f"no address; expected {' or '.join(f'{scheme}://host' for scheme in schemes)}"
    elif address.username or address.password or address.query or address.fragment:
        yield "expected an address without login, query and fragment: keys go by key_variables"


def _wrong_schedule(
    path: Path, schedule: Mapping[str, Any], known: Sequence[str], universes: Mapping[str, object]
) -> Iterator[tuple[Path, str]]:
    provider, feed, universe = (schedule.get(name) for name in ("provider", "feed", "universe"))
    if isinstance(provider, str) and provider not in known:
        yield (*path, "provider"), f"no such provider {name_told(provider)!r}{meant(provider, known)}"
    elif isinstance(feed, str) and feed and isinstance(provider, str):
        feeds = sorted(name for owner, name in FEEDS if owner == provider)
        if feed not in feeds:
            yield (
                (*path, "feed"),
                f"{provider} has no feed {name_told(feed)!r}{meant(feed, feeds)}; expected one of {', '.join(feeds)}",
            )
    if isinstance(universe, str) and universe not in universes:
        names = ", ".join(sorted(universes)) or "none is there"
        yield (*path, "universe"), f"no such universe {name_told(universe)!r}{meant(universe, universes)}; there are: {names}"
    calendar, when = schedule.get("calendar"), schedule.get("when")
    if when in ("open", "closed") and not calendar:
        yield (*path, "when"), f'{when!r} needs a calendar, such as calendar = "XNYS"'
    if isinstance(calendar, str) and calendar and not _is_calendar(calendar):
        yield (*path, "calendar"), f"no calendar {name_told(calendar)!r}; expected a MIC with one, like XNYS"


def _wrong_reconcile(found: object, known: Sequence[str]) -> Iterator[tuple[Path, str]]:
    told = found if isinstance(found, Mapping) else {}
    names: list[tuple[Path, object]] = []
    for field in ("settle", "without"):
        value = told.get(field)
        if isinstance(value, Mapping):
            names += [(("reconcile", field, str(name)), name) for name in value]
        elif isinstance(value, list):
            names += [(("reconcile", field, number), name) for number, name in enumerate(value)]
    for path, name in names:
        if isinstance(name, str) and name not in known:
            yield path, f"no such provider {name_told(name)!r}{meant(name, known)}; expected one of {', '.join(known)}"


def _repeated(path: Path, symbols: object) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for symbol in symbols if isinstance(symbols, list) else ():
        if isinstance(symbol, str):
            if symbol in seen:
                yield path, f"{name_told(symbol)!r} stands there twice"
            seen.add(symbol)


def _is_calendar(name: str) -> bool:
    from transforms.calendars import Market, venue_of  # imports pandas only when a schedule names a calendar

    return venue_of(name).market is Market.CALENDAR
