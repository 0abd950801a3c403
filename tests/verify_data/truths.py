"""What the data folder itself says our rows must be: each truth compares the fresh lake with answers from outside."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake.catalog import Lake
from lake.scan import Where, read
from lake.tables import table_named
from transforms.bars import quote_bars
from transforms.books import executions
from transforms.calendars import Market, Venue

FXCM_CLOCK = Venue(Market.ZONE, "Etc/GMT+5")
_OHLC = ["open", "high", "low", "close"]


@dataclass(frozen=True, slots=True)
class Truth:
    """What was compared, in words and counts; `difference` is the first that was found, None for none."""

    name: str
    checked: str
    difference: str | None = None


def truths_of(lake: Lake, data: Path, folders: Sequence[str] = ()) -> list[Truth]:
    """Return what the folders' truths say of a lake that holds their files."""
    return [
        check(lake, data)
        for folder, checks in TRUTHS.items()
        for check in checks
        if (data / folder).is_dir() and (not folders or folder in folders)
    ]


def bars_of_fxcm_ticks(lake: Lake, data: Path) -> Truth:
    """Seconds, minutes and days made of FXCM's ticks are those that stand beside them."""
    names = ["instrument_id", "session_date", "ts_event", "bid_price", "ask_price"]
    quotes = read(lake, "normalized.quotes", names, _csv("FXCM:EURUSD"))
    lines = sum(_lines(path) for path in (data / "fx_ticks").glob("fxcm_eurusd/tick/*.zip"))
    if quotes.num_rows != lines:
        return Truth("bars of FXCM's ticks", "", f"{quotes.num_rows:,} quotes of {lines:,} lines")
    day = pc.cast(pc.subtract(quotes["ts_event"], pa.scalar(timedelta(hours=5))), pa.date32())
    quotes = quotes.set_column(1, "session_date", day)
    compared = []
    for interval in ("1s", "1m", "1d"):
        given = read(
            lake, "normalized.bars", ["price_type", "ts_open", *_OHLC], [*_csv("FXCM:EURUSD"), Where("interval", "=", interval)]
        )
        theirs = {(row["price_type"], row["ts_open"]): [row[name] for name in _OHLC] for row in given.to_pylist()}
        made = quote_bars(quotes, interval, FXCM_CLOCK, ("bid", "ask")).to_pylist()
        ours = {(row["price_type"], row["ts_open"]): [row[name] for name in _OHLC] for row in made}
        common = ours.keys() & theirs.keys() if interval != "1m" else ours.keys() | theirs.keys()
        wrong = sorted(key for key in common if ours.get(key) != theirs.get(key))
        if wrong or not common:
            found = f"{len(wrong)} of {len(common)} bars of {interval} differ"
            return Truth(
                "bars of FXCM's ticks", "", f"{found}, first {wrong[:1]}: {[(ours.get(k), theirs.get(k)) for k in wrong[:1]]}"
            )
        compared.append(f"{len(common):,} of {interval}")
    return Truth("bars of FXCM's ticks", f"{lines:,} ticks give {', '.join(compared)}, all equal")


def ice_split(lake: Lake, data: Path) -> Truth:
    """AAPL as traded, divided by ICE's 4:1, is the split-adjusted file beside it."""
    splits = read(
        lake,
        "normalized.corporate_actions",
        ["ex_date", "ratio_old", "ratio_new"],
        [Where("provider", "=", "ice"), Where("symbol", "=", "AAPL")],
    )
    ratios = {(row["ex_date"], row["ratio_new"], row["ratio_old"]) for row in splits.to_pylist()}
    if len(ratios) != 1:
        return Truth("ICE's split of AAPL", "", f"announcements say {sorted(ratios)}")
    ((ex_date, new, old),) = ratios
    raw, adjusted = (_days(lake, "AAPL", basis, date(2020, 8, 3), date(2020, 10, 2)) for basis in ("as_traded", "split_adjusted"))
    for day, row in raw.items():
        scale = Decimal(new) / Decimal(old) if day < ex_date else Decimal(1)
        theirs = adjusted.get(day, {})
        prices = [abs(row[name] / scale - theirs.get(name, 0)) <= Decimal("0.00005") for name in _OHLC]
        if not all(prices) or row["volume"] * scale != theirs.get("volume"):
            return Truth("ICE's split of AAPL", "", f"{day}: {row} against {theirs}")
    return Truth(
        "ICE's split of AAPL", f"{len(raw)} days as traded x {old}:{new} are the adjusted file's", None if raw else "no days"
    )


