"""The gate: an increment's rows against its table's contract, fail-closed. The one door to Soda, and to its DuckDB.

`ok` needs no error, as many results as the contract has checks (counted by us, see quality_checks/contract.py) and every
outcome passed or warned. Soda's own `is_ok` is true for checks that it never evaluated. Its errors are log records, so its
logger is never silenced; it is not thread-safe, so one audit runs at a time; importing it takes a second, so that happens at
the first audit. Soda's wheels carry no open licence: see README.md.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from lake.errors import InvalidValueError, NotFoundError, QualityError
from quality_checks.contract import CONTRACTS, Contract, load_contract, read_yaml

PASSING = frozenset({"PASSED", "WARN"})
ATTEMPTS = 3
"""How often an audit that ended in an error is run before it is raised."""

_SODA = threading.Lock()
_ROW = "_row"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check came to. `name` is `missing:price`, `schema`, or the rule of a row check."""

    name: str
    outcome: str
    value: float | None


@dataclass(frozen=True, slots=True)
class GateReport:
    """One audit of one increment."""

    table: str
    row_count: int
    checks_expected: int
    outcomes: tuple[Outcome, ...]
    errors: tuple[str, ...]
    contract_sha256: str = ""
    waived: frozenset[str] = field(default_factory=frozenset)
    """Checks whose failure a person took upon them, with a reason, at a release."""

    @property
    def evaluated(self) -> int:
        """Checks that reached an outcome."""
        return sum(outcome.outcome in PASSING or outcome.outcome == "FAILED" for outcome in self.outcomes)

    @property
    def failed_checks(self) -> tuple[str, ...]:
        """Names of the failed checks that nobody waived."""
        return tuple(item.name for item in self.outcomes if item.outcome == "FAILED" and item.name not in self.waived)

    @property
    def has_errors(self) -> bool:
        """True when the audit itself did not come to an end: neither passed nor failed."""
        return (
            bool(self.errors)
            or self.row_count == 0
            or self.checks_expected == 0
            or len(self.outcomes) != self.checks_expected
            or self.evaluated != self.checks_expected
        )

    @property
    def ok(self) -> bool:
        """True when the increment may be published."""
        return not self.has_errors and not self.failed_checks

    @property
    def verdict(self) -> str:
        """`passed`, `failed` or `error`."""
        return "passed" if self.ok else "error" if self.has_errors else "failed"

    def as_dict(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "table": self.table,
            "verdict": self.verdict,
            "row_count": self.row_count,
            "checks_expected": self.checks_expected,
            "checks_evaluated": self.evaluated,
            "failed_checks": list(self.failed_checks),
            "waived": sorted(self.waived),
            "failing_rows": {item.name: item.value for item in self.outcomes if item.outcome == "FAILED"},
            "errors": list(self.errors),
            "contract_sha256": self.contract_sha256,
        }


def audit(
    table: str,
    rows: pa.Table,
    context: Mapping[str, str] | None = None,
    *,
    waive: Sequence[str] = (),
    folder: Path = CONTRACTS,
    before: pa.Table | None = None,
) -> GateReport:
    """Return the report of `rows`, an increment of `table`, against its contract in `folder`.

    context   words for the error messages: run, provider
    waive     names of checks whose failure does not fail the increment
    before    the view `before` of the contract, see quality_checks/levels.py; a contract that names it errs without it

    Never raises for what the rows or the contract are: whatever goes wrong is an error in the report, which is then not ok.
    """
    where = " ".join(f"{key}={value}" for key, value in (context or {}).items())
    try:
        contract = load_contract(table, folder)
    except (InvalidValueError, NotFoundError) as error:
        return GateReport(table, rows.num_rows, 0, (), (f"{error} {where}".strip(),))
    errors: list[str] = []
    outcomes: tuple[Outcome, ...] = ()
    if rows.num_rows == 0:
        errors.append(f"{table}: an empty increment is not audited {where}".strip())
    else:
        with _SODA:
            outcomes = _verify(contract, rows, before, errors)
    missing = contract.checks_expected - len(outcomes)
    if missing:
        errors.append(f"{table}: {len(outcomes)} results for {contract.checks_expected} checks {where}".strip())
    errors += [
        f"{table}: check {item.name} came to {item.outcome} {where}".strip()
        for item in outcomes
        if item.outcome not in PASSING and item.outcome != "FAILED"
    ]
    return GateReport(table, rows.num_rows, contract.checks_expected, outcomes, tuple(errors), contract.sha256, frozenset(waive))


def audit_to_the_end(
    table: str,
    rows: pa.Table,
    context: Mapping[str, str] | None = None,
    *,
    waive: Sequence[str] = (),
    folder: Path = CONTRACTS,
    before: pa.Table | None = None,
    recorded: Callable[[GateReport], None] = lambda report: None,
) -> GateReport:
    """Return a report without errors: passed or failed. An audit that errs is run again, then raised as QualityError.

    recorded   called with every report, also with those that erred
    """
    for _ in range(ATTEMPTS):
        report = audit(table, rows, context, waive=waive, folder=folder, before=before)
        recorded(report)
        if not report.has_errors:
            return report
    raise QualityError(f"the audit of {table} could not be finished: {'; '.join(report.errors)}", report.as_dict())


