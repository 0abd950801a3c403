"""Lists of reference data from files to tables: every fact once, versions kept, corrections placed when they were delivered."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ingest.calendars import sessions_csv, write_calendars
from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.values import instrument_id_of
from quality_checks.promotion import PromotionReport, promote
from transforms.feeds import FEEDS

SAMPLES, ANSWERS = Path(__file__).parents[1] / "samples" / "reference", Path(__file__).parents[1] / "answers" / "calendars"
SESSIONS = "reference.sessions"


class Desk:
    """A lake and its log."""

    def __init__(self, lake: Lake, log: SegmentLog) -> None:
        self.lake, self.log = lake, log

    def bring(self, feed: str, *paths: Path) -> PromotionReport:
        """Import files of one feed, and promote them."""
        report = import_paths(self.lake, self.log, "reference", feed, paths)
        assert report.errors == ()
        land(self.lake, self.log)
        return promote(self.lake, "reference")

    def rows(self, table: str) -> pl.DataFrame:
        return pl.DataFrame(pl.from_arrow(read(self.lake, table)))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A lake that got the whole of every sample list, in one batch."""
    settings = load_settings(home=tmp_path_factory.mktemp("lists"))
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        for feed in sorted(feed for provider, feed in FEEDS if provider == "reference"):
            assert import_paths(lake, log, "reference", feed, [SAMPLES / feed]).messages >= 1
        land(lake, log)
        promote(lake, "reference")
        yield Desk(lake, log)


def test_memberships_are_the_lists_intervals(desk: Desk) -> None:
    found = desk.rows("reference.index_constituents").filter(pl.col("feed") == "membership").sort("known_at")
    newest = found.group_by("symbol", "start_date").last().sort("symbol", "start_date")
    assert newest.select("symbol", "start_date", "end_date").rows() == [
        ("A", date(2000, 6, 5), None),
        ("AABA", date(1999, 12, 8), date(2017, 6, 19)),
        ("AAL", date(1996, 1, 2), date(1997, 1, 15)),
        ("AAL", date(2015, 3, 23), None),
        ("FB", date(2013, 12, 23), None),
        ("GOOG", date(2014, 4, 3), None),
    ]
    aal = found.filter((pl.col("symbol") == "AAL") & (pl.col("start_date") == date(1996, 1, 2)))
    assert [known.date() for known in aal["known_at"]] == [date(1996, 1, 2), date(1997, 1, 15)]


def test_lists_meet_in_one_instrument(desk: Desk) -> None:
    issuers = desk.rows("reference.issuers").filter(pl.col("symbol").str.starts_with("GOOG")).sort("symbol")
    assert issuers.select("issuer", "share_class").rows() == [("cik:0001652044", "C"), ("cik:0001652044", "A")]
    aau = desk.rows("reference.identifiers").filter(pl.col("symbol") == "AAU")
    assert set(aau["scheme"]) == {"isin", "cusip", "figi", "composite_figi", "share_class_figi"}
    assert set(aau["instrument_id"]) == {instrument_id_of("listing:US/AAU")}
    names = desk.rows("reference.instruments").filter(pl.col("identity") == "listing:US/GOOG")
    assert names.height == 1


def test_what_a_list_tells_wrongly_is_quarantined_with_its_reason(desk: Desk) -> None:
    refused = desk.rows("quality.quarantine")
    assert sorted(refused["rule"]) == [
        *("malformed_currency", "malformed_date", "malformed_identity", "malformed_identity", "malformed_mic", "unchanged_symbol")
    ]


def test_a_correction_is_a_version_known_when_it_came_and_a_repetition_is_none(desk: Desk, tmp_path: Path) -> None:
    text = (SAMPLES / "sessions" / "xhkg.csv").read_text()
    line = next(line for line in text.splitlines() if line.startswith("2021-12-24"))
    corrected = tmp_path / "xhkg.csv"
    corrected.write_text(text.replace(line, line.replace("T04:00:00Z", "T04:10:00Z")))
    told = desk.bring("sessions", corrected).tables[SESSIONS]
    assert (told.rows, told.quarantined, told.repeated) == (1, 0, told.decoded - 1)
    versions = desk.rows(SESSIONS).filter(pl.col("session_date") == date(2021, 12, 24)).sort("known_at")
    assert [one.isoformat() for one in versions["closes_at"].dt.time()] == ["04:00:00", "04:10:00"]
    assert versions["known_at"][1] == versions["delivered_at"][1] > versions["closes_at"][1]


@pytest.mark.parametrize("name", ["xhkg", "cmes"])
def test_calendars_of_the_library_are_written_as_its_own_lists(name: str, tmp_path: Path) -> None:
    ours = {line[:10]: line for line in sessions_csv(name.upper()).splitlines()}
    given = gzip.decompress((ANSWERS / f"{name}.csv.gz").read_bytes()).decode().splitlines()[1:]
    assert [line for line in given if ours.get(line[:10]) != line] == []
    first, again = write_calendars([name], tmp_path)[0].read_bytes(), write_calendars([name], tmp_path)[0].read_bytes()
    assert first == again
    with pytest.raises(InvalidValueError, match="no calendar"):
        sessions_csv("ZZZZ")
