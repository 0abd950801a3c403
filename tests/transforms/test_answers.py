"""What we compute against answers from outside: Yahoo's adjclose, marketstore's adjusted AAPL, Quandl's adjusted MSFT."""

import csv
import json
import tomllib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import ingest.simulator
from lake.instants import parse_instant
from lake.tables import table_named
from lake.values import CaptureKind
from tests.transforms.making import ACTIONS, AGREED, BARS, NOW, STAMPS, agreed, dividend, of
from transforms.adjust import Adjustment, back_adjust, bars_1d, newest_versions
from transforms.agree import agreed_bars
from transforms.factors import Factors, factors
from transforms.feeds import feed_named
from transforms.normalize import normalize
from transforms.revisions import resolve_revisions

RECORDINGS = Path(ingest.simulator.__file__).parent / "recordings"
ANSWERS = Path(__file__).parents[1] / "answers"
YAHOO_DATES = {row["file"]: row["date"] for row in json.loads((RECORDINGS / "yahoo" / "_manifest.json").read_text())}


@dataclass(frozen=True)
class History:
    """What a few payloads say: resolved bars and actions, the agreed bars and the factors."""

    bars: pa.Table
    actions: pa.Table
    agreed: pa.Table
    factors: Factors

    def view(self, known_as_of: str, adjustment: Adjustment) -> pa.Table:
        """Return the bars and factors known by the end of a day, adjusted."""
        limit = pa.scalar(parse_instant(known_as_of))
        bars, known = (rows.filter(pc.less_equal(rows["known_at"], limit)) for rows in (self.agreed, self.factors.rows))
        return back_adjust(newest_versions(bars), known, adjustment)


def message(provider: str, feed: str, file: str, payload: bytes, request: dict[str, object], headers: dict[str, str]) -> pa.Table:
    row = {
        "capture_id": f"import-{file}", "message_seq": 0, "provider": provider, "feed": feed, "ts_recv": NOW, "ts_recv_nanos": 0,
        "content_type": "application/octet-stream", "sha256": "", "request": json.dumps(request), "status": 200,
        "headers": json.dumps(headers), "payload": payload, "log_partition": 0, "log_offset": 0,
    }  # fmt: skip
    return pa.Table.from_pylist([row], schema=table_named("raw.messages").arrow_schema())


def yahoo(*files: str) -> list[pa.Table]:
    return [
        message("yahoo", "chart", file, (RECORDINGS / "yahoo" / file).read_bytes(), {}, {"Date": YAHOO_DATES[file]})
        for file in files
    ]


def csv_bars(file: str, mapping: dict[str, object]) -> pa.Table:
    return message("csv", "bars", file, (RECORDINGS / "ice_reorg" / file).read_bytes(), {"mapping": mapping, "file": file}, {})


def ice(*files: str) -> list[pa.Table]:
    return [message("ice", "reorg", file, (RECORDINGS / "ice_reorg" / file).read_bytes(), {"file": file}, {}) for file in files]


def aapl_as_traded() -> pa.Table:
    return csv_bars("aapl_raw.csv", tomllib.loads((RECORDINGS / "ice_reorg" / "aapl_raw.toml").read_text()))


def history(*messages: pa.Table) -> History:
    found: dict[str, list[pa.Table]] = {BARS.name: [], ACTIONS.name: []}
    for one in messages:
        feed = feed_named(one["provider"][0].as_py(), one["feed"][0].as_py())
        kinds = {one["capture_id"][0].as_py(): CaptureKind.IMPORT}
        result = normalize(feed, one, feed.decode(one), kinds, "run", NOW)
        assert result.refused.num_rows == 0, result.refused.to_pylist()
        for name, rows in result.tables.items():
            found[name].append(rows)
    resolved = [
        resolve_revisions(
            pa.concat_tables([table.arrow_schema().empty_table(), *found[table.name]]), table.arrow_schema().empty_table(), table
        ).rows
        for table in (BARS, ACTIONS)
    ]
    bars = agreed_bars(*resolved, **STAMPS).rows
    return History(resolved[0], resolved[1], bars, factors(bars, resolved[1], **STAMPS))


