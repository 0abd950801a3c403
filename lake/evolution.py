"""Schema evolution: bringing a table of an older lake to today's definition, by field id, without touching a data file.

What Iceberg can promise to readers of old files is done: a column added (optional, under an id never used for another),
renamed, widened (int to long, decimal to more digits of the same scale), dropped, or made optional. Everything else is
refused with what it is, before anything is written. The change is one commit that adds no snapshot, so main's head with
its position and holds stays what it was.
"""

from __future__ import annotations

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import DecimalType, IcebergType, IntegerType, LongType, NestedField

from lake import iceberg_internals as internals
from lake.errors import CommitConflictError, SettingsError
from lake.tables import Table


def changes(metadata: TableMetadata, definition: Table) -> list[str]:
    """Return what differs between a stored table and its definition, one line a change; none when they agree.

    Raises SettingsError that lists every difference no reader of old files could be promised.
    """
    stored = {field.field_id: field for field in metadata.schema().fields}
    defined = {field.field_id: field for field in definition.iceberg_schema().fields}
    found: list[str] = []
    refused: list[str] = []
    for number, field in defined.items():
        before = stored.get(number)
        if before is None:
            why = _refused_addition(metadata, field)
            (refused if why else found).append(why or f"add {field.name} {field.field_type}")
            continue
        if before.name != field.name:
            found.append(f"rename {before.name} to {field.name}")
        if before.field_type != field.field_type:
            is_wider = _widens(before.field_type, field.field_type)
            text = f"{field.name} from {before.field_type} to {field.field_type}"
            (found if is_wider else refused).append(f"widen {text}" if is_wider else f"turn {text}")
        if before.required != field.required:
            (refused if field.required else found).append(f"make {field.name} {'required' if field.required else 'optional'}")
    used = {one.source_id for one in metadata.spec().fields} | {one.source_id for one in metadata.sort_order().fields}
    for number in sorted(set(stored) - set(defined)):
        why = f"drop {stored[number].name}, which partition or order rest on" if number in used else ""
        (refused if why else found).append(why or f"drop {stored[number].name}")
    if refused:
        raise SettingsError(
            f"{definition.name} at {metadata.location} cannot be brought to its definition: {'; '.join(refused)};"
            " rebuild it in another home"
        )
    return found


def evolve(table: IcebergTable, definition: Table) -> list[str]:
    """Bring a loaded table to its definition in one commit; return what was changed.

    Raises SettingsError for what is refused, CommitConflictError when somebody changed the schema or moved main meanwhile:
    load again.
    """
    found = changes(table.metadata, definition)
    if found:
        schema = Schema(*definition.iceberg_schema().fields, schema_id=1 + max(one.schema_id for one in table.metadata.schemas))
        try:
            internals.set_schema(table, schema)
        except CommitFailedException as error:
            raise CommitConflictError(f"{definition.name}: somebody else committed while its schema changed: {error}") from error
    return found


def _refused_addition(metadata: TableMetadata, field: NestedField) -> str:
    """Return why a column cannot be added, or nothing. One that was dropped may come back under its own id."""
    if field.required:
        return f"add the required column {field.name}, which older rows do not have"
    former = [one for schema in metadata.schemas for one in schema.fields if one.field_id == field.field_id]
    if field.field_id <= metadata.last_column_id and not former:
        return f"add {field.name} under the field id {field.field_id}, which is not free"
    for one in former:
        if one.field_type != field.field_type and not _widens(one.field_type, field.field_type):
            return f"add {field.name} under the field id {field.field_id}, which was {one.name} {one.field_type}"
    return ""


def _widens(before: IcebergType, after: IcebergType) -> bool:
    if isinstance(before, DecimalType) and isinstance(after, DecimalType):
        return before.scale == after.scale and before.precision < after.precision
    return isinstance(before, IntegerType) and isinstance(after, LongType)
