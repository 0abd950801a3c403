"""Contracts as we read them: strictly, because Soda passes over what it does not know.

Soda 4.28 calls a contract passed whose `checks:` is misspelt, whose threshold key is misspelt or whose column says `check:`
(each then has fewer checks, none of which fails). So a contract is read twice: here, where every key must be one we use and
the checks are counted, and by Soda, which must give an outcome for each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from lake.errors import InvalidValueError, NotFoundError
from lake.tables import Column, Table, table_named

CONTRACTS = Path(__file__).parent / "contracts"
DATASET = "lake/main/increment"
"""Data source, schema and view under which the gate registers the rows of an increment."""

_DATA_TYPES = {
    "string": "varchar",
    "binary": "blob",
    "int": "integer",
    "long": "bigint",
    "double": "double",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamp with time zone",
}
_COLUMN_KEYS = {"name", "data_type", "numeric_precision", "numeric_scale", "checks"}
_ROW_CHECK_KEYS = {"name", "qualifier", "expression", "query"}


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A check that names the rows it fails: `sql` selects them from the view `increment`."""

    rule: str
    sql: str


@dataclass(frozen=True, slots=True)
class Contract:
    """One table's contract, read and found whole."""

    table: str
    text: str
    checks_expected: int
    row_checks: tuple[RowCheck, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the contract's text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def row_check(self, rule: str) -> RowCheck | None:
        """Return the row check called `rule`; None for a check of the whole increment."""
        return next((check for check in self.row_checks if check.rule == rule), None)


def load_contract(table_name: str, folder: Path = CONTRACTS) -> Contract:
    """Return the contract of a table from `folder`. Raises NotFoundError without a file, InvalidValueError for a wrong one."""
    path = folder / f"{table_name}.yml"
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise NotFoundError(f"table {table_name} has no contract {path.name}; nothing of it can be published") from error
    return _read_once(table_name, text)


@lru_cache(maxsize=256)
def _read_once(table_name: str, text: str) -> Contract:
    return read_contract(table_named(table_name), text)


def read_yaml(text: str) -> Any:
    """Return what a YAML document says, by the rules of YAML 1.2; libyaml splits it into words where there is one (5x).

    Raises YAMLError.
    """
    return YAML(typ="safe").load(text)


def read_contract(table: Table, text: str) -> Contract:
    """Return the contract that `text` writes for `table`.

    Raises InvalidValueError that lists every fault: an unknown key or check, a column that the table has not, or lacks,
    or types otherwise, a required column without a `missing` check, no `schema` or no `row_count` check.
    """
    try:
        document = read_yaml(text)
    except YAMLError as error:
        raise InvalidValueError(f"contract of {table.name} is not YAML: {error}") from error
    faults: list[str] = []
    document = _mapping(document, "the contract", {"dataset", "columns", "checks"}, faults)
    if document.get("dataset") != DATASET:
        faults.append(f"dataset is {document.get('dataset')!r}, expected {DATASET}")
    count = _column_checks(table, _sequence(document.get("columns"), "columns", faults), faults)
    row_checks: list[RowCheck] = []
    whole: list[str] = []
    for entry in _sequence(document.get("checks"), "checks", faults):
        count += 1
        _read_check(entry, row_checks, whole, faults)
    faults += [f"check {name} must stand once" for name in ("schema", "row_count") if whole.count(name) != 1]
    rules = [check.rule for check in row_checks]
    faults += [f"row check {rule} stands twice" for rule in sorted({rule for rule in rules if rules.count(rule) > 1})]
    if faults:
        raise InvalidValueError(f"contract of {table.name}: {'; '.join(faults)}")
    return Contract(table.name, text, count, tuple(row_checks))


def _column_checks(table: Table, entries: list[object], faults: list[str]) -> int:
    count = 0
    names: list[object] = []
    for entry in entries:
        body = _mapping(entry, "a column", _COLUMN_KEYS, faults)
        name = body.get("name")
        names.append(name)
        column = next((column for column in table.columns if column.name == name), None)
        if column is None:
            faults.append(f"column {name!r} is not of the table")
            continue
        told = {key: body[key] for key in ("data_type", "numeric_precision", "numeric_scale") if key in body}
        if told != data_type(column):
            faults.append(f"column {name} is told as {told}, expected {data_type(column)}")
        checks = _sequence(body["checks"], f"checks of column {name}", faults) if "checks" in body else []
        for check in checks:
            count += 1
            if check != {"missing": None}:
                faults.append(f"column {name} has the check {check!r}, expected only missing:")
        if column.required and len(checks) != 1:
            faults.append(f"required column {name} needs one missing check, has {len(checks)}")
    if names != list(table.column_names):
        faults.append(f"columns are not those of the table in its order: {names}")
    return count


def data_type(column: Column) -> dict[str, object]:
    """Return how a contract types `column`, in DuckDB's words."""
    if column.type.startswith("decimal("):
        precision, _, scale = column.type.removeprefix("decimal(").removesuffix(")").partition(",")
        return {"data_type": "decimal", "numeric_precision": int(precision), "numeric_scale": int(scale)}
    return {"data_type": _DATA_TYPES[column.type]}


def _read_check(entry: object, row_checks: list[RowCheck], whole: list[str], faults: list[str]) -> None:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        faults.append(f"check {entry!r} is not one name with its body")
        return
    [(kind, body)] = entry.items()
    if kind in ("schema", "row_count"):
        whole.append(kind)
        if body is not None:
            faults.append(f"check {kind} takes no body here, has {body!r}")
        return
    if kind != "failed_rows":
        faults.append(f"check {kind!r} is unknown; there are schema, row_count, missing (of a column), failed_rows")
        return
    told = _mapping(body, "failed_rows", _ROW_CHECK_KEYS, faults)
    rule, expression, query = told.get("name"), told.get("expression"), told.get("query")
    if not isinstance(rule, str) or rule != told.get("qualifier"):
        faults.append(f"failed_rows: name {rule!r} and qualifier {told.get('qualifier')!r} must be one text")
    elif isinstance(expression, str) and query is None:
        row_checks.append(RowCheck(rule, f"SELECT * FROM increment WHERE {expression.strip()}"))
    elif isinstance(query, str) and expression is None and query.lstrip().startswith("SELECT * FROM increment"):
        row_checks.append(RowCheck(rule, query.strip()))
    else:
        faults.append(f"failed_rows {rule}: needs an expression, or a query that begins with SELECT * FROM increment")


def _mapping(value: object, what: str, known: set[str], faults: list[str]) -> dict[str, object]:
    if not isinstance(value, Mapping):
        faults.append(f"{what} is {value!r}, expected keys {', '.join(sorted(known))}")
        return {}
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        faults.append(f"{what} has unknown keys {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return {str(key): item for key, item in value.items()}


def _sequence(value: object, what: str, faults: list[str]) -> list[object]:
    if isinstance(value, list) and value:
        return value
    faults.append(f"{what} is {value!r}, expected a list that is not empty")
    return []
