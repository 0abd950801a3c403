"""What the notebooks show, read from a lake through the same questions that HTTP answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.instants import parse_instant, system_clock
from lake.settings import Settings
from lake.tables import TABLES
from serving import sql
from serving.answers import Answered
from serving.bars import Adjustment, BarsQuestion
from serving.bars import bars as ask_bars
from serving.operate.status import layers, row_counts
from serving.paged import Paged
from serving.trades import trades as ask_trades

MOST_POINTS = 5_000
"""Trades or quotes of one picture; more would hide each other."""


def opened(settings: Settings) -> Lake:
    """Return the lake of these settings. Raises NotFoundError, with what to do, when there is none."""
    return Lake.open(settings, system_clock)


def instruments(lake: Lake) -> dict[str, str]:
    """Return every instrument that has data: what a person reads -> its identity key."""
    query = """
        SELECT i.identity, min(l.symbol) AS symbol, any_value(i.name) AS name
        FROM reference.instruments i JOIN reference.listings l USING (instrument_id)
        GROUP BY i.identity ORDER BY symbol, i.identity
    """
    rows = sql.answer(lake, query).table.to_pylist()
    return {f"{row['symbol']} · {row['identity'].partition(':')[2]}": row["identity"] for row in rows}


def intervals(lake: Lake, identity: str) -> dict[str, tuple[date, date]]:
    """Return the intervals of bars that an instrument has, each with its first and last session."""
    query = """
        SELECT interval, min(session_date) AS first, max(session_date) AS last
        FROM adjusted.agreed_bars JOIN reference.instruments USING (instrument_id)
        WHERE identity = $identity GROUP BY interval ORDER BY last - first DESC
    """.replace("$identity", _quoted(identity))
    return {row["interval"]: (row["first"], row["last"]) for row in sql.answer(lake, query).table.to_pylist()}


def bars(
    lake: Lake,
    symbol: str,
    interval: str = "1d",
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    adjustment: str = "none",
    known_as_of: str | None = None,
    as_of: str | None = None,
) -> Answered:
    """Return bars with their metadata: the same rows, columns and values as `GET /api/v1/bars/{symbol}`."""
    asked = BarsQuestion(
        symbol, interval, start, end, Adjustment(adjustment), _instant(as_of), _instant(known_as_of)
    )  # fmt: skip
    return ask_bars(lake, asked)


def trades(lake: Lake, symbol: str, known_as_of: str | None = None, limit: int = MOST_POINTS) -> Answered:
    """Return the first trades of the newest session, as `GET /api/v1/trades/{symbol}` does."""
    return ask_trades(lake, Paged(symbol, known_as_of=_instant(known_as_of), limit=limit))


def quotes(lake: Lake, identity: str, known_as_of: str | None = None, limit: int = MOST_POINTS) -> pa.Table:
    """Return the first quotes of the newest session in the order of the venue's clock, ours where it gives none."""
    query = f"""
        WITH mine AS (
            SELECT q.* FROM normalized.quotes q JOIN reference.instruments i USING (instrument_id)
            WHERE i.identity = {_quoted(identity)}
        )
        SELECT ts_event, ts_recv, provider, feed, currency, bid_price, bid_size, ask_price, ask_size FROM mine
        WHERE session_date = (SELECT max(session_date) FROM mine)
        ORDER BY coalesce(ts_event, ts_recv), sequence LIMIT {limit}
    """
    return sql.answer(lake, query, known_as_of=_instant(known_as_of)).table


@dataclass(frozen=True, slots=True)
class Way:
    """The way of the data in numbers; `fates` is ready for its chart, `adds_up` says whether every fact is accounted for."""

    messages: int
    decoded: int
    published: int
    repeated: int
    quarantined: int
    held: int
    adjusted: Mapping[str, int]
    fates: pa.Table
    adds_up: bool

    def document(self) -> dict[str, object]:
        """Return the numbers as plain values."""
        names = ("messages", "decoded", "published", "repeated", "quarantined", "held", "adds_up")
        return {name: getattr(self, name) for name in names} | {"adjusted": dict(self.adjusted)}


def way(lake: Lake) -> Way:
    """Return how many messages and facts took which way."""
    found = layers(lake)
    rows = row_counts(lake)
    counted: dict[str, list[object]] = {"where": [], "fate": [], "rows": [], "share": [], "place": []}
    sums = dict.fromkeys(("published", "repeated", "quarantined", "held"), 0)
    for layer in found:
        of = layer.counts
        published = of.get("rows", 0) - of.get("moved", 0)
        fate = {"published": published, **{name: of.get(name, 0) for name in ("repeated", "quarantined", "held")}}
        for place, (name, count) in enumerate(fate.items()):
            sums[name] += count
            values = (
                f"{layer.table.partition('.')[2]} · {layer.provider} ({of['decoded']:,})",
                name,
                count,
                100 * count / of["decoded"],
                place,
            )
            for column, value in zip(counted.values(), values, strict=True):
                column.append(value)
    return Way(
        messages=rows["raw.messages"],
        decoded=sum(layer.counts["decoded"] for layer in found),
        adjusted={name.partition(".")[2]: count for name, count in rows.items() if TABLES[name].namespace == "adjusted"},
        fates=pa.table(counted),
        adds_up=all(layer.adds_up for layer in found),
        **sums,
    )


