"""Where providers are reached and with which keys: the providers themselves, or a simulator that plays them.

Keys come from the environment (`Provider.key_variables`) for a provider itself and from the simulator for its own; they go
into addresses, and into nothing that is written down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ingest.asks import Address
from ingest.configuration import Configuration
from ingest.providers.registry import PROVIDERS, Provider, Push, provider_named
from ingest.simulator.keyed import Keys
from lake.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Reach:
    """Where providers are reached.

    keys           of each provider, in the order of its `key_variables`
    simulator      addresses of a simulator's servers by name; none: the providers themselves
    configuration  in force: addresses of an operator's own, and who is switched off
    """

    keys: Mapping[str, tuple[str, ...]] = field(repr=False)
    simulator: Mapping[str, str] = field(default_factory=dict)
    configuration: Callable[[], Configuration] = Configuration

    @property
    def is_recorded(self) -> bool:
        """Whether a simulator answers, which has what was recorded and nothing else."""
        return bool(self.simulator)

    def secrets(self, provider: str) -> tuple[str, ...]:
        """Return the keys of a provider. Raises SettingsError that names the variables to set, or when it is switched off."""
        if not self.is_recorded and not self.configuration().provider(provider).enabled:
            raise SettingsError(f"{provider} is switched off: providers.{provider}.enabled is false in the configuration")
        if lacks := self.lacks(provider):
            raise SettingsError(f"{provider} {lacks}")
        return self.keys.get(provider, ())

    def lacks(self, provider: str) -> str:
        """Return what must be set before it can be asked, in words; empty when nothing is missing."""
        wanted = self.configuration().provider(provider).key_variables or provider_named(provider).key_variables
        found = self.keys.get(provider, ())
        return f"needs {' and '.join(wanted)} in the environment" if wanted and not (found and all(found)) else ""

    def asked(self, provider: str, feed: str) -> Address:
        """Return where a feed is asked. Raises NotFoundError, and SettingsError without keys."""
        known = provider_named(provider)
        http = self._http(known, feed)
        hosts = known.hosts if http == known.address(feed) else {}  # elsewhere one host stands for all of them
        return Address(http, credentials=known.credentials(*self.secrets(provider)), hosts=hosts)

    def listened(self, provider: str, push: Push) -> Address:
        """Return where a feed that pushes is listened to, and asked for what belongs to it. Raises SettingsError."""
        known = provider_named(provider)
        told = self.configuration().provider(provider).stream or push.address
        stream = self.simulator.get(push.server or provider) if self.is_recorded else told
        return Address(self._http(known, push.feed), stream, credentials=known.stream_credentials(*self.secrets(provider)))

    def _http(self, known: Provider, feed: str) -> str:
        return self.simulator.get("http") or self.configuration().provider(known.name).http or known.address(feed)


def themselves(environment: Mapping[str, str], configuration: Callable[[], Configuration] = Configuration) -> Reach:
    """Return how the providers themselves are reached, with the keys of `environment` and as is configured."""
    told = configuration()
    variables = {name: told.provider(name).key_variables or one.key_variables for name, one in PROVIDERS.items()}
    keys = {name: tuple(environment.get(each, "") for each in names) for name, names in variables.items()}
    return Reach(keys, configuration=configuration)


def simulated(addresses: Mapping[str, str], keys: Keys) -> Reach:
    """Return how a running simulator is reached at its addresses, with the keys it takes."""
    return Reach(keys.of(), addresses)
