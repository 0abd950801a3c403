"""When this lake was restored, or promoted from a replica: what was done meanwhile by the one before it is not in its state.

Who keeps books in state that the world outside counts too, such as calls to providers, asks for it.
"""

from __future__ import annotations

from lake.state import State

KIND, _KEY = "restored", "lake"


def mark_restored(state: State, now_ns: int) -> None:
    """Write down that the state is of an earlier moment, and that somebody else may have gone on from there until now."""
    state.save_document(KIND, _KEY, {"at_ns": now_ns})


def restored_at_ns(state: State) -> int:
    """Return until when others may have done what this state does not know; 0: it was never restored."""
    found = state.document(KIND, _KEY)
    return 0 if found is None else int(found["at_ns"])