@pytest.mark.parametrize(
    ("file", "dividends"),
    [
        ("chart_MSFT_1d_2021-02_2022-01_dividends.json", 4),
        ("chart_PM_1d_2008_2022_dividends.json", 56),
        ("chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json", 1),
        ("chart_TSLA_1d_2022.json", 0),
    ],
)
def test_our_adjusted_closes_have_the_ratios_of_yahoos_adjclose(file: str, dividends: int):
    found = history(*yahoo(file))
    ours = {row["session_date"]: row["adj_close"] for row in bars_1d(found.agreed, found.factors.rows, run_id="r").to_pylist()}
    theirs = {row["session_date"]: row["provider_adjusted_close"] for row in found.bars.to_pylist() if row["interval"] == "1d"}
    assert found.factors.rows["kind"].to_pylist().count("cash_dividend") == dividends
    assert ours.keys() == theirs.keys()
    last = max(ours)
    assert ours[last] == next(row["close"] for row in found.bars.to_pylist() if row["session_date"] == last)
    for session, adjusted in ours.items():
        assert abs(adjusted / ours[last] * theirs[last] / theirs[session] - 1) < Decimal("1e-6"), session


def test_nvidia_traded_in_cents_before_both_of_its_splits():
    """The 4:1 of 2021 is in the payload; the 10:1 of 2024 was over when it was delivered in 2025, and nothing in it says so."""
    messages = yahoo("chart_NVDA_1d_2021-02_2022-01_split.json")
    known = history(*messages)
    told = known.actions.to_pylist()[0]
    second = pa.Table.from_pylist(
        [
            told
            | {
                "action_key": "NVDA:split:2024-06-10",
                "ex_date": date(2024, 6, 10),
                "ratio_old": 1,
                "ratio_new": 10,
                "ordinal": 999,
            }
        ],
        schema=ACTIONS.arrow_schema(),
    )
    rows = agreed_bars(known.bars, pa.concat_tables([known.actions, second]), **STAMPS).rows
    assert rows.select(list(AGREED.key)).equals(known.agreed.select(list(AGREED.key)))
    for row in rows.to_pylist():
        assert all(row[name] == round(row[name], 2) for name in ("open", "high", "low", "close")), row
    assert rows["close"][0].as_py() == Decimal("529.48")


def test_apple_as_traded_under_the_split_view_is_marketstores_adjusted_file():
    found = history(aapl_as_traded(), *ice("reorg.20200731"))
    rows = found.view("2020-10-02", Adjustment.SPLITS).to_pylist()
    with (ANSWERS / "aapl_adj.csv").open() as file:
        theirs = {row["Epoch"][:10]: row for row in csv.DictReader(file)}
    assert len(rows) == len(theirs) == 43
    for row in rows:
        told = theirs[row["session_date"].isoformat()]
        for name in ("open", "high", "low", "close"):
            assert abs(row[f"adj_{name}"] - Decimal(told[name.capitalize()])) <= Decimal("0.00005"), (row, told)
        assert row["adj_volume"] == Decimal(told["Volume"])


def test_apples_split_is_unknown_then_announced_then_applied():
    found = history(
        aapl_as_traded(), *ice("reorg.20200731"), *yahoo("chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json")
    )
    splits = found.factors.rows.filter(pc.equal(found.factors.rows["kind"], "split"))

    def known(day: str) -> list[tuple[str, date]]:
        rows = splits.filter(pc.less_equal(splits["known_at"], pa.scalar(parse_instant(day)))).to_pylist()
        return [(row["status"], row["ex_date"]) for row in rows]

    assert known("2020-07-29") == []
    assert known("2020-08-28") == [("announced", date(2020, 8, 31))]
    assert known("2020-08-31") == [("announced", date(2020, 8, 31)), ("confirmed", date(2020, 8, 31))]
    for day, first in [("2020-08-28", "435.75"), ("2020-08-31", "108.9375")]:
        assert found.view(day, Adjustment.SPLITS)["adj_close"][0].as_py() == Decimal(first), day
        assert found.view(day, Adjustment.NONE)["adj_close"][0].as_py() == Decimal("435.75")