def quandl_adjustment(lake: Lake, data: Path) -> Truth:
    """Quandl's adjusted closes follow from its closes and our dividends, by its method: P / (P + D) of the ex-date."""
    days = _days(lake, "MSFT", "as_traded", date(2014, 1, 1), date(2015, 1, 1))
    paid = {
        row["ex_date"]: row["amount"]
        for row in read(lake, "normalized.corporate_actions", ["ex_date", "amount"], _csv("MSFT")).to_pylist()
    }
    for (_, before), (day, row) in pairwise(sorted(days.items())):
        ratio = row["close"] / (row["close"] + paid.get(day, Decimal(0)))
        ours = row["provider_adjusted_close"] / row["close"] * ratio
        if abs(ours / (before["provider_adjusted_close"] / before["close"]) - 1) > Decimal("1e-7"):
            return Truth("Quandl's MSFT", "", f"{day}: {ours}")
    return Truth(
        "Quandl's MSFT", f"{len(days)} adjusted closes, {len(paid)} dividends", None if len(paid) == 4 else f"dividends {paid}"
    )


def csvdir_trap(lake: Lake, data: Path) -> Truth:
    """csvdir's prices are split-adjusted already: across each split of their own column the close does not jump."""
    checked = []
    for symbol in ("AAPL", "KO"):
        days = sorted(_days(lake, symbol, "split_adjusted", date(2012, 1, 1), date(2015, 1, 1)).items())
        where = [
            *_csv(symbol),
            Where("kind", "=", "split"),
            Where("ex_date", ">=", date(2012, 1, 1)),
            Where("ex_date", "<", date(2015, 1, 1)),
        ]
        for split in read(lake, "normalized.corporate_actions", ["ex_date"], where)["ex_date"].to_pylist():
            before = max(day for day, _ in days if day < split)
            closes = [row["close"] for day, row in days if day in (before, split)]
            if not Decimal("0.9") < closes[0] / closes[-1] < Decimal("1.1"):
                return Truth("csvdir's trap", "", f"{symbol} {split}: {closes}")
            checked.append(f"{symbol} {split}")
    return Truth("csvdir's trap", f"no jump at {', '.join(checked)}", None if len(checked) == 2 else f"splits {checked}")


def closes_without_dividends(lake: Lake, data: Path) -> Truth:
    """FB and Yahoo paid no dividend: old and new forms of Yahoo's files give one close twice."""
    counts = []
    for symbol, basis in (("FB", "as_traded"), ("YHOO", "split_adjusted")):
        days = _days(lake, symbol, basis, date(1990, 1, 1), date(2016, 1, 1))
        wrong = [day for day, row in days.items() if row["close"] != row["provider_adjusted_close"]]
        if wrong or not days:
            return Truth("closes without dividends", "", f"{symbol}: {len(wrong)} of {len(days)}, first {wrong[:1]}")
        counts.append(f"{len(days):,} of {symbol}")
    return Truth("closes without dividends", f"{' and '.join(counts)} equal the adjusted close")


def ecb_cells(lake: Lake, data: Path) -> Truth:
    """Every cell of the ECB's file that is no N/A is one rate."""
    with zipfile.ZipFile(data / "fx_rates" / "eurofxref-hist.zip") as found:
        header, *lines = io.TextIOWrapper(found.open(found.namelist()[0]), "ascii").read().splitlines()
    codes = header.split(",")[1:]
    cells = {
        (line.split(",")[0], code): cell
        for line in lines
        for code, cell in zip(codes, line.split(",")[1:], strict=True)
        if code and cell not in ("", "N/A")
    }
    rows = read(lake, "normalized.fx_rates", ["session_date", "quote_currency", "rate"], [Where("provider", "=", "csv")])
    ours = {(str(day), code): rate for day, code, rate in zip(*(column.to_pylist() for column in rows.columns), strict=True)}
    wrong = [key for key in cells.keys() | ours.keys() if key not in cells or ours.get(key) != Decimal(cells[key])]
    difference = f"{len(wrong)}, first {wrong[:1]}" if wrong or not cells else None
    return Truth(
        "the ECB's cells", f"{len(cells):,} rates of {len({code for _, code in cells})} currencies, each as written", difference
    )


