"""Every error of the lake has a status and an exit code, the ones that STYLE.md promises."""

from __future__ import annotations

import pytest

from lake import errors
from serving.outcomes import DEFECT, EXIT_CODES, OUTCOMES, details_of, outcome_of

PROMISED = {
    errors.SettingsError: (None, 2),
    errors.InvalidValueError: (422, 2),
    errors.NotFoundError: (404, 3),
    errors.ProtocolError: (None, 4),
    errors.ProviderRefusedError: (None, 4),
    errors.ProviderUnavailableError: (503, 5),
    errors.QualityError: (409, 7),
    errors.CommitConflictError: (503, 5),
    errors.CommitUnknownError: (503, 8),
}


@pytest.mark.parametrize("kind", PROMISED)
def test_the_promised_status_and_exit_code(kind: type[errors.TickhouseError]) -> None:
    status, exit_code = PROMISED[kind]
    assert OUTCOMES[kind].exit_code == exit_code
    assert status is None or OUTCOMES[kind].status == status


def test_every_error_of_ours_has_an_outcome_of_its_own() -> None:
    assert set(OUTCOMES) == set(errors.TickhouseError.__subclasses__())


def test_every_exit_code_is_documented() -> None:
    assert {outcome.exit_code for outcome in OUTCOMES.values()} | {DEFECT.exit_code} <= set(EXIT_CODES)


def test_types_tell_the_kinds_apart() -> None:
    names = [outcome.type for outcome in (*OUTCOMES.values(), DEFECT)]
    assert len(set(names)) == len(names)
    assert all(name.startswith("urn:tickhouse:problem:") and " " not in name for name in names)


def test_a_subclass_has_the_outcome_of_its_base_and_a_stranger_is_a_defect() -> None:
    class Particular(errors.NotFoundError):
        pass

    assert outcome_of(Particular("x")) is OUTCOMES[errors.NotFoundError]
    assert outcome_of(KeyError("x")) is DEFECT


def test_what_an_error_carries_is_told() -> None:
    assert details_of(errors.ProviderUnavailableError("later", 2.5)) == {"retry_after_s": 2.5}
    assert details_of(errors.QualityError("held", {"failed": 1})) == {"report": {"failed": 1}}
    assert details_of(errors.NotFoundError("x")) == {}