def test_apple_recovered_from_yahoo_agrees_with_the_bars_as_traded():
    found = history(aapl_as_traded(), *yahoo("chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json"))
    both = [row for row in found.agreed.to_pylist() if date(2020, 8, 31) <= row["session_date"] <= date(2020, 10, 1)]
    assert len(both) == 23
    for row in both:
        assert row["provider"] == "csv"
        assert row["agreed_by"] == "yahoo/chart" or row["disagreed_by"] == "yahoo/chart"
    closes = {row["session_date"]: row["close"] for row in found.bars.to_pylist() if row["provider"] == "yahoo"}
    assert all(abs(closes[row["session_date"]] - row["close"]) <= Decimal("0.01") for row in both)


def test_a_reverse_split_whose_date_moved_twice_ends_with_the_last_date():
    found = history(*ice("reorg.20200727", "reorg.20200728", "reorg.20200918"))
    rows = found.factors.rows.to_pylist()
    told = [
        (row["ex_date"].isoformat(), row["status"], row["price_factor"]) for row in sorted(rows, key=lambda row: row["known_at"])
    ]
    assert sorted(told) == sorted(
        [
            ("2020-07-27", "announced", 3), ("2020-07-24", "announced", 3), ("2020-07-27", "rescinded", 1),
            ("2020-07-24", "rescinded", 1), ("2020-09-18", "announced", 3),
        ]
    )  # fmt: skip
    assert [row["known_at"].date() for row in rows if row["ex_date"] == date(2020, 9, 18)] == [date(2020, 9, 18)]


def test_products_of_quandls_factors_give_quandls_adjusted_bars():
    """Quandl reinvests at the close of the ex-date, P/(P + D), and we at the one before, 1 - D/P; the products are the same."""
    with (ANSWERS / "quandl_wiki_MSFT_ZEN_2014.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["ticker"] == "MSFT"]
    bars = of(AGREED, *(agreed(row["date"], row["close"], high=row["high"], volume=row["volume"]) for row in rows))
    paid = of(ACTIONS, *(dividend(row["date"], row["ex-dividend"]) for row in rows if Decimal(row["ex-dividend"]) > 0))
    ours = factors(bars, paid, **STAMPS).rows
    assert ours.num_rows == 4
    on_the_day = {date.fromisoformat(row["date"]): Decimal(row["close"]) for row in rows}
    quandl = [
        row
        | {"price_factor": round(1 / (1 + row["amount"] / on_the_day[row["ex_date"]]), 18), "amount": None, "method": "ex_close"}
        for row in ours.to_pylist()
    ]
    theirs = bars_1d(bars, pa.Table.from_pylist(quandl, schema=ours.schema), run_id="r").to_pylist()
    base = Decimal(rows[-1]["close"]) / Decimal(rows[-1]["adj_close"])
    for one, told in zip(theirs, rows, strict=True):
        assert abs(one["adj_close"] / base / Decimal(told["adj_close"]) - 1) < Decimal("1e-11")
        assert abs(one["adj_high"] / base / Decimal(told["adj_high"]) - 1) < Decimal("1e-11")
        assert one["adj_volume"] == Decimal(told["adj_volume"])
    first = bars_1d(bars, ours, run_id="r")["adj_close"][0].as_py()
    assert 0 < abs(first / theirs[0]["adj_close"] - 1) < Decimal("2e-4")


def test_the_order_of_the_payloads_never_matters():
    messages = [aapl_as_traded(), *ice("reorg.20200731"), *yahoo("chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json")]
    one, other = history(*messages), history(*reversed(messages))
    assert one.agreed.equals(other.agreed)
    assert one.factors.rows.equals(other.factors.rows)


def test_a_late_action_moves_nothing_that_was_known_before():
    messages = [aapl_as_traded(), *yahoo("chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json")]
    one, other = history(*messages), history(*messages, *ice("reorg.20200731"))
    day = datetime(2020, 7, 1, tzinfo=NOW.tzinfo)
    while day < datetime(2020, 7, 29, tzinfo=NOW.tzinfo):
        assert one.view(day.date().isoformat(), Adjustment.ALL).equals(other.view(day.date().isoformat(), Adjustment.ALL))
        day += timedelta(days=7)
    last = one.view("2020-12-31", Adjustment.ALL)
    assert last.equals(other.view("2020-12-31", Adjustment.ALL))