def sessions_of_exchanges(lake: Lake, data: Path) -> Truth:
    """Every line of every calendar is a session: open, close and break."""
    checked = 0
    for path in sorted((data / "calendars").glob("*.csv.gz")):
        given = _table(gzip.decompress(path.read_bytes()).decode())
        names = ["session_date", "opens_at", "closes_at", "break_start", "break_end"]
        mic = path.name.partition(".")[0].upper()
        rows = read(lake, "reference.sessions", names, [Where("mic", "=", mic)]).to_pylist()
        ours = {row["session_date"]: [_stamp(row[name]) for name in names[1:]] for row in rows}
        for line in given:
            told = [line[name] for name in ("open", "close", "break_start", "break_end")]
            if ours.get(date.fromisoformat(line[""][:10])) != told:
                return Truth("sessions of exchanges", "", f"{mic} {line['']}: {told}")
        if len(ours) != len(given):
            return Truth("sessions of exchanges", "", f"{mic}: {len(ours):,} sessions of {len(given):,} lines")
        checked += len(given)
    return Truth("sessions of exchanges", f"{checked:,} sessions")


def membership_intervals(lake: Lake, data: Path) -> Truth:
    """The newest version of each membership is the interval that its list tells."""
    given = _table((data / "reference" / "sp500_ticker_start_end.csv").read_text())
    names = ["symbol", "start_date", "end_date", "known_at"]
    rows = read(lake, "reference.index_constituents", names, [Where("feed", "=", "membership")]).sort_by("known_at").to_pylist()
    ours = {(row["symbol"], row["start_date"].isoformat()): row["end_date"] and row["end_date"].isoformat() for row in rows}
    theirs = {(line["ticker"], line["start_date"]): line["end_date"] or None for line in given}
    wrong = sorted(key for key in {*ours, *theirs} if ours.get(key, "") != theirs.get(key, ""))
    return Truth("membership intervals", f"{len(theirs):,} intervals", f"{wrong[0]}" if wrong else None)


def _table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _stamp(instant: datetime | None) -> str:
    return "" if instant is None else f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def databento_fills(lake: Lake, data: Path) -> Truth:
    """Every fill of the excerpt of ES orders hits an order that stands in its book, at the best price."""
    where = [Where("provider", "=", "databento"), Where("feed", "=", "glbx.mdp3"), Where("symbol", "=", "ESM4")]
    events = read(lake, "normalized.book_events", list(table_named("normalized.book_events").column_names), where)
    found = executions(events).to_pylist()
    wrong = [row["order_id"] for row in found if not (row["is_known"] and row["is_at_top"])]
    name = "fills of Databento's orders"
    if (events.num_rows, len(found)) != (13_791, 5):
        return Truth(name, "", f"{events.num_rows:,} events with {len(found)} fills; expected 13,791 with 5")
    return Truth(name, f"{len(found)} fills at the best price", f"orders {wrong}" if wrong else None)


TRUTHS: dict[str, tuple[Callable[[Lake, Path], Truth], ...]] = {
    "databento": (databento_fills,),
    "fx_ticks": (bars_of_fxcm_ticks,),
    "adjustment": (ice_split, quandl_adjustment, csvdir_trap, closes_without_dividends),
    "fx_rates": (ecb_cells,),
    "calendars": (sessions_of_exchanges,),
    "reference": (membership_intervals,),
}
"""Folder of the data -> what is compared once its files are promoted."""


def _csv(symbol: str) -> list[Where]:
    return [Where("provider", "=", "csv"), Where("symbol", "=", symbol)]


def _days(lake: Lake, symbol: str, basis: str, first: date, end: date) -> dict[date, dict[str, Any]]:
    """Return the daily bars that CSV files told of a symbol, by session."""
    where = [*_csv(symbol), Where("basis", "=", basis), Where("interval", "=", "1d")]
    where += [Where("session_date", ">=", first), Where("session_date", "<", end)]
    rows: Iterable[dict[str, Any]] = read(
        lake, "normalized.bars", ["session_date", *_OHLC, "volume", "provider_adjusted_close"], where
    ).to_pylist()
    return {row["session_date"]: row for row in rows}


def _lines(path: Path) -> int:
    with zipfile.ZipFile(path) as found:
        return sum(1 for name in found.namelist() for line in found.read(name).splitlines() if line)
