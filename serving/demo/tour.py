"""The tour as data: run the whole way of the data once, then ask the lake what it has. `pages.py` prints it.

Everything told is read back from the lake, so a second run tells the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from lake.as_of import ledger
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.heads import Act
from lake.instants import parse_instant, system_clock
from lake.scan import Where, read
from lake.settings import Settings
from lake.values import instrument_id_of
from serving import lineage
from serving.bars import Adjustment, BarsQuestion, bars
from serving.demo.acts import WHOLE, Acts, Size, perform
from serving.formats import plain_value, records
from serving.operate.logs import open_log
from serving.operate.status import layers, row_counts

AAPL, SPLIT_DAY = "listing:US/AAPL", date(2020, 8, 31)
_FIRST, _END = date(2020, 8, 3), date(2020, 10, 2)
KNOWN = ("2020-07-29", "2020-08-28", "2020-08-31")
EXPLAINED = "adjusted.bars_1d/AAPL/2020-08-28"
Say = Callable[[str], None]


def run(settings: Settings, say: Say = lambda text: None, size: Size = WHOLE) -> dict[str, Any]:
    """Return the tour of a demo run at the home of `settings`, as plain JSON values. Safe to repeat, also after a kill."""
    chosen = settings.model_copy(update={"batch_messages": size.batch_messages})
    with Lake.create(chosen, system_clock) as lake:
        acts = perform(lake, open_log(chosen), size, say)
        say("asking the lake what it has")
        told = tell(lake, acts)
    return told


def tell(lake: Lake, acts: Acts) -> dict[str, Any]:
    """Return the tour of what a lake holds after `acts`."""
    document = {
        "home": str(lake.settings.home),
        "is_new": acts.is_new,
        "asked": _asked(lake, acts),
        "layers": _layers(lake, acts),
        "quarantine": _quarantine(lake),
        "held": [_held(lake, story) for story in acts.held],
        "split": _split(lake),
        "known_as_of": [_known(lake, text) for text in KNOWN],
        "explained": lineage.explain(lake, EXPLAINED).document(),
        "revisions": _revisions(lake),
        "yahoo": _against_yahoo(lake, "MSFT"),
        "next": _next(lake),
    }
    plain = plain_value(document)
    assert isinstance(plain, dict)
    return plain


def _asked(lake: Lake, acts: Acts) -> dict[str, Any]:
    """What was asked of whom, and what came back."""
    wanted = [Where("capture_id", "in", acts.capture_ids)]
    calls = read(lake, "ops.provider_calls", where=wanted)
    gaps = read(lake, "quality.gaps", where=wanted).to_pylist()
    frame = pl.DataFrame({name: pl.from_arrow(calls[name]) for name in ("provider", "feed", "method", "verdict")})
    counted = frame.group_by("provider", "feed", "method", "verdict").len("count").sort("provider", "feed", "method", "verdict")
    names = ("method", "url", "attempt", "status", "verdict", "retry_after_s", "detail")
    odd = [
        {name: row[name] for name in ("provider", "feed", *names)} for row in records(calls.sort_by("ts_request")) if _is_odd(row)
    ]
    streams = [
        {name: report[name] for name in ("provider", "feed", "messages", "connections", "drops", "ended")}
        | {"gaps": _gap_words(gaps, str(report["capture_id"]))}
        for report in acts.captures.values()
    ]
    files = [file for report in acts.imports for file in report["files"]]
    return {
        "captures": streams,
        "calls": counted.to_dicts(),
        "not_answered_well": odd,
        "faults_planned": acts.faults,
        "files": [{"path": file["path"].rsplit("/", 1)[-1], "messages": file["messages"]} for file in files],
    }


def _is_odd(row: dict[str, Any]) -> bool:
    return row["verdict"] not in ("OK", "EMPTY_VALID")


def _gap_words(gaps: Iterable[dict[str, Any]], capture_id: str) -> dict[str, int]:
    mine = [gap for gap in gaps if gap["capture_id"] == capture_id]
    opened = {gap["gap_id"] for gap in mine if gap["status"] == "open"}
    closed = {gap["gap_id"] for gap in mine if gap["status"] != "open"}
    return {"opened": len(opened), "closed": len(opened & closed)}


def _layers(lake: Lake, acts: Acts) -> dict[str, Any]:
    """Rows of every layer, with the sums that must hold."""
    landed = read(lake, "raw.messages", ["provider", "feed", "capture_id"], [Where("capture_id", "in", acts.capture_ids)])
    frame = pl.DataFrame({name: pl.from_arrow(landed[name]) for name in ("provider", "feed")})
    by_feed = {(provider, feed): count for provider, feed, count in frame.group_by("provider", "feed").len().iter_rows()}
    captured: dict[tuple[str, str], int] = {}
    for report in acts.captures.values():
        key = (str(report["provider"]), str(report["feed"]))
        captured[key] = captured.get(key, 0) + int(report["messages"])
    for imported in acts.imports:
        key = (str(imported["provider"]), str(imported["feed"]))
        captured[key] = captured.get(key, 0) + int(imported["messages"])
    feeds = [
        {"provider": key[0], "feed": key[1], "captured": count, "landed": by_feed.get(key, 0)}
        for key, count in sorted(captured.items())
    ]
    tables = [
        {"table": layer.table, "provider": layer.provider, **layer.counts, "adds_up": layer.adds_up} for layer in layers(lake)
    ]
    rows = row_counts(lake)
    return {
        "feeds": feeds,
        "tables": tables,
        "adjusted": {name: count for name, count in rows.items() if name.startswith("adjusted.")},
        "adds_up": all(feed["captured"] == feed["landed"] for feed in feeds) and all(bool(table["adds_up"]) for table in tables),
    }


def _quarantine(lake: Lake) -> list[dict[str, Any]]:
    """What was refused, by rule, each with its first example."""
    found = read(lake, "quality.quarantine")
    if not found.num_rows:
        return []
    names = ("provider", "feed", "table_name", "rule", "event_id", "value", "expected")
    frame = pl.DataFrame({name: pl.from_arrow(found[name]) for name in names})
    first = [pl.col(name).first() for name in ("event_id", "value", "expected")]
    keys = names[:4]
    return frame.sort("event_id").group_by(*keys).agg(pl.len().alias("count"), *first).sort(*keys).to_dicts()


def _held(lake: Lake, story: dict[str, Any]) -> dict[str, Any]:
    """How a batch was held and released: the rows on main before and after, the feed's other batches."""
    entries = [entry for entry in ledger(lake, story["table"]) if entry.owner == story["owner"]]
    release = next((entry for entry in entries if entry.run_id == story["run_id"] and entry.act is Act.RELEASE), None)
    if release is None:
        return {**story, "released": None}
    before = [entry for entry in entries if entry.published_at < release.published_at and entry.act in (Act.PUBLISH, Act.RELEASE)]
    published = release.counts.get("rows", 0)
    refused = _left_the_hold(lake, story)
    return {
        **story,
        "went_on": sum(entry.act is Act.PUBLISH for entry in before),
        "rows_before": sum(entry.counts.get("rows", 0) for entry in before),
        "released": published,
        "to_quarantine": refused.num_rows,
        "example": _example(lake, story["table"], refused),
        "rows_after": sum(entry.counts.get("rows", 0) for entry in before) + published,
        "gate_runs": _audits(lake, story),
    }


