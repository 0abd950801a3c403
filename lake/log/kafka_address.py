"""Where a Kafka cluster is: `kafka://[user:password@]host:port[,host:port…][/prefix][?option=value…]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from lake.errors import SettingsError

SCHEME = "kafka"
_OPTIONS = ("security_protocol", "sasl_mechanism", "ssl_cafile", "ssl_certfile", "ssl_keyfile")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}\Z")
_BOOTSTRAP_MS = 10_000


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """One cluster and the prefix of our topics on it; as text it never shows the password.

    servers  host:port, one is enough
    prefix   stands before every topic name with a dot; several lakes share a cluster by it; may be empty
    options  of the client's security: security_protocol, sasl_mechanism, ssl_cafile, ssl_certfile, ssl_keyfile
    """

    servers: tuple[str, ...]
    prefix: str = ""
    options: tuple[tuple[str, str], ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{SCHEME}://{','.join(self.servers)}" + (f"/{self.prefix}" if self.prefix else "")

    @classmethod
    def parse(cls, text: str) -> KafkaAddress:
        """Return the address written in `text`. Raises SettingsError; its message shows no password."""
        parts = urlsplit(text)
        login, at, servers = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        options = tuple(parse_qsl(parts.query, keep_blank_values=True))
        found = cls(tuple(servers.split(",")), parts.path.strip("/"), options, unquote(user), unquote(password))
        wrong = [server for server in found.servers if not _SERVER.match(server)]
        wrong += [name for name, _ in options if name not in _OPTIONS]
        if parts.scheme != SCHEME or wrong or (found.prefix and not _PREFIX.match(found.prefix)) or (at and not user):
            why = f" because of {', '.join(wrong)}" if wrong else ""
            raise SettingsError(
                f"TICKHOUSE_LOG_URL: {parts.scheme}://{servers}{parts.path} is no address of Kafka{why};"
                f" expected kafka://[user:password@]host:port[,host:port][/prefix][?{'=&'.join(_OPTIONS)}=]"
            )
        return found

    def client(self) -> dict[str, object]:
        """Return how every client of kafka-python is configured for it."""
        login = {"sasl_plain_username": self.user, "sasl_plain_password": self.password} if self.user else {}
        return {"bootstrap_servers": list(self.servers), "bootstrap_timeout_ms": _BOOTSTRAP_MS, **dict(self.options), **login}
