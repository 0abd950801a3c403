"""What `tickhouse up` runs: which processes, of which providers, with which words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from ingest.providers.registry import PROVIDERS
from lake.errors import InvalidValueError, SettingsError
from lake.settings import Settings
from serving.operate.children import Child
from serving.operate.passing import environment as passed
from serving.operate.providers import PLAYED, tasks_of

_PARTS = "serving.operate.parts"


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` runs.

    symbols   PROVIDER:SYMBOL of what providers themselves are asked; none: the simulator plays its recordings
    played    of which providers; none: of all
    excerpt   how many messages of each recorded stream the simulator plays; None: all
    shards    processes that share the symbols of each stream of a provider itself
    is_scheduled  whether what the configuration schedules is asked of providers themselves
    """

    host: str
    port: int
    excerpt: int | None = None
    symbols: tuple[str, ...] = ()
    has_notebooks: bool = True
    played: tuple[str, ...] = ()
    shards: int = 1
    is_scheduled: bool = False

    @property
    def is_live(self) -> bool:
        """Whether providers themselves are asked, and no simulator plays."""
        return bool(self.symbols) or self.is_scheduled

    def asked(self) -> dict[str, list[str]]:
        """Return provider -> symbols. Raises InvalidValueError for what names no provider."""
        unknown = set(self.played) - set(PROVIDERS)
        if unknown:
            raise InvalidValueError(f"no provider {', '.join(sorted(unknown))}; there are {', '.join(PROVIDERS)}")
        found: dict[str, list[str]] = {}
        for text in self.symbols:
            provider, _, symbol = text.partition(":")
            if provider not in PROVIDERS or not symbol:
                raise InvalidValueError(f"{text!r} is not PROVIDER:SYMBOL with a provider of {', '.join(PROVIDERS)}")
            found.setdefault(provider, []).append(symbol)
        return found

    def left_out(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the providers that cannot be asked without their keys, each with what is missing.

        Raises SettingsError when nobody is left to ask.
        """
        missing = {provider: words for provider in self.asked() if (words := PROVIDERS[provider].missing_keys(environment))}
        if missing and len(missing) == len(self.asked()) and not self.is_scheduled:
            raise SettingsError("nobody to ask: " + "; ".join(f"{provider} {words}" for provider, words in missing.items()))
        return missing


def planned(settings: Settings, plan: Plan, environment: Mapping[str, str]) -> list[Child]:
    """Return the processes to start first; with recordings the simulator, whose captures follow once it tells its addresses.

    environment   has the keys of providers themselves; one without its keys is there as `left out`
    """
    children = [
        _child(settings, "pipeline", "pipeline"),
        _child(settings, "topics", "topics"),
        _child(settings, "http", "http", "--host", plan.host, "--port", str(plan.port), *(["--live"] if plan.is_live else [])),
    ]
    if any((settings.backup_every_s, settings.replica_every_s, settings.drill_every_s)):
        children.append(_child(settings, "recovery", "recovery"))
    if settings.alert_command:
        children.append(_child(settings, "alerts", "alerts"))
    if plan.has_notebooks:
        children.append(_child(settings, "notebooks", "notebooks", "--port", str(plan.port + 1 if plan.port else 0)))
    left_out = plan.left_out(environment)
    for provider, symbols in plan.asked().items():
        children += _asking(settings, provider, symbols, left_out.get(provider, ""), plan.shards)
    if plan.is_scheduled:
        children.append(_child(settings, "schedules", "schedules"))
    if plan.is_live:
        children.append(_child(settings, "gaps", "gaps"))
    else:
        children.append(_child(settings, "simulator", "simulator", *_excerpt(plan)))
    return children


def playing(settings: Settings, plan: Plan, addresses: Mapping[str, str]) -> list[Child]:
    """Return the captures from a simulator, a process a provider, and one a market of Binance."""
    told = orjson.dumps(dict(addresses)).decode()
    words = ("--simulator", told, *_excerpt(plan))
    children = [_child(settings, "gaps", "gaps", "--simulator", told)]
    for name in plan.played or PROVIDERS:
        if all(task.is_stream for task in PLAYED[name]):  # listened to at the same time; the others are asked one by one
            children += [
                _child(settings, f"{name} {task}", "capture", "--provider", name, "--only", task.feed, *words)
                for task in PLAYED[name]
            ]
        else:
            children.append(_child(settings, name, "capture", "--provider", name, *words))
    return children


def _asking(settings: Settings, provider: str, symbols: list[str], missing: str, shards: int) -> Iterator[Child]:
    """Ask a provider itself: a process for what is polled, some for each stream; without its keys none is started."""
    words = [word for symbol in symbols for word in ("--symbol", symbol)]
    tasks = tasks_of(provider, tuple(symbols))
    named = {f"{provider} polls": ("polls", "1/1")} if any(not task.is_stream for task in tasks) else {}
    streams = [task for task in tasks if task.is_stream]
    for task in streams:
        name = f"{provider} stream" if len(streams) == 1 else f"{provider} {task.feed} stream"
        for number in range(1, shards + 1):
            shard = f"{number}/{shards}"
            named[name if shards == 1 else f"{name} {number} of {shards}"] = (f"{task.feed} stream", shard)
    for name, (only, shard) in named.items():
        child = _child(settings, name, "capture", "--provider", provider, "--only", only, "--shard", shard, *words)
        if missing:
            child.state, child.words = "left out", missing
        yield child


def _child(settings: Settings, name: str, *words: str) -> Child:
    log = settings.home / "logs" / f"{name.replace(' ', '-')}.log"
    return Child(name, ["-m", _PARTS, *words], log, passed(settings))


def _excerpt(plan: Plan) -> list[str]:
    return [] if plan.excerpt is None else ["--excerpt", str(plan.excerpt)]