def _left_the_hold(lake: Lake, story: dict[str, Any]) -> pa.Table:
    description = lake.state.hold(story["hold_id"])
    captures = sorted({capture for capture, _, _ in description["ranges"]})
    found = read(
        lake, "quality.quarantine", where=[Where("table_name", "=", story["table"]), Where("capture_id", "in", captures)]
    )
    is_of = [
        rule.startswith("held_") and any(capture == one and first <= seq <= last for one, first, last in description["ranges"])
        for rule, capture, seq in zip(*(found[name].to_pylist() for name in ("rule", "capture_id", "message_seq")), strict=True)
    ]
    return found.filter(pa.array(is_of, pa.bool_()))


def _example(lake: Lake, table: str, refused: pa.Table) -> dict[str, Any] | None:
    """One refused trade as its frame told it, beside the price of the trades around it."""
    if not refused.num_rows:
        return None
    first = refused.sort_by([("capture_id", "ascending"), ("message_seq", "ascending")]).slice(0, 1).to_pylist()[0]
    where = [Where("capture_id", "=", first["capture_id"]), Where("message_seq", "=", first["message_seq"])]
    payloads = read(lake, "raw.messages", ["payload"], where)["payload"].to_pylist()
    good = read(lake, table, ["price"], [Where("capture_id", "=", first["capture_id"])])["price"].to_pylist()
    typical = sorted(good)[len(good) // 2] if good else None
    return {
        "event_id": first["event_id"],
        "rule": first["rule"],
        "frame": payloads[0].decode("utf-8", "replace") if payloads else None,
        "typical_price": typical,
    }


def _audits(lake: Lake, story: dict[str, Any]) -> list[dict[str, Any]]:
    names = ["run_id", "verdict", "failed_checks", "row_count", "recorded_at"]
    found = [
        row
        for run in (story["run_id"], f"{story['run_id']}-release")
        for row in records(read(lake, "quality.gate_runs", names, [Where("run_id", "=", run)]))
    ]
    return sorted(found, key=lambda row: str(row["recorded_at"]))


def _split(lake: Lake) -> dict[str, Any]:
    """AAPL over its 4:1 split, as traded and adjusted for splits."""
    views = {
        adjustment: bars(lake, BarsQuestion(AAPL, start=_FIRST, end=_END, adjustment=adjustment)).table
        for adjustment in (Adjustment.NONE, Adjustment.SPLITS)
    }
    traded, adjusted = views[Adjustment.NONE], views[Adjustment.SPLITS]
    rows = [
        {
            "session_date": day,
            "close": close,
            "adjusted_close": other,
            "volume": volume,
            "adjusted_volume": more,
            "price_factor": factor,
        }
        for day, close, other, volume, more, factor in zip(
            *(traded[name].to_pylist() for name in ("session_date", "close")),
            adjusted["close"].to_pylist(),
            traded["volume"].to_pylist(),
            *(adjusted[name].to_pylist() for name in ("volume", "price_factor")),
            strict=True,
        )
    ]
    factors = read(
        lake, "adjusted.factors", where=[Where("instrument_id", "=", instrument_id_of(AAPL)), Where("ex_date", "=", SPLIT_DAY)]
    )
    return {"symbol": "AAPL", "sessions": rows, "factors": records(factors), "agreed_by": _agreement(traded)}


def _agreement(view: pa.Table) -> list[dict[str, Any]]:
    frame = pl.DataFrame({name: pl.from_arrow(view[name]) for name in ("provider", "feed", "agreed_by", "disagreed_by")})
    return frame.group_by(pl.all()).len("sessions").sort("sessions", descending=True).to_dicts()


def _known(lake: Lake, text: str) -> dict[str, Any]:
    """What could be known at the end of a day: the split, the sessions so far, the first session's close adjusted."""
    instant = parse_instant(text)
    where = [Where("instrument_id", "=", instrument_id_of(AAPL)), Where("ex_date", "=", SPLIT_DAY)]
    splits = read(lake, "normalized.corporate_actions", where=where, known_as_of=instant)
    told = f"{splits['ratio_new'][0].as_py()}:{splits['ratio_old'][0].as_py()}, ex {SPLIT_DAY}" if splits.num_rows else None
    answer: dict[str, Any] = {"known_as_of": text, "split": told, "sessions": 0, "first": None, "last": None}
    try:
        view = bars(lake, BarsQuestion(AAPL, start=_FIRST, end=_END, adjustment=Adjustment.SPLITS, known_as_of=instant)).table
    except NotFoundError:
        return answer
    names = ("session_date", "close", "price_factor")
    first, last = (records(view.select(names).slice(place, 1)) for place in (0, max(view.num_rows - 1, 0)))
    return {**answer, "sessions": view.num_rows, "first": first[0] if first else None, "last": last[0] if last else None}


def _revisions(lake: Lake) -> dict[str, Any]:
    """The reverse split of NHMPF: announced, corrected, updated."""
    names = ["action_key", "kind", "ratio_old", "ratio_new", "announcement_date", "ex_date", "status", "known_at"]
    where = [Where("symbol", "=", "NHMPF")]
    chain = read(lake, "normalized.corporate_actions", [*names, "instrument_id", "capture_id", "message_seq", "ordinal"], where)
    ids = sorted(set(chain["instrument_id"].to_pylist()))
    factors = read(
        lake, "adjusted.factors", ["ex_date", "status", "price_factor", "known_at"], [Where("instrument_id", "in", ids)]
    )
    order = [("known_at", "ascending"), ("ex_date", "ascending")]
    return {"chain": records(chain.sort_by(order).select(names)), "factors": records(factors.sort_by(order))}


def _against_yahoo(lake: Lake, symbol: str) -> dict[str, Any]:
    """Our adjusted closes against the provider's own, as ratios to the last session: the largest relative difference."""
    delivered = read(
        lake,
        "normalized.bars",
        where=[Where("symbol", "=", symbol), Where("provider", "=", "yahoo"), Where("interval", "=", "1d")],
    )
    theirs = {
        row["session_date"]: row["provider_adjusted_close"]
        for row in delivered.to_pylist()
        if row["provider_adjusted_close"] is not None
    }
    ours = {
        row["session_date"]: row["adj_close"]
        for row in read(lake, "adjusted.bars_1d", where=[Where("symbol", "=", symbol)]).to_pylist()
    }
    sessions = sorted(set(ours) & set(theirs))
    if not sessions:
        return {"symbol": symbol, "sessions": 0, "largest_difference": None}
    last = sessions[-1]
    differences = [_relative(ours[day], ours[last], theirs[day], theirs[last]) for day in sessions]
    return {
        "symbol": symbol,
        "sessions": len(sessions),
        "first": sessions[0],
        "last": last,
        "largest_difference": max(differences),
    }


def _relative(our: Decimal, our_last: Decimal, their: Decimal, their_last: Decimal) -> float:
    return abs(float(our) / float(our_last) / (float(their) / float(their_last)) - 1)


def _next(lake: Lake) -> list[str]:
    home = lake.settings.home
    option = "" if home.name == ".tickhouse" else f" --home {home}"
    return [
        f"tickhouse sql{option} \"SELECT session_date, close, adj_close FROM adjusted.bars_1d WHERE symbol = 'AAPL' LIMIT 10\"",
        f"tickhouse explain{option} {EXPLAINED}",
        f"tickhouse serve{option}",
    ]
