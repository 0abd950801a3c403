"""Watching a folder for new files: each is imported once, when it is whole. Shell.

A file is whole when two looks, `settle_s` apart at least, find the same size, time of change and place on the disk: so a file
renamed in is taken after one pause, and one that still grows is not. Names of files being written (`.part`, `.tmp`, a leading
dot) are left alone until they are renamed, manifests and notes (`_manifest.json`, `.md`) for good. What became of each file
stands in the state; one that changes later is a new file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ingest.imports import NOT_DATA, FileReport, import_paths
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.instants import NANOS_PER_SECOND
from lake.log.log import Log

SETTLE_S = 5.0
"""How long a file must stay as it is: slow copies pause for less."""
_BEING_WRITTEN = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")


@dataclass(frozen=True, slots=True)
class _Look:
    """How a file was found: its size, time of change and number on the disk, and since when."""

    size: int
    changed_ns: int
    place: int
    since_ns: int

    def is_as(self, other: _Look) -> bool:
        """Whether nothing changed between two looks."""
        return (self.size, self.changed_ns, self.place) == (other.size, other.changed_ns, other.place)


class FolderWatch:
    """One folder, with all below it, whose files are of one feed.

    mapping    what the columns of CSV files are
    settle_s   how long a file must stay as it is
    """

    def __init__(
        self,
        lake: Lake,
        log: Log,
        provider: str,
        feed: str,
        folder: Path,
        *,
        mapping: Mapping[str, object] | None = None,
        settle_s: float = SETTLE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not folder.is_dir():
            raise NotFoundError(f"no such folder: {folder}")
        self._lake, self._log, self._feed, self._folder = lake, log, (provider, feed), folder.resolve()
        self._mapping, self._settle_ns, self._sleep = mapping, round(settle_s * NANOS_PER_SECOND), sleep
        self._looks: dict[Path, _Look] = {}
        self._done: dict[str, tuple[int, int]] = {}
        self._prefix = f"folder:{provider}-{feed}:"

    @property
    def waiting(self) -> int:
        """Files seen at the last look that were not yet known to be whole."""
        return len(self._looks)

    def look(self) -> list[FileReport]:
        """Import what is new and whole, and return what became of each file; the rest waits for the next look.

        Raises NotFoundError when the folder is gone, and what an import raises that concerns no single file.
        """
        if not self._folder.is_dir():
            raise NotFoundError(f"the folder is gone: {self._folder}")
        reports: list[FileReport] = []
        found = dict(self._found())
        self._looks = {path: look for path, look in self._looks.items() if path in found}
        for path, now in found.items():
            before = self._looks.get(path)
            if before is None or not now.is_as(before):
                self._looks[path] = now
            elif now.since_ns - before.since_ns >= self._settle_ns:
                reports += self._take(path, before)
        return reports

    def _found(self) -> Iterator[tuple[Path, _Look]]:
        """Yield the files that are not imported as they are."""
        now_ns = self._lake.clock()
        for path in sorted(self._folder.rglob("*")):
            is_passed = any(part.startswith(".") for part in path.relative_to(self._folder).parts)
            if is_passed or path.name.startswith("_") or path.name.lower().endswith((*_BEING_WRITTEN, *NOT_DATA)):
                continue
            try:
                told = path.stat()
            except FileNotFoundError:
                continue  # renamed or removed between the list and the look
            if path.is_file() and self._known(path) != (told.st_size, told.st_mtime_ns):
                yield path, _Look(told.st_size, told.st_mtime_ns, told.st_ino, now_ns)

    def _take(self, path: Path, look: _Look) -> list[FileReport]:
        """Import a file that is whole; one that changes meanwhile is looked at again."""
        report = import_paths(self._lake, self._log, *self._feed, [path], mapping=self._mapping, sleep=self._sleep)
        del self._looks[path]
        try:
            told = path.stat()
        except FileNotFoundError:
            return list(report.files)
        if (told.st_size, told.st_mtime_ns) == (look.size, look.changed_ns):
            self._done[self._key(path)] = (look.size, look.changed_ns)
            self._lake.state.save_job(
                self._key(path),
                {
                    "path": str(path),
                    "size": look.size,
                    "changed_ns": look.changed_ns,
                    "files": [{"path": each.path, "status": each.status, "capture_id": each.capture_id, "error": each.error}
                              for each in report.files],
                },
            )  # fmt: skip
        return list(report.files)

    def _known(self, path: Path) -> tuple[int, int] | None:
        """Return size and time of change under which a file was imported; None where it was not."""
        key = self._key(path)
        if key not in self._done:
            document = self._lake.state.job(key)
            if document is None:
                return None
            self._done[key] = (int(document["size"]), int(document["changed_ns"]))
        return self._done[key]

    def _key(self, path: Path) -> str:
        return self._prefix + hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
