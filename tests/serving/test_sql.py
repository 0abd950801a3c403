"""SQL over the lake: every table by name, nothing else; bounded; as published and known at an instant."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError, TickhouseError
from lake.instants import parse_instant
from lake.tables import TABLES
from serving.sql import VIEWS, Limits, answer, tables_of


def test_tables_are_found_by_the_parse_tree() -> None:
    query = """
        WITH a AS (SELECT * FROM normalized.trades), b AS (SELECT * FROM a)
        SELECT * FROM b JOIN (SELECT * FROM Raw.Messages) m USING (capture_id)
        WHERE symbol IN (SELECT symbol FROM reference.listings) AND EXISTS (FROM ops.publications p WHERE p.run_id = 'x')
        UNION ALL SELECT * FROM normalized.trades
    """
    assert tables_of(query).tables == {
        "normalized.trades": 2,
        "raw.messages": 1,
        "reference.listings": 1,
        "ops.publications": 1,
    }


REFUSED = {
    "SELECT * FROM read_parquet('x.parquet')": "read_parquet",
    "SELECT * FROM READ_CSV('/etc/passwd')": "read_csv",
    "SELECT (SELECT count(*) FROM read_text('/etc/passwd'))": "read_text",
    "SELECT * FROM glob('*')": "glob",
    "SELECT * FROM main.read_json('x')": "read_json",
    "SELECT * FROM query('select 1')": "query",
    "SELECT * FROM query_table('x')": "query_table",
    "SELECT * FROM duckdb_settings()": "duckdb_settings",
    "COPY (SELECT 1) TO 'x.csv'": "COPY",
    "COPY normalized.trades FROM 'x.csv'": "COPY",
    "ATTACH 'x.db'": "ATTACH",
    "INSTALL httpfs": "LOAD",
    "LOAD httpfs": "LOAD",
    "PRAGMA version": "PRAGMA",
    "SET threads = 1": "SET",
    "RESET threads": "SET",
    "CREATE TABLE x AS SELECT 1": "CREATE",
    "CREATE OR REPLACE VIEW normalized.trades AS SELECT 1": "CREATE",
    "INSERT INTO normalized.trades VALUES (1)": "INSERT",
    "DELETE FROM normalized.trades": "DELETE",
    "DROP VIEW normalized.trades": "DROP",
    "EXPORT DATABASE 'x'": "EXPORT",
    "CALL pragma_version()": "CALL",
    "EXPLAIN ANALYZE SELECT 1": "EXPLAIN",
    "CREATE SECRET x (TYPE s3)": "CREATE",
    "SELECT 1; SELECT 2": "2 statements",
    "SELECT 1; DROP TABLE x": "found",
    "": "0 statements",
    "-- nothing": "0 statements",
    "SHOW DATABASES": "SHOW TABLES",
    "SELEC 1": "syntax error",
    "SELECT no_such_column FROM normalized.trades": "no_such_column",
    "SELECT 'x'::INTEGER": "x",
    "SELECT getenv('HOME')": "getenv",
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_is_not_one_select_of_tables_is_refused_in_words(lake: Lake, query: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        answer(lake, query)
    assert REFUSED[query].lower() in str(refused.value).lower()
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "x.parquet", "nothing.there", "trades", "information_schema.tables", "pg_catalog.pg_class"]
)
def test_a_name_that_is_no_table_does_not_exist(lake: Lake, name: str) -> None:
    quoted = ".".join(f'"{part}"' for part in name.split(".")) if "/" not in name else f"'{name}'"
    with pytest.raises(NotFoundError, match="no table"):
        answer(lake, f"SELECT * FROM {quoted}")


def test_a_short_name_is_met_with_the_whole_one(lake: Lake) -> None:
    with pytest.raises(NotFoundError, match=r"did you mean normalized\.trades\?"):
        answer(lake, "SELECT * FROM trades")


def test_nothing_was_written_or_read_outside(lake: Lake, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    for query in (f"COPY (SELECT 1) TO '{target}'", f"ATTACH '{target}'", f"EXPORT DATABASE '{target}'"):
        with pytest.raises(TickhouseError):
            answer(lake, query)
    assert list(tmp_path.iterdir()) == []


def test_prices_stay_exact(lake: Lake) -> None:
    found = answer(lake, "SELECT price, price * size AS value FROM normalized.trades ORDER BY ts_event LIMIT 1").table
    assert found.to_pylist() == [{"price": Decimal("55131.990000000"), "value": Decimal("9.92375820000000000")}]


@pytest.mark.parametrize("name", sorted([*TABLES, *VIEWS, "ops.publications"]))
def test_every_table_answers(lake: Lake, name: str) -> None:
    found = answer(lake, f"SELECT * FROM {name}").table
    assert found.num_columns > 0
    described = answer(lake, f"DESCRIBE {name}").table
    assert described["column_name"].to_pylist() == found.column_names


def test_show_tables_lists_all_with_words(lake: Lake) -> None:
    found = answer(lake, "SHOW TABLES").table
    assert set(found["table_name"].to_pylist()) == {*TABLES, *VIEWS, "derived.trades", "derived.quotes", "ops.publications"}


def test_a_table_can_be_joined_with_itself(lake: Lake) -> None:
    found = answer(lake, "SELECT count(*) n FROM normalized.trades a JOIN normalized.trades b USING (sequence)")
    assert found.table.to_pylist() == [{"n": 5}]
    assert found.snapshots == {"normalized.trades": lake.head("normalized.trades").snapshot_id}


def test_rows_beyond_the_limit_are_cut_off_and_said_so(lake: Lake) -> None:
    cut = answer(lake, "SELECT * FROM range(1000)", limits=Limits(rows=10))
    assert cut.table.num_rows == 10
    assert cut.truncated
    whole = answer(lake, "SELECT * FROM range(10)", limits=Limits(rows=10))
    assert whole.table.num_rows == 10
    assert not whole.truncated


def test_an_endless_query_is_stopped(lake: Lake) -> None:
    with pytest.raises(InvalidValueError, match=r"longer than 0\.2 s"):
        answer(lake, "SELECT count(*) FROM range(1000000000000) a", limits=Limits(seconds=0.2))
    with pytest.raises(InvalidValueError, match=r"longer than 0\.2 s"):
        answer(
            lake,
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
            limits=Limits(seconds=0.2),
        )


def test_a_query_that_needs_too_much_memory_is_refused(lake: Lake) -> None:
    with pytest.raises(InvalidValueError, match="more memory than 100MB"):
        answer(
            lake,
            "SELECT list(a.range ORDER BY b.range) FROM range(100000) a, range(1000) b",
            limits=Limits(memory="100MB"),
        )


def test_instants_and_dates_of_the_session_are_utc(lake: Lake) -> None:
    found = answer(
        lake, "SELECT ts_event::VARCHAR AS t, date_trunc('day', ts_event) AS d FROM normalized.trades ORDER BY 1 LIMIT 1"
    )
    assert found.table.to_pylist() == [{"t": "2024-08-08 00:00:00+00", "d": datetime(2024, 8, 8, tzinfo=UTC)}]


def test_as_of_the_past_shows_nothing_that_was_published_later(lake: Lake) -> None:
    past = parse_instant("2020-01-01")
    for name in ("normalized.trades", "adjusted.agreed_bars", "adjusted.bars_1d", "ops.publications"):
        assert answer(lake, f"SELECT * FROM {name}", as_of=past).table.num_rows == 0


BARS = "SELECT session_date::VARCHAR AS day, adj_close FROM adjusted.bars_1d ORDER BY 1"


@pytest.mark.parametrize(
    ("known_as_of", "expected"),
    [
        ("2020-08-27", {"2020-08-27": "500.04"}),
        ("2020-08-28", {"2020-08-27": "500.04", "2020-08-28": "499.23"}),
        ("2020-08-31", {"2020-08-27": "125.01", "2020-08-28": "124.8075", "2020-08-31": "129.04"}),
    ],
)
def test_bars_known_at_an_instant_are_made_anew_from_what_was_known(
    lake: Lake, known_as_of: str, expected: dict[str, str]
) -> None:
    found = answer(lake, BARS, known_as_of=parse_instant(known_as_of)).table.to_pylist()
    assert {row["day"]: row["adj_close"] for row in found} == {day: Decimal(price) for day, price in expected.items()}


def test_bars_as_of_now_equal_the_table(lake: Lake) -> None:
    now = datetime.now(UTC)
    assert answer(lake, BARS, as_of=now).table.equals(answer(lake, BARS).table)
