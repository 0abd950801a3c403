"""The configuration in force: one file, watched; its versions in the state; changed by people and programs without a restart.

A wrong or half-written file changes nothing: the last good version goes on, in new processes too, and an alert says why.
Every process that asks `in_force` takes a change up by itself, within a look or two.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ingest.configuration import Configuration
from ingest.configuration_text import default_text, differences, etag_of, read_configuration
from lake import configurations
from lake.configurations import Version
from lake.durable import new_file, sync_folder
from lake.errors import CommitConflictError, CommitUnknownError, DemandError, StorageError, WrongConfigurationError
from lake.instants import NANOS_PER_SECOND, Clock
from lake.settings import Settings
from lake.state import State
from quality_checks.alerts import Alerts, Severity

LOGGER = logging.getLogger("tickhouse.ingest")
LOOK_NS = NANOS_PER_SECOND
BY_FILE = "whoever wrote the file"
ALERT = "configuration"
_REFUSED = "configuration_refused"


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force: its meaning, its text, and the name of that very text; `version` 0: nothing was configured yet."""

    configuration: Configuration
    text: str
    etag: str
    version: int = 0


class Configured:
    """The configuration of one lake, as one process sees it. Safe between threads.

    path     of the file; it may be missing
    secrets  keys that must not stand in it
    """

    def __init__(self, state: State, path: Path, clock: Clock, secrets: Sequence[str] = (), alerts: Alerts | None = None) -> None:
        self.path = path
        self._state, self._clock, self._secrets = state, clock, tuple(secrets)
        self._alerts = Alerts(state, clock) if alerts is None else alerts
        self._lock = threading.RLock()
        self._looked_ns: int | None = None
        self._seen: str | None = None
        self._settling: str | None = None
        self._now = InForce(Configuration(), "", etag_of(""))

    def in_force(self) -> Configuration:
        """Return the configuration, not older than a look."""
        return self.now().configuration

    def now(self) -> InForce:
        """Return what is in force; the file is looked at once a second at most."""
        with self._lock:
            now_ns = self._clock()
            if self._looked_ns is None or not 0 <= now_ns - self._looked_ns < LOOK_NS:
                try:
                    self._look(is_first=self._looked_ns is None)
                except CommitUnknownError as error:
                    if self._looked_ns is None:
                        raise
                    LOGGER.warning("the configuration stays as it was, the state cannot be asked: %s", error)
                self._looked_ns = now_ns
            return self._now

    def change(self, make: Callable[[str], str], who: str, reason: str, etag: str | None = None) -> InForce:
        """Put `make(text in force)` in force and in the file, and return it; the same text changes nothing.

        etag   what must be in force; None: whatever is. Raises WrongConfigurationError, DemandError when another text is
        in force, StorageError when the file cannot be written.
        """
        with self._lock:
            while True:
                self._look(is_first=True)  # what was written into the file by hand comes first
                before = self._now
                if etag is not None and etag != before.etag:
                    raise DemandError(f"the configuration in force is {before.etag}, not {etag}: read it again")
                found, text = self._text_of_file(), make(before.text)
                after = read_configuration(text, self._secrets)
                if etag_of(text) == before.etag and found == text:
                    return before
                try:
                    self._put(text, after, who, reason, found, partial(write_file, self.path, text))
                except CommitConflictError:  # another process was quicker: look again
                    continue
                return self._now

    def refusal(self) -> list[dict[str, Any]]:
        """Return the mistakes for which the file was refused; none: it was not."""
        found = self._state.document(_REFUSED, "file")
        return [] if found is None else list(found["mistakes"])

    def versions(self) -> list[Version]:
        """Return every version that was in force, oldest first."""
        return configurations.versions(self._state)

    def _look(self, *, is_first: bool) -> None:
        text = self._text_of_file()
        etag = None if text is None else etag_of(text)
        if etag == self._seen and not is_first:
            return
        found = configurations.latest(self._state)
        if found is not None:
            self._take(found)
        if found is not None and found.etag == etag:
            self._mended()
        elif text is None:
            self._missing(found)
        elif not is_first and self._settling != etag:
            self._settling = etag  # it may be half written: taken when it is the same at the next look
            return
        elif not self._changed(text):
            return
        self._seen = etag

    def _changed(self, text: str) -> bool:
        """Take up or refuse what the file now holds; False when it is another text meanwhile: look again."""
        try:
            made = read_configuration(text, self._secrets)
        except WrongConfigurationError as error:
            self._refuse(etag_of(text), [dict(each) for each in error.mistakes], str(error))
            return True
        try:
            self._put(text, made, BY_FILE, f"{self.path.name} was changed", text)
        except CommitConflictError:  # another process was quicker
            return False
        return True

    def _missing(self, found: Version | None) -> None:
        if found is not None:
            self._refuse("", [{"where": "", "line": None, "what": f"{self.path.name} is gone"}], f"{self.path.name} is gone")

    def _put(
        self,
        text: str,
        made: Configuration,
        who: str,
        reason: str,
        found: str | None,
        write: Callable[[], None] = lambda: None,
    ) -> None:
        """Put a text that was made upon what is in force here, while that is so everywhere and the file still holds `found`.

        Whoever writes the file by a program does it in such a transaction. Raises CommitConflictError.
        """

        def write_over() -> None:
            if self._text_of_file() != found:
                raise CommitConflictError(f"{self.path.name} was changed meanwhile")
            write()

        before = self._now
        new = Version(0, etag_of(text), self._clock(), who, reason, text)
        changes = {"changes": differences(before.configuration, made)}
        put = configurations.put(self._state, new, before.etag if before.version else None, changes, write_over)
        self._now, self._seen = InForce(made, text, put.etag, put.version), put.etag
        self._mended()

    def _take(self, found: Version) -> None:
        if found.version != self._now.version:
            self._now = InForce(read_configuration(found.text), found.text, found.etag, found.version)

    def _refuse(self, etag: str, mistakes: list[dict[str, Any]], words: str) -> None:
        told = {"etag": etag, "mistakes": mistakes}
        goes_on = f"version {self._now.version} goes on" if self._now.version else "all goes on as shipped"
        if self._state.document(_REFUSED, "file") != told:
            self._state.save_document(_REFUSED, "file", told)
            LOGGER.error("%s is not taken up, %s: %s", self.path.name, goes_on, words)
        self._alerts.raise_alert(ALERT, "file", Severity.ERROR, f"{self.path.name} is not taken up, {goes_on}: {words}")

    def _mended(self) -> None:
        if self._state.document(_REFUSED, "file") is not None:
            self._state.change_document(_REFUSED, "file", lambda _: None)
            self._alerts.resolve(ALERT, "file", "the file is right again")

    def _text_of_file(self) -> str | None:
        try:
            return self.path.read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            LOGGER.error("%s cannot be read: %s", self.path, error.strerror)
            return None


def write_file(path: Path, text: str) -> None:
    """Put `text` in place of a file, whole and durably: a reader sees the old one or the new one. Raises StorageError."""
    place = path.resolve()  # the file itself where the path is a link to it
    other = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with new_file(other) as file:
            file.write(text.encode())
        os.replace(other, place)
        sync_folder(place.parent)
    except OSError as error:
        with suppress(OSError):
            other.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def write_default(path: Path) -> bool:
    """Write the commented default where no file is; False when there is one."""
    if path.exists():
        return False
    write_file(path, default_text())
    return True


def open_configured(settings: Settings, state: State, clock: Clock, secrets: Sequence[str] = ()) -> Configured:
    """Return the configuration of a lake: `tickhouse.toml` in its home, or the file of TICKHOUSE_CONFIG."""
    return Configured(state, settings.config, clock, secrets)