def gate_runs(lake: Lake) -> pa.Table:
    """Return every batch that stood before the gate, with `where` (table and provider), oldest first."""
    names = ["run_id", "table_name", "provider", "verdict", "failed_checks", "row_count", "recorded_at"]
    found = scan.read(lake, "quality.gate_runs", names).sort_by("recorded_at")
    places = [
        f"{table.partition('.')[2]} · {provider}" if table.startswith("normalized") else table
        for table, provider in zip(found["table_name"].to_pylist(), found["provider"].to_pylist(), strict=True)
    ]
    shown = [not place.startswith("reference") for place in places]
    return found.append_column("where", pa.array(places, pa.string())).filter(pa.array(shown, pa.bool_()))


def held_batches(lake: Lake) -> list[dict[str, object]]:
    """Return the batches that the gate refused: rows, failed checks, and what became of each, newest first."""
    runs = gate_runs(lake).to_pylist()
    is_open = {hold.run_id for name in TABLES for hold in lake.head(name).holds}
    found = []
    for run in runs:
        if run["verdict"] != "failed" or run["run_id"].endswith("-release"):
            continue
        again = [one for one in runs if one["run_id"] == f"{run['run_id']}-release" and one["verdict"] == "passed"]
        outcome = "waits for a decision" if run["run_id"] in is_open else "rejected"
        if again:
            outcome = f"{again[-1]['row_count']:,} rows released, {run['row_count'] - again[-1]['row_count']:,} to quarantine"
        found.append(
            {
                "batch": run["where"],
                "rows": run["row_count"],
                "failed": run["failed_checks"],
                "outcome": outcome,
                "run": run["run_id"],
            }
        )
    return found[::-1]


def splits(lake: Lake) -> dict[str, tuple[str, date]]:
    """Return the splits inside the daily bars that are here: what a person reads -> identity and ex-date."""
    query = """
        SELECT i.identity, b.symbol, f.ex_date, arg_max(f.ratio_new, f.known_at) AS ratio_new,
               arg_max(f.ratio_old, f.known_at) AS ratio_old
        FROM adjusted.factors f JOIN reference.instruments i USING (instrument_id)
        JOIN (SELECT instrument_id, min(symbol) AS symbol, min(session_date) AS first, max(session_date) AS last
              FROM adjusted.bars_1d GROUP BY 1) b USING (instrument_id)
        WHERE f.kind = 'split' AND f.ex_date > b.first AND f.ex_date <= b.last
        GROUP BY i.identity, b.symbol, f.ex_date HAVING arg_max(f.status, f.known_at) <> 'rescinded' ORDER BY b.symbol
    """
    rows = sql.answer(lake, query).table.to_pylist()
    return {
        f"{row['symbol']} {row['ratio_new']}:{row['ratio_old']} on {row['ex_date']}": (row["identity"], row["ex_date"])
        for row in rows
    }


def split_known(lake: Lake, identity: str, ex_date: date, known_as_of: str) -> str | None:
    """Return what was known of a split at the end of a day: `4:1, announced`, or None before that and once it is rescinded.

    From the factors: they join what several feeds tell and follow an ex-date that moved.
    """
    query = f"""
        SELECT f.ratio_new, f.ratio_old, f.status FROM adjusted.factors f
        JOIN reference.instruments i USING (instrument_id)
        WHERE i.identity = {_quoted(identity)} AND f.ex_date = DATE '{ex_date}' AND f.kind = 'split'
        ORDER BY f.known_at DESC LIMIT 1
    """
    rows = sql.answer(lake, query, known_as_of=_instant(known_as_of)).table.to_pylist()
    if not rows or rows[0]["status"] == "rescinded":
        return None
    return f"{rows[0]['ratio_new']}:{rows[0]['ratio_old']}, {rows[0]['status']}"


def bars_or_none(lake: Lake, symbol: str, **asked: object) -> Answered | None:
    """Return `bars`, or None where there were none yet in that view."""
    try:
        return bars(lake, symbol, **asked)  # type: ignore[arg-type]  # the caller's words are those of `bars`
    except NotFoundError:
        return None


def having(lake: Lake, table: str) -> str:
    """Return words that name the instruments with rows in a table, the richest first."""
    query = f"""
        SELECT q.symbol, q.feed, count(*) AS rows FROM {table} q GROUP BY ALL ORDER BY rows DESC, q.symbol LIMIT 4
    """
    rows = sql.answer(lake, query).table.to_pylist()
    if not rows:
        return "No instrument has any yet."
    return "There are those of " + ", ".join(f"**{row['symbol']}** ({row['feed']}, {row['rows']:,})" for row in rows) + "."


def minute(instant: object) -> str:
    """Return an instant to the minute, for a person."""
    return f"{instant:%Y-%m-%d %H:%M} UTC" if isinstance(instant, datetime) else "–"


def written(found: pa.Table) -> dict[str, Callable[[Decimal | None], str]]:
    """Return how each decimal column is written for a person: its digits, without the zeros that only fill its scale."""
    return {field.name: digits for field in found.schema if pa.types.is_decimal(field.type)}


def digits(value: Decimal | None) -> str:
    """Return a decimal's digits; nothing for a missing one."""
    return "" if value is None else f"{Decimal(value).normalize():f}"


def currency_of(found: pa.Table) -> str:
    """Return the currency of the rows, for an axis."""
    known = pc.unique(found["currency"].drop_null()).to_pylist() if found.num_rows else []
    return ", ".join(sorted(known)) or "in its currency"


def _instant(text: str | None) -> datetime | None:
    return parse_instant(text) if text else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
