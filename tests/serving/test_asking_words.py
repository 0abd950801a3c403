"""What a person asks for by a word goes from the provider's wire through the gates: each fact is published, repeated or refused.

The answers are the simulator's, over its sockets; what they tell was counted in them by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from ingest.landing import land
from ingest.ledger import CaptureReport
from ingest.reach import Reach
from ingest.simulator import Faults, Simulator, StreamFault
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import Where, read
from lake.settings import load_settings
from lake.values import instrument_id_of
from quality_checks.promotion import PromotionReport, promote
from quality_checks.rebuild import rebuild
from serving.operate.asking import Wanted, capture, reach_of

Q, B, F, M, N = (f"normalized.{name}" for name in ("quotes", "bars", "fundamentals", "option_open_interest", "news"))
A, L, S = (f"normalized.{name}" for name in ("corporate_actions", "index_levels", "alternative"))
CLASSES, IDS, HOURS, CHANGES = (
    f"reference.{name}" for name in ("classifications", "identifiers", "market_hours", "symbol_changes")
)
MESSAGES = "raw.messages"
"""In place of a table: answers that are refused whole."""
ASKED: dict[tuple[str, str, tuple[str, ...]], dict[str, int]] = {
    ("yahoo", "quotes", ("AAPL", "BABA", "XXXX")): {Q: 2, B: 2, F: 2 * 21},
    ("yahoo", "options", ("EBAY",)): {Q: 15 + 1, B: 15, F: 15 * 21, M: 47},  # each expiration tells the underlying again
    ("yahoo", "search", ("AAPL",)): {N: 4 + 1},
    ("yahoo", "stream", ()): {Q: 4, L: 2, S: 11, MESSAGES: 1},
    ("alpha_vantage", "dividends", ("IBM",)): {A: 2},
    ("alpha_vantage", "splits", ()): {A: 2},
    ("alpha_vantage", "options", ("IBM",)): {M: 2},
    ("alpha_vantage", "search", ()): {MESSAGES: 1},
    ("finnhub", "symbols", ()): {CLASSES: 3, IDS: 7 + 1},
    ("finnhub", "holidays", ()): {HOURS: 2 + 1},
    ("finnhub", "symbol_changes", ()): {CHANGES: 2},
    ("finnhub", "market_status", ()): {MESSAGES: 1},
}


@dataclass
class Job:
    """A lake into which everything was captured, landed and promoted."""

    lake: Lake
    log: SegmentLog
    reports: dict[tuple[str, str], CaptureReport] = field(default_factory=dict)
    promoted: dict[str, PromotionReport] = field(default_factory=dict)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    settings = load_settings(home=tmp_path_factory.mktemp("words"))
    plan = Faults(stream=(StreamFault("drop", "yahoo", 5, overlap=1), StreamFault("garble", "yahoo", 8)))
    with (
        Lake.create(settings, system_clock) as lake,
        SegmentLog(settings.log_path, system_clock, min_free_bytes=1 << 20, min_age_s=0) as log,
        Simulator(plan, markets=(), streams=("yahoo",)) as sim,
    ):
        job, reach = Job(lake, log), reach_of(sim)
        for provider, word, symbols in ASKED:
            wanted = Wanted(provider, word, symbols)
            (job.reports[provider, word],) = capture(lake, log, wanted, reach, sleep=lambda seconds: None)
        land(lake, log)
        job.promoted = {provider: promote(lake, provider) for provider in dict.fromkeys(asked[0] for asked in ASKED)}
        yield job


def test_every_word_is_asked_and_answered(job: Job) -> None:
    ended = {asked: report.ended for asked, report in job.reports.items()}
    assert ended.pop(("yahoo", "stream")) == "end of recording"
    assert set(ended.values()) == {"all asked"}
    assert {outcome["verdict"] for report in job.reports.values() for outcome in report.outcomes} == {"OK"}
    assert job.reports["yahoo", "stream"].drops == 1
    assert job.reports["yahoo", "quotes"].outcomes[0]["detail"] == "2 quotes; none of XXXX"


def test_what_was_told_adds_up_at_the_gates(job: Job) -> None:
    told: Counter[tuple[str, str]] = Counter()
    for (provider, _, _), facts in ASKED.items():
        told.update({(provider, table): count for table, count in facts.items()})
    for provider, report in job.promoted.items():
        assert (report.waiting, report.refused_messages, report.holds) == (0, told.pop((provider, MESSAGES)), []), provider
        for table, counts in report.tables.items():
            assert counts.decoded == counts.rows + counts.repeated + counts.quarantined + counts.held
            assert counts.decoded == told.pop((provider, table), 0), (provider, table)
            assert read(job.lake, table, ["provider"], where=[Where("provider", "=", provider)]).num_rows == counts.rows
    assert told == {}
    repeated = {table: each.repeated for table, each in job.promoted["yahoo"].tables.items() if each.repeated}
    assert repeated == {Q: 14, B: 14, F: 14 * 21}  # of 15 expirations all but the first
    assert rebuild(job.lake, Q).is_same


def test_what_is_refused_says_why(job: Job) -> None:
    rows = read(job.lake, "quality.quarantine").to_pylist()
    assert Counter((row["provider"], row["feed"], row["rule"]) for row in rows) == {
        ("yahoo", "search", "raw_only"): 1, ("yahoo", "stream", "malformed"): 1, ("alpha_vantage", "reference", "raw_only"): 1,
        ("finnhub", "reference", "raw_only"): 1, ("finnhub", "reference", "check_digit"): 1,
        ("finnhub", "reference", "malformed_time"): 1,
    }  # fmt: skip
    assert all(row["expected"] for row in rows)


def test_lists_end_in_the_reference_tables(job: Job) -> None:
    apple = [row for row in read(job.lake, IDS).to_pylist() if row["symbol"] == "AAPL"]
    assert {(row["scheme"], row["identifier"]) for row in apple} == {
        ("figi", "BBG000B9Y5X2"), ("share_class_figi", "BBG001S5N8V8"),
    }  # fmt: skip
    assert {row["instrument_id"] for row in apple} == {instrument_id_of("listing:US/AAPL")}
    days = {(row["market"], str(row["day"]), row["day_kind"], row["local_end"]) for row in read(job.lake, HOURS).to_pylist()}
    assert days == {("US", "2023-12-25", "holiday", None), ("US", "2023-11-24", "early_close", "13:00:00")}
    changes = [(row["scope"], row["old_symbol"], row["new_symbol"]) for row in read(job.lake, CHANGES).to_pylist()]
    assert sorted(changes) == [("US", "FB", "META"), ("provider:finnhub", "OLDN.L", "NEWN.L")]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            Wanted("yahoo", "optons", ("AAPL",)),
            r"no feed yahoo optons that can be captured; there are chart \(bars\), quote \(quotes, options, screener\), "
            r"search \(news\), stream",
        ),
        (Wanted("yahoo", "quote", ("AAPL",), data="opts"), "yahoo quote has no opts; there are quotes, options, screener"),
        (Wanted("yahoo", "screener", ("day-gainers",)), "not a screener of Yahoo's; expected a name like day_gainers"),
        (Wanted("yahoo", "chart", ("AAPL",), "7m"), "interval '7m' is not one of 1m, 2m"),
        (Wanted("alpha_vantage", "economic", ("IBM",)), "'IBM' is no economic series of Alpha Vantage's; there are WTI"),
        (Wanted("finnhub", "symbol_changes", ("AAPL",)), "told of all symbols at once"),
    ],
)
def test_a_mistake_is_told_with_what_there_is(job: Job, wanted: Wanted, words: str) -> None:
    with Simulator(markets=(), streams=()) as sim, pytest.raises((NotFoundError, InvalidValueError), match=words):
        capture(job.lake, job.log, wanted, reach_of(sim))


def test_a_provider_itself_wants_to_know_whom(job: Job) -> None:
    itself = Reach({"finnhub": ("no-such-token-at-all",)})
    with pytest.raises(
        InvalidValueError, match="finnhub reference is asked by exchange, like US or L: name at least one with --symbol"
    ):
        capture(job.lake, job.log, Wanted("finnhub", "symbols"), itself)
