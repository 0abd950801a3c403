"""Versions of the configuration in the state: what was in force since when, by whom and why. A text is kept as it was written.

What the text means is no business of this module: `ingest/configured.py` reads it. A backup holds every version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from lake.errors import CommitConflictError
from lake.state import State
from lake.state_tables import AUDIT_LOG, CONFIGURATIONS


@dataclass(frozen=True, slots=True)
class Version:
    """One text that was in force from `at_ns` until the next version; versions count from 1."""

    version: int
    etag: str
    at_ns: int
    who: str
    reason: str
    text: str

    def document(self) -> dict[str, object]:
        """Return it without its text."""
        return {"version": self.version, "etag": self.etag, "at_ns": self.at_ns, "who": self.who, "reason": self.reason}


def latest(state: State) -> Version | None:
    """Return the version in force, or None before the first."""
    with state.reading() as connection:
        return _latest(connection)


def versions(state: State) -> list[Version]:
    """Return every version, oldest first."""
    with state.reading() as connection:
        return [Version(*row) for row in connection.execute(sa.select(CONFIGURATIONS).order_by(CONFIGURATIONS.c.version))]


def put(
    state: State, new: Version, before: str | None, detail: Mapping[str, object], write: Callable[[], None] = lambda: None
) -> Version:
    """Put a text in force in one transaction, its audit included, and return it under its number.

    new      its number is given here
    before   etag of the version it follows, None for the first. Raises CommitConflictError when another one is in force
    detail   of the audit: what changed
    write    puts the text into its file, before the transaction ends: a crash leaves the file, which is then found changed
    """
    with state.writing() as connection:
        found = _latest(connection)
        if (None if found is None else found.etag) != before:
            raise CommitConflictError("the configuration was changed meanwhile: read it again")
        made = Version(1 if found is None else found.version + 1, new.etag, new.at_ns, new.who, new.reason, new.text)
        connection.execute(sa.insert(CONFIGURATIONS).values({**made.document(), "text": made.text}))
        audited = {"version": made.version, "before": before, "after": made.etag, **detail}
        act = {"at_ns": made.at_ns, "who": made.who, "what": "config.set", "reason": made.reason}
        connection.execute(sa.insert(AUDIT_LOG).values({**act, "detail": json.dumps(audited, default=str)}))
        write()
    return made


def _latest(connection: sa.Connection) -> Version | None:
    row = connection.execute(sa.select(CONFIGURATIONS).order_by(CONFIGURATIONS.c.version.desc()).limit(1)).first()
    return None if row is None else Version(*row)
