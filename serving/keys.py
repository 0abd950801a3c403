"""API keys: who may ask what over HTTP.

A key is `th_ID_SECRET`, shown once when it is made; the state database keeps its SHA-256 only. The secret has 256 random
bits, so a plain hash is enough: there is nothing to guess. A revoked key stays listed, for the audit.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import NANOS_PER_SECOND, to_datetime
from serving.choices import Scope as Scope

KIND = "api_key"
_PREFIX = "th"
_MAX_NAME = 100
_REMEMBERED_NS = NANOS_PER_SECOND
"""A server asks the state database once a second: a key revoked works no longer than that."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key without its secret. `digest` is the SHA-256 of the whole key, in hex."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    digest: str
    created_at: datetime
    revoked_at: datetime | None = None

    def document(self) -> dict[str, object]:
        """Return what may be shown of it."""
        return {
            "key_id": self.key_id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_at": self.created_at,
            "revoked_at": self.revoked_at,
        }


def add_key(lake: Lake, name: str, scopes: Iterable[str], who: str) -> tuple[Key, str]:
    """Return a new key and its text, which nobody can find out again. Raises InvalidValueError for a wrong name or scope."""
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidValueError(
            f"name {name[:_MAX_NAME]!r}: expected 1 to {_MAX_NAME} printable characters that say whose key it is"
        )
    chosen = frozenset(_scope(text) for text in scopes)
    if not chosen:
        raise InvalidValueError(f"a key without a scope opens nothing; expected some of {', '.join(Scope)}")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    text = f"{_PREFIX}_{key_id}_{secret}"
    key = Key(key_id, name.strip(), chosen, digest_of(text), to_datetime(lake.clock()))
    _save(lake, key)
    lake.state.audit(who, "keys.add", name.strip(), {"key_id": key_id, "scopes": sorted(chosen)})
    return key, text


def list_keys(lake: Lake) -> list[Key]:
    """Return every key ever made, oldest first."""
    found = [_read(key_id, document) for key_id, document in lake.state.documents(KIND).items()]
    return sorted(found, key=lambda key: (key.created_at, key.key_id))


def revoke_key(lake: Lake, key_id: str, who: str, reason: str) -> Key:
    """Return the key, revoked; one revoked before stays as it was. Raises NotFoundError."""
    document = lake.state.document(KIND, key_id)
    if document is None:
        raise NotFoundError(f"no key {key_id!r}; `tickhouse keys list` shows the ids")
    key = _read(key_id, document)
    if key.revoked_at is None:
        key = replace(key, revoked_at=to_datetime(lake.clock()))
        _save(lake, key)
        lake.state.audit(who, "keys.revoke", reason, {"key_id": key_id})
    return key


class Keyring:
    """The keys as a server uses them: remembered for a second, compared in constant time. Safe between threads."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._keys: Collection[Key] = ()
        self._until_ns = 0

    def keys(self) -> Collection[Key]:
        """Return every key, revoked ones too, not older than a second."""
        with self._lock:
            now = self._lake.clock()
            if not self._until_ns - _REMEMBERED_NS <= now < self._until_ns:
                self._keys, self._until_ns = list_keys(self._lake), now + _REMEMBERED_NS
            return self._keys

    def find(self, text: str) -> Key | None:
        """Return the key that `text` is, None for an unknown or revoked one. Every digest is compared, whatever it is."""
        asked = digest_of(text)
        found = [key for key in self.keys() if hmac.compare_digest(key.digest, asked)]
        return found[0] if found and found[0].revoked_at is None else None


def digest_of(text: str) -> str:
    """Return the SHA-256 of a key's text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _scope(text: str) -> Scope:
    try:
        return Scope(text.strip().lower())
    except ValueError as error:
        raise InvalidValueError(f"scope {text!r}: expected some of {', '.join(Scope)}") from error


def _save(lake: Lake, key: Key) -> None:
    document = {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "digest": key.digest,
        "created_at": key.created_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
    }
    lake.state.save_document(KIND, key.key_id, document)


def _read(key_id: str, document: dict[str, object]) -> Key:
    revoked = document["revoked_at"]
    scopes = document["scopes"]
    assert isinstance(scopes, list)
    return Key(
        key_id,
        str(document["name"]),
        frozenset(Scope(scope) for scope in scopes),
        str(document["digest"]),
        datetime.fromisoformat(str(document["created_at"])),
        None if revoked is None else datetime.fromisoformat(str(revoked)),
    )
