"""Names that somebody wrote, as they may be told: never what looks like a key; with the one that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

MAX_SHOWN = 40
_LONGEST_WORD = 16


def looks_secret(text: str) -> bool:
    """Return whether a text may be a key."""
    return any(len(word) >= _LONGEST_WORD for word in re.split(r"[^A-Za-z0-9+/=]", text))


def name_told(part: object) -> str:
    """Return a name that somebody chose, as it may be told: a key in its place is not."""
    text = str(part)
    return "…" if looks_secret(text) and any(letter.isdigit() for letter in text) else text[:MAX_SHOWN]


def meant(name: str, known: Iterable[str]) -> str:
    """Return in words which of the known names is close to one that is wrong; nothing where none is."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f", did you mean {found[0]}?" if found else ""
