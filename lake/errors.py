"""The errors of tickhouse: the class says what the caller should do next.

The message says what failed, where, with which value, and what was expected. HTTP statuses and exit codes for each
class stand in `serving`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class TickhouseError(Exception):
    """Base of every error that tickhouse raises on purpose."""


class SettingsError(TickhouseError):
    """A setting is missing or wrong: mend the setting named."""


class InvalidValueError(TickhouseError):
    """A value sent by the caller is not valid: send a valid one."""


class WrongConfigurationError(InvalidValueError):
    """A configuration is wrong: mend every one of `mistakes`, each with where, line and what."""

    def __init__(self, message: str, mistakes: Sequence[Mapping[str, object]]) -> None:
        super().__init__(message)
        self.mistakes = tuple(mistakes)


class NotFoundError(TickhouseError):
    """The thing asked for does not exist: ask for something that does."""


class DemandError(TickhouseError):
    """What exists is older than demanded, or of a quality nobody measured: relax the demand, or wait."""


class AccessError(TickhouseError):
    """The caller's key is missing, unknown, revoked or lacks the scope: send one that fits."""


class BusyError(TickhouseError):
    """As much is under way as there may be: try again in a moment."""


class ProtocolError(TickhouseError):
    """Bytes of a provider could not be read: quarantine this message and go on."""


class ProviderRefusedError(TickhouseError):
    """A provider refused for good: mend credentials or entitlement."""


class ProviderUnavailableError(TickhouseError):
    """A provider cannot answer now: wait `retry_after_s` seconds, or fail over."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QualityError(TickhouseError):
    """The gate refused: do not publish, look at the findings in `report`."""

    def __init__(self, message: str, report: Mapping[str, object]) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[type[QualityError], tuple[str, Mapping[str, object]]]:
        """Return how it is made again on the other side of a pipe, from a worker."""
        return type(self), (str(self), self.report)


class CommitConflictError(TickhouseError):
    """Somebody else committed first: reload, check the position, build again."""


class CommitUnknownError(TickhouseError):
    """The outcome of a commit is unknown: look whether it landed before anything else; delete nothing."""


class WorkerError(TickhouseError):
    """Workers died, hung or failed twice at one part of the work; nothing was committed: look at the machine, run again."""


class StorageError(TickhouseError):
    """A place for files is full, refuses or cannot be reached: make room or mend it, then repeat; nothing half done counts."""


class LogFullError(TickhouseError):
    """The log cannot take more (disk full, or landing too far behind): slow down and say so."""


class CorruptedError(TickhouseError):
    """Bytes that we stored are not what we stored: stop, restore them; never go on past them."""
