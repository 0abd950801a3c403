"""What each error means outside: its HTTP status, its exit code and its title, in this one place.

The table is STYLE.md's: the class of an error tells the caller what to do next. An error that is not ours is a defect:
status 500, exit code 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from lake import errors


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one class of error is told to a caller.

    status      HTTP status
    exit_code   exit code of the command line
    title       short words for a person, the same for every error of the class
    advice      what the caller should do
    """

    status: int
    exit_code: int
    title: str
    advice: str

    @property
    def type(self) -> str:
        """The `type` of a problem document: a name that stays, not an address that must answer."""
        return "urn:tickhouse:problem:" + self.title.lower().replace(" ", "-")


DONE = 0
DEFECT = Outcome(500, 1, "Internal error", "Report it: this is a defect of tickhouse.")
INTERRUPTED = 130

OUTCOMES: dict[type[errors.TickhouseError], Outcome] = {
    errors.SettingsError: Outcome(500, 2, "Wrong setting", "Mend the setting named."),
    errors.InvalidValueError: Outcome(422, 2, "Invalid value", "Send a valid value."),
    errors.NotFoundError: Outcome(404, 3, "Not found", "Ask for something that exists."),
    errors.DemandError: Outcome(412, 3, "Demand not met", "Relax the demand, or wait until it can be met."),
    errors.BusyError: Outcome(503, 5, "Busy", "Try again in a moment."),
    errors.AccessError: Outcome(403, 4, "Access refused", "Send a key that has the scope."),
    errors.ProtocolError: Outcome(502, 4, "Unreadable payload", "The message is quarantined; go on with the next."),
    errors.ProviderRefusedError: Outcome(502, 4, "Provider refused", "Mend credentials or entitlement."),
    errors.ProviderUnavailableError: Outcome(503, 5, "Provider unavailable", "Wait, or use another provider."),
    errors.QualityError: Outcome(409, 7, "Refused by the gate", "Look at the findings; nothing was published."),
    errors.CommitConflictError: Outcome(503, 5, "Commit conflict", "Try again: somebody else committed first."),
    errors.CommitUnknownError: Outcome(503, 8, "Commit outcome unknown", "Look whether it landed before anything else."),
    errors.WorkerError: Outcome(503, 5, "Workers failed", "Look at the machine, then run it again: nothing was committed."),
    errors.StorageError: Outcome(503, 5, "Storage refused", "Make room or mend the place, then run it again."),
    errors.LogFullError: Outcome(503, 5, "Log full", "Free disk space or let landing catch up, then go on."),
    errors.CorruptedError: Outcome(500, 9, "Stored bytes damaged", "Stop and restore them; run `tickhouse verify`."),
}

PASSING = (
    errors.CommitConflictError,
    errors.CommitUnknownError,
    errors.LogFullError,
    errors.ProviderUnavailableError,
    errors.StorageError,
)
"""What passes by itself, or once somebody makes room: who repeats steps that are safe to repeat tells it and goes on."""

EXIT_CODES: dict[int, str] = {
    DONE: "done",
    1: "a defect of tickhouse, or a check that found something (doctor, verify)",
    2: "a wrong option, value or setting",
    3: "the thing asked for does not exist",
    4: "a provider refused, or sent what cannot be read",
    5: "try again later: provider unavailable, commit conflict, log full, storage refused",
    7: "the gate refused; nothing was published",
    8: "the outcome of a commit is unknown: run `tickhouse verify`",
    9: "bytes that were stored are damaged: restore them",
    INTERRUPTED: "interrupted",
}


def outcome_of(error: BaseException) -> Outcome:
    """Return the outcome of `error`'s class or of its nearest base; DEFECT when it is none of ours."""
    for kind in type(error).__mro__:  # the nearest class first
        found = OUTCOMES.get(kind)
        if found is not None:
            return found
    return DEFECT


def details_of(error: BaseException) -> dict[str, object]:
    """Return what an error carries beside its message: seconds to wait, the gate's report, each mistake."""
    if isinstance(error, errors.ProviderUnavailableError):
        return {"retry_after_s": error.retry_after_s}
    if isinstance(error, errors.QualityError):
        return {"report": dict(error.report)}
    if isinstance(error, errors.WrongConfigurationError):
        return {"mistakes": [dict(each) for each in error.mistakes]}
    return {}
