"""Files from providers: downloaded in ranges and resumed, whole or not at all, then imported once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Request, Response
from ingest.files import asking_for_files, fetch_file
from ingest.providers import databento, iex_hist
from ingest.providers.databento import cost_request, range_request
from ingest.providers.iex_hist import list_request
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.files_web import hist_list, in_ranges
from ingest.simulator.keyed import Keys
from ingest.simulator.recorded import FOLDER
from ingest.transport.download import Download
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from tests.ingest.conftest import FAST, Waits, history_of, messages_of
from tests.ingest.test_quotas import Calls

DAY = (datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC))
NVDA = range_request("XNAS.ITCH", "trades", ["NVDA"], *DAY)
WHOLE = (FOLDER / "databento" / "trades.dbn.zst").read_bytes()


def answer(body: bytes, status: int = 200, **headers: str) -> Response:
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.fixture
def sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with Simulator(Faults(http=getattr(request, "param", ())), markets=(), streams=()) as simulator:
        yield simulator


def reached(sim: Simulator, key: str = Keys().databento_key) -> Address:
    return Address(sim.addresses()["http"], credentials=databento.credentials(key))


def download(sim: Simulator, key: str = Keys().databento_key, ledger: Calls | None = None) -> Download:
    noted, address = Calls() if ledger is None else ledger, reached(sim, key)
    return Download(address, databento.read_refusal, noted, clock=system_clock, sleep=Waits(), rng=random.Random(1), backoff=FAST)


CUTS = (
    HttpFault("truncate", "/v0/"),
    HttpFault("truncate", "/v0/"),
    HttpFault("status", "/v0/", 503),
    HttpFault("truncate", "/v0/"),
)


@pytest.mark.parametrize("sim", [(), CUTS], indirect=True, ids=["well", "cut"])
def test_a_range_is_whole_however_often_it_breaks(sim: Simulator, tmp_path: Path) -> None:
    target, noted = tmp_path / "below" / "nvda.dbn.zst", Calls()
    assert download(sim, ledger=noted).fetch(NVDA, target).verdict is Verdict.OK
    assert target.read_bytes() == WHOLE
    assert [path.name for path in target.parent.iterdir()] == ["nvda.dbn.zst"]
    cuts = sum(each["times"] for each in sim.summary())
    assert [call.reading.verdict.value for call in noted.all] == (
        ["OK"] if not cuts else ["MALFORMED", "MALFORMED", "UPSTREAM_5XX", "MALFORMED", "OK"]
    )
    assert sum(call.byte_count or 0 for call in noted.all if call.status != 503) == len(WHOLE)
    assert [(answer.status, answer.is_complete) for answer in noted.answers] == ([(503, True)] if cuts else [])


def test_a_download_goes_on_where_another_process_left_it(sim: Simulator, tmp_path: Path) -> None:
    target = tmp_path / "nvda.dbn.zst"
    assert download(sim).fetch(NVDA, target).verdict is Verdict.OK
    tag = in_ranges(WHOLE, {}, "").headers["etag"]
    for beginning, version in ((WHOLE[:100], tag), (b"another version", '"other"'), (WHOLE + b"more", tag), (b"untold", "")):
        target.unlink()
        (tmp_path / "nvda.dbn.zst.part").write_bytes(beginning)
        (tmp_path / "nvda.dbn.zst.part.version").write_text(version)
        assert download(sim).fetch(NVDA, target).verdict is Verdict.OK
        assert target.read_bytes() == WHOLE


def test_what_is_refused_leaves_no_file(sim: Simulator, tmp_path: Path) -> None:
    target = tmp_path / "x.dbn.zst"
    refused = {
        "AUTH": (download(sim, "db-no-such-key"), NVDA),
        "UNKNOWN_SYMBOL": (download(sim), range_request("XNAS.ITCH", "trades", ["ZZZZ"], *DAY)),
        "OUT_OF_RANGE": (
            download(sim), range_request("XNAS.ITCH", "trades", ["NVDA"], datetime(2010, 1, 1, tzinfo=UTC), DAY[1]),
        ),
        "BAD_REQUEST": (download(sim), range_request("GLBX.MDP3", "trades", ["NVDA"], *DAY)),
    }  # fmt: skip
    assert {name: one.fetch(request, target).verdict.value for name, (one, request) in refused.items()} == {
        name: name for name in refused
    }
    assert list(tmp_path.iterdir()) == []


def test_files_are_imported_once_by_the_container_path(lake: Lake, log: SegmentLog, sim: Simulator, tmp_path: Path) -> None:
    target, there = tmp_path / "nvda.dbn.zst", reached(sim)

    def fetched(request: Request, target: Path, provider: str, feed: str) -> list[str]:
        judge = databento.read_refusal if provider == "databento" else iex_hist.read_refusal
        with asking_for_files(lake, log, provider, "metadata", {}, address=there, sleep=Waits(), backoff=FAST) as asking:
            reading, report = fetch_file(lake, log, asking, there, request, judge, target, provider, feed)
        assert reading.verdict is Verdict.OK
        return [file.status for file in report.files] if report else []

    assert [fetched(NVDA, target, "databento", "dbn") for _ in range(2)] == [["imported"], ["already"]]
    target.unlink()
    assert fetched(NVDA, target, "databento", "dbn") == ["already"]

    (file,) = iex_hist.read_list(answer(bytes(hist_list("20180127").body)))[1]
    assert (file.feed, file.version, file.name) == ("tops", "1.6", "20180127_IEXTP1_TOPS1.6.pcap.gz")
    assert file.address == "https://www.googleapis.com"
    assert "/o/data%2Ffeeds%2F20180127%2F2018" in file.request.url(file.address)
    assert fetched(file.request, tmp_path / file.name, "iex", "tops") == ["imported"]
    assert {str(row["capture_id"]).rpartition("-")[0] for row in messages_of(log)} == {
        "databento-xnas.itch-import", "iex-tops-import",
    }  # fmt: skip
    calls = [(row["provider"], row["verdict"], row["byte_count"]) for row in history_of(log, "ops.provider_calls")]
    assert sorted(calls) == [("databento", "OK", len(WHOLE))] * 2 + [("iex", "OK", (tmp_path / file.name).stat().st_size)]


@pytest.mark.parametrize(
    ("body", "status", "verdict", "wait_s"),
    [
        (b'{"detail":{"case":"auth_authentication_failed","message":"Authentication failed."}}', 401, Verdict.AUTH, None),
        (b'{"detail":"Your account has insufficient funds for this request."}', 402, Verdict.NOT_ENTITLED, None),
        (b'{"detail":{"case":"license_not_found_unauthorized"}}', 403, Verdict.NOT_ENTITLED, None),
        (b'{"detail":{"case":"data_end_after_available_end"}}', 422, Verdict.OUT_OF_RANGE, None),
        (b'{"detail":{"case":"symbology_invalid_request"}}', 422, Verdict.UNKNOWN_SYMBOL, None),
        (b'{"detail":{"case":"data_schema_not_fully_available"}}', 422, Verdict.BAD_REQUEST, None),
        (b"Too many requests.", 429, Verdict.THROTTLED, 3.0),
        (b"<html>504</html>", 504, Verdict.UPSTREAM_5XX, 3.0),
        (b"moved", 302, Verdict.UPSTREAM_5XX, 3.0),
    ],
)
def test_databentos_refusals_mean(body: bytes, status: int, verdict: Verdict, wait_s: float | None) -> None:
    reading = databento.read_refusal(answer(body, status, retry_after="3"))
    assert (reading.verdict, reading.retry_after_s) == (verdict, wait_s)


@pytest.mark.parametrize(
    ("body", "status", "verdict"),
    [
        (b"[]", 200, Verdict.EMPTY_VALID), (b"Not Found", 404, Verdict.EMPTY_VALID), (b"{}", 200, Verdict.MALFORMED),
        (b"<html>", 200, Verdict.MALFORMED), (b"slow", 429, Verdict.THROTTLED), (b"oops", 500, Verdict.UPSTREAM_5XX),
        (b'[{"link":"https://elsewhere.example/x","date":"20180127","feed":"TOPS","version":"1.6"}]', 200, Verdict.EMPTY_VALID),
        (b'[{"link":"http://[","date":"20180127","feed":"TOPS","version":"1.6"}, 1]', 200, Verdict.EMPTY_VALID),
    ],
)  # fmt: skip
def test_lists_of_files_mean(body: bytes, status: int, verdict: Verdict) -> None:
    assert iex_hist.read_list(answer(body, status))[0].verdict is verdict


@given(st.binary(max_size=80), st.integers(100, 599))
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    assert databento.read_refusal(answer(body, status)).verdict in Verdict
    assert databento.read_cost(answer(body, status))[0].verdict in Verdict
    assert iex_hist.read_list(answer(body, status))[0].verdict in Verdict


def test_a_price_is_told_before_it_is_paid() -> None:
    asked = cost_request("XNAS.ITCH", "trades", ["NVDA", "AAPL"], *DAY)
    assert asked.what == "metadata.get_cost" and dict(asked.params)["end"] == "2024-01-04T00:00:00Z"
    assert str(databento.read_cost(answer(b"0.000173\n"))[1]) == "0.000173"
    assert [databento.read_cost(answer(body))[1] for body in (b"NaN", b"-1", b"free")] == [None, None, None]
    assert dict(list_request(date(2018, 1, 27)).params) == {"date": "20180127"}


@pytest.mark.parametrize(
    "change",
    [{"dataset": "nasdaq"}, {"schema": "ticks"}, {"symbols": []}, {"symbols": ["A,B"]}, {"end": DAY[0]}, {"stype_in": "isin"}],
)
def test_what_cannot_be_asked_is_refused_here(change: dict[str, object]) -> None:
    words: dict[str, object] = {"dataset": "XNAS.ITCH", "schema": "trades", "symbols": ["A"], "start": DAY[0], "end": DAY[1]}
    with pytest.raises(InvalidValueError):
        range_request(**{**words, **change})  # type: ignore[arg-type]
