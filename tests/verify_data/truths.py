"""What the data folder itself says our rows must be: each truth compares the fresh lake with answers from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lake.catalog import Lake


@dataclass(frozen=True, slots=True)
class Truth:
    """What was compared, in words and counts; `difference` is the first that was found, None for none."""

    name: str
    checked: str
    difference: str | None = None


TRUTHS: dict[str, tuple[Callable[[Lake, Path], Truth], ...]] = {}
"""Folder of the data -> what is compared once its files are promoted."""


def truths_of(lake: Lake, data: Path, folders: Sequence[str] = ()) -> list[Truth]:
    """Return what the folders' truths say of a lake that holds their files."""
    return [
        check(lake, data)
        for folder, checks in TRUTHS.items()
        for check in checks
        if (data / folder).is_dir() and (not folders or folder in folders)
    ]
