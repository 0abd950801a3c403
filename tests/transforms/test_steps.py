import pytest

from lake.errors import NotFoundError
from lake.tables import TABLES
from tests.transforms.making import AGREED, FACTORS, NOW, agreed, at, of
from transforms.steps import STEPS, Finding, Lineage, derived_ids, finding_rows, step_named


def test_steps_are_named_once_and_go_from_tables_to_tables():
    assert len({step.name for step in STEPS}) == len(STEPS)
    assert all(name in TABLES for step in STEPS for name in (*step.inputs, *step.outputs))
    assert step_named("agree").identity == "agree/1"
    with pytest.raises(NotFoundError, match="there are decode"):
        step_named("guess")


def test_a_derived_row_is_named_by_its_key_and_instants_to_the_microsecond_they_have():
    rows = of(AGREED, agreed("2020-08-28", 1), agreed("2020-08-28", 1, known_at=at("2020-08-28", 21).replace(microsecond=500)))
    assert derived_ids(AGREED, rows).to_pylist() == [
        "adjusted.agreed_bars/1/1d/2020-08-28T14:00:00Z/2020-08-28T21:00:00Z",
        "adjusted.agreed_bars/1/1d/2020-08-28T14:00:00Z/2020-08-28T21:00:00.000500Z",
    ]
    assert derived_ids(FACTORS, FACTORS.arrow_schema().empty_table()).to_pylist() == []


def test_lineage_and_findings_become_rows_of_their_tables():
    lineage = Lineage.of("agree", AGREED.name)
    lineage.add(0, "normalized.bars", "c:1:2", "bar")
    lineage.add_all([0, 0], "normalized.bars", ["c:1:3", "c:1:4"], "compared")
    rows = lineage.rows(derived_ids(AGREED, of(AGREED, agreed("2020-08-28", 1))), "run", NOW)
    assert rows["role"].to_pylist() == ["bar", "compared", "compared"]
    assert set(rows["step"].to_pylist()) == {"agree/1"}
    one = Finding("c:1:2", "disagreement", "warning", AGREED.name, None, 1, "{}")
    assert finding_rows([one, one], "run", NOW).num_rows == 1
