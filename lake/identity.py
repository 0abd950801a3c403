"""Which lake this is, and whether it may be written: a name for ever, a generation, a role.

A lake and its replicas and restored copies have one name. Promoting a replica, and restoring, begin a new generation; whoever
meets a later generation of its own name is fenced: it refuses every commit from then on.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from enum import StrEnum

from lake.errors import SettingsError
from lake.state import State

KIND, _KEY = "place", "identity"


class Role(StrEnum):
    """What may be done here. A replica is read; a fenced lake was replaced by a later generation."""

    PRIMARY = "primary"
    REPLICA = "replica"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class Identity:
    """Name, generation and role of a lake; `told` says how it came to it."""

    lake_id: str
    epoch: int
    role: Role
    told: str


def identity_of(state: State) -> Identity:
    """Return the identity; a lake that was never backed up or copied has no name yet and is its own primary."""
    found = state.document(KIND, _KEY)
    if found is None:
        return Identity("", 0, Role.PRIMARY, "made here")
    return Identity(str(found["lake_id"]), int(found["epoch"]), Role(found["role"]), str(found["told"]))


def named_identity(state: State) -> Identity:
    """Return the identity, giving the lake its name when it has none. Call under a lease."""
    found = identity_of(state)
    if not found.lake_id:
        found = Identity(uuid.uuid4().hex, found.epoch, found.role, found.told)
        save_identity(state, found)
    return found


def save_identity(state: State, identity: Identity) -> None:
    """Write down who this lake is, from now on."""
    state.save_document(KIND, _KEY, asdict(identity))


def fence(state: State, by: Identity, where: str) -> None:
    """Refuse every commit here from now on, because a later generation took over."""
    mine = identity_of(state)
    told = f"generation {by.epoch} at {where} took over from generation {mine.epoch}"
    save_identity(state, Identity(mine.lake_id, mine.epoch, Role.FENCED, told))


def check_writable(state: State) -> None:
    """Raise SettingsError unless this lake may be written."""
    found = identity_of(state)
    if found.role is Role.REPLICA:
        raise SettingsError("this lake is a replica and is only read; `tickhouse replica promote` makes it the one to write")
    if found.role is Role.FENCED:
        raise SettingsError(f"this lake may not be written any more: {found.told}. Open that one")