def failing_rows(
    table: str, rows: pa.Table, rules: Sequence[str], *, folder: Path = CONTRACTS, before: pa.Table | None = None
) -> dict[str, pa.Array]:
    """Return, for each of `rules`, the numbers of the rows of an increment that the contract's row check fails.

    Raises QualityError for a rule that is a check of the whole increment: it names no rows.
    """
    contract = load_contract(table, folder)
    found: dict[str, pa.Array] = {}
    numbered = rows.append_column(_ROW, pa.array(range(rows.num_rows), pa.int64()))
    with _SODA, _connection(numbered, before) as connection:
        for rule in rules:
            check = contract.row_check(rule)
            if check is None:
                raise QualityError(f"check {rule} of {table} judges the whole increment and names no rows", {"check": rule})
            answer = connection.execute(f"SELECT {_ROW} FROM ({check.sql}) ORDER BY {_ROW}").fetchall()
            found[rule] = pa.array([number for (number,) in answer], pa.int64())
    return found


def _verify(contract: Contract, rows: pa.Table, before: pa.Table | None, errors: list[str]) -> tuple[Outcome, ...]:
    soda = _soda()
    if not soda.logger.isEnabledFor(logging.ERROR) or logging.root.manager.disable >= logging.ERROR:
        errors.append(f"{contract.table}: Soda's logger is silenced, so its errors cannot be seen")
        return ()
    try:
        with _connection(rows, before) as connection:
            session = soda.session.execute(
                contract_yaml_sources=[soda.contract_source.from_str(contract.text)],
                data_source_impls=[soda.data_source.from_existing_cursor(connection, "lake")],
            )
    except Exception as error:  # whatever Soda raises must end as "not ok", never as a published increment
        errors.append(f"{contract.table}: Soda raised {type(error).__name__}: {error}")
        return ()
    if session.has_errors:
        errors.append(f"{contract.table}: {session.get_errors_str()}")
    return tuple(
        Outcome(_name(result.check), result.outcome.value, _number(result.threshold_value))
        for verification in session.contract_verification_results
        for result in verification.check_results
    )


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _name(check: Any) -> str:
    if check.type == "failed_rows":
        return str(check.qualifier or check.name)
    return f"{check.type}:{check.column_name}" if check.column_name else str(check.type)


def _connection(rows: pa.Table, before: pa.Table | None) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "2"})
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("increment", rows)
    if before is not None:
        connection.register("before", before)
    return connection


@dataclass(frozen=True, slots=True)
class _Soda:
    session: Any
    contract_source: Any
    data_source: Any
    logger: logging.Logger


@cache
def _soda() -> _Soda:
    os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"  # read when Soda is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Soda deprecates classes of its own while it defines them
        from soda_core.common.logging_constants import soda_logger
        from soda_core.common.yaml import ContractYamlSource, FileType, YamlObject
        from soda_core.contracts.contract_verification import ContractVerificationSession
        from soda_core.contracts.impl.contract_verification_impl import CheckImpl
        from soda_duckdb.common.data_sources.duckdb_data_source import DuckDBDataSourceImpl

    # Each check as a YAML document, for Soda's cloud: a quarter of an audit.
    CheckImpl._build_definition = lambda check: ""

    class ParsedOnce(ContractYamlSource, file_type=FileType.CONTRACT):  # type: ignore[call-arg,misc]
        """A contract parsed once a process, without its comments: to parse and copy them is a third of an audit."""

        def parse(self) -> YamlObject:
            return YamlObject(self, _parsed(self.yaml_str))

    return _Soda(ContractVerificationSession, ParsedOnce, DuckDBDataSourceImpl, soda_logger)


class _Mapping(CommentedMap):
    """A mapping of a contract, of which Soda wants a copy wherever it looks; what is in it is copied when it looks there."""

    def __deepcopy__(self, memo: object) -> _Mapping:
        return cast(_Mapping, self.copy_attributes(_Mapping(self)))


class _Sequence(CommentedSeq):
    """A list of a contract, as `_Mapping` is."""

    def __deepcopy__(self, memo: object) -> _Sequence:
        return cast(_Sequence, self.copy_attributes(_Sequence(self)))


@lru_cache(maxsize=256)
def _parsed(text: str) -> Any:
    """Return a contract as Soda's own parser gives it, without its lines: that takes 25 ms, and libyaml 4."""
    return _as_soda_parses(read_yaml(text))


def _as_soda_parses(value: Any) -> Any:
    if isinstance(value, dict):
        mapping = _Mapping({key: _as_soda_parses(entry) for key, entry in value.items()})
        for key in mapping:
            mapping._yaml_set_kv_line_col(key, [0, 0, 0, 0])
        return mapping
    if isinstance(value, list):
        sequence = _Sequence([_as_soda_parses(entry) for entry in value])
        for number in range(len(sequence)):
            sequence._yaml_set_idx_line_col(number, [0, 0])
        return sequence
    return value
