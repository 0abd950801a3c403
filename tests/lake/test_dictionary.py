"""The data dictionary says what the tables say, and the page in the repository is fresh."""

from __future__ import annotations

from lake.tables import TABLES
from lake.tables.dictionary import PATH, dictionary


def test_the_page_is_fresh():
    assert PATH.read_text(encoding="utf-8") == dictionary(), "run `make docs` and commit lake/tables/DICTIONARY.md"


def test_every_table_and_column_has_an_entry():
    page = dictionary()
    for table in TABLES.values():
        entry = page.partition(f"### {table.name}\n")[2].partition("\n### ")[0]
        assert table.doc in entry
        for column in table.columns:
            assert f"| {column.field_id} | " in entry
            assert f"`{column.name}`" in entry


def test_a_bar_in_a_meaning_does_not_end_the_cell():
    table = TABLES["raw.messages"]
    columns = (table.columns[0].__class__(1, "a", "string", "x | y", True, table.columns[0].encoding, False),)
    odd = table.__class__("odd.one", "One.", columns, (), (), (), table.published_by)
    assert "x \\| y" in dictionary([odd])
