"""What is asked of a provider of files is a row of ops.provider_calls, by leave of its quota; symbols become identifiers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Address, Response
from ingest.files import asking_for_files, fetch_file
from ingest.imports import import_paths
from ingest.landing import land
from ingest.plans import Plan, Window
from ingest.providers import databento, iex_hist
from ingest.providers.databento import range_request, resolve_request
from ingest.quotas import Quotas
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.simulator.keyed import Keys
from ingest.simulator.recorded import FOLDER
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import InvalidValueError
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.scan import Where, read
from lake.settings import load_settings
from quality_checks.promotion import promote
from tests.ingest.conftest import FAST, Waits, history_of, messages_of

DAY = (datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC))
NVDA = range_request("XNAS.ITCH", "trades", ["NVDA"], *DAY)
RESOLVED = resolve_request("XNAS.ITCH", ["NVDA", "ZZZZ"], date(2020, 12, 28), date(2020, 12, 30))
TWO_A_DAY = {"databento": Plan("made", (Window(2, calendar="day"),), max_call_s=60.0)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("files")), system_clock) as lake:
        yield lake


def of_sim(sim: Simulator, key: str = Keys().databento_key) -> Address:
    return Address(sim.addresses()["http"], credentials=databento.credentials(key))


def calls(log: SegmentLog) -> list[tuple[object, ...]]:
    """Verdict, status, bytes and whether there is a message of each call, in order."""
    rows = history_of(log, "ops.provider_calls")
    return [(row["verdict"], row["status"], row["byte_count"], row["message_seq"] is not None) for row in rows]


def test_each_call_is_a_row_and_each_refusal_a_message(shared: Lake, log: SegmentLog, tmp_path: Path) -> None:
    size = (FOLDER / "databento" / "trades.dbn.zst").stat().st_size
    faults = (HttpFault("status", "get_range", 429, retry_after_s=0), HttpFault("truncate", "get_range"))
    with Simulator(Faults(http=faults), markets=(), streams=()) as sim:
        address = of_sim(sim)
        with asking_for_files(shared, log, "databento", "metadata", {}, address=address, sleep=Waits(), backoff=FAST) as asking:
            target = tmp_path / "nvda.dbn.zst"
            reading, _ = fetch_file(shared, log, asking, address, NVDA, databento.read_refusal, target, "databento", "dbn")
            unknown = range_request("XNAS.ITCH", "trades", ["ZZZZ"], *DAY)
            refused = asking.file(address, unknown, databento.read_refusal, tmp_path / "no.dbn.zst")
            denied = asking.file(of_sim(sim, "db-no-such-key"), NVDA, databento.read_refusal, tmp_path / "no.dbn.zst")
            price, answer = asking.answer(
                address, databento.cost_request("XNAS.ITCH", "trades", ["NVDA"], *DAY), lambda r: databento.read_cost(r)[0]
            )
    assert [each.verdict for each in (reading, refused, denied, price)] == [
        Verdict.OK, Verdict.UNKNOWN_SYMBOL, Verdict.AUTH, Verdict.OK,
    ]  # fmt: skip
    assert answer is not None
    assert answer.body == b"0.000173"
    found = calls(log)
    assert [(verdict, status, has_message) for verdict, status, _, has_message in found] == [
        ("THROTTLED", 429, True), ("MALFORMED", 200, False), ("OK", 206, False),
        ("UNKNOWN_SYMBOL", 422, True), ("AUTH", 401, True), ("OK", 200, True),
    ]  # fmt: skip
    assert found[1][2] + found[2][2] == size  # type: ignore[operator]
    bodies = [bytes(row["payload"]) for row in messages_of(log) if "-metadata-" in str(row["capture_id"])]  # type: ignore[call-overload]
    assert [orjson.loads(body)["detail"] for body in bodies[:1]] == ["Too many requests."]
    assert len(bodies) == 4
    assert [outcome["verdict"] for outcome in asking.report.outcomes] == ["OK", "UNKNOWN_SYMBOL", "AUTH", "OK"]
    assert not [row for row in (*history_of(log, "ops.provider_calls"), *messages_of(log)) if Keys().databento_key in str(row)]


def test_nothing_is_asked_beyond_a_quota_which_downloads_spend(shared: Lake, log: SegmentLog, tmp_path: Path) -> None:
    with Simulator(markets=(), streams=()) as sim, Quotas(shared.state, TWO_A_DAY, system_clock) as quotas:
        address, permits = of_sim(sim), quotas.permits("databento", "made", "live")
        with asking_for_files(
            shared, log, "databento", "metadata", {}, address=address, sleep=Waits(), backoff=FAST, permits=permits
        ) as asking:
            told = [asking.file(address, NVDA, databento.read_refusal, tmp_path / f"{number}.zst") for number in range(3)]
            price, answer = asking.answer(
                address, databento.cost_request("XNAS.ITCH", "trades", ["NVDA"], *DAY), lambda r: databento.read_cost(r)[0]
            )
    assert [reading.verdict for reading in (*told, price)] == [Verdict.OK, Verdict.OK, Verdict.NOT_ASKED, Verdict.NOT_ASKED]
    assert answer is None
    assert [verdict for verdict, *_ in calls(log)] == ["OK", "OK"]


def test_lists_of_iex_are_messages_and_their_calls_are_told(shared: Lake, log: SegmentLog, tmp_path: Path) -> None:
    plan = Faults(http=(HttpFault("status", "/api/1.0/hist", 503), HttpFault("truncate", "/download/")))
    with Simulator(plan, markets=(), streams=()) as sim:
        address = Address(sim.addresses()["http"])
        with asking_for_files(shared, log, "iex", "hist", {}, address=address, sleep=Waits(), backoff=FAST) as asking:
            files: list[iex_hist.HistFile] = []
            reading, _ = asking.answer(
                address,
                iex_hist.list_request(date(2018, 1, 27)),
                lambda response: (found := iex_hist.read_list(response), files.extend(found[1]))[0][0],
            )
            fetched, _ = fetch_file(
                shared, log, asking, address, files[0].request, iex_hist.read_refusal, tmp_path / files[0].name, "iex", "tops"
            )
            gone, _ = asking.answer(address, iex_hist.list_request(date(2018, 1, 28)), lambda r: iex_hist.read_list(r)[0])
    assert [each.verdict for each in (reading, fetched, gone)] == [Verdict.OK, Verdict.OK, Verdict.EMPTY_VALID]
    assert [(verdict, status) for verdict, status, *_ in calls(log)] == [
        ("UPSTREAM_5XX", 503), ("OK", 200), ("MALFORMED", 200), ("OK", 206), ("EMPTY_VALID", 404),
    ]  # fmt: skip


def test_symbols_become_identifiers_of_the_instruments_that_records_name(lake: Lake, log: SegmentLog) -> None:
    with Simulator(markets=(), streams=()) as sim:
        address = of_sim(sim)
        with asking_for_files(lake, log, "databento", "metadata", {}, address=address, sleep=Waits(), backoff=FAST) as asking:
            reading, _ = asking.answer(address, RESOLVED, databento.read_resolution)
    assert (reading.verdict, reading.detail) == (Verdict.OK, "1 mappings; not found: ZZZZ")
    import_paths(lake, log, "databento", "dbn", [FOLDER / "databento" / "trades.dbn.zst"])
    land(lake, log)
    report = promote(lake, "databento")
    assert (report.refused_messages, report.waiting, report.holds) == (0, 0, [])
    mine = [Where("provider", "=", "databento")]
    names = ["instrument_id", "symbol", "scheme", "identifier", "start_date", "end_date"]
    (row,) = read(lake, "reference.identifiers", names, where=mine).to_pylist()
    trades = set(read(lake, "normalized.trades", ["instrument_id"], where=mine)["instrument_id"].to_pylist())
    assert trades == {row.pop("instrument_id")}
    assert row == {
        "symbol": "NVDA", "scheme": "databento_instrument_id", "identifier": "XNAS.ITCH:6155", "start_date": date(2020, 12, 28),
        "end_date": date(2020, 12, 29),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b'{"result":{"A":[{"d0":"2020-12-28","d1":"2020-12-29","s":"1"}]},"not_found":[]}', Verdict.OK),
        (206, b'{"result":{"A":[{}]},"not_found":["B"],"status":1}', Verdict.OK),
        (200, b'{"result":{},"not_found":["A"],"status":2}', Verdict.UNKNOWN_SYMBOL),
        (200, b'{"result":{},"not_found":[]}', Verdict.EMPTY_VALID),
        (200, b'{"result":{"A":123}}', Verdict.MALFORMED),
        (200, b'{"result":', Verdict.MALFORMED),
        (422, b'{"detail":{"case":"symbology_invalid_request"}}', Verdict.UNKNOWN_SYMBOL),
        (401, b'{"detail":{"case":"auth_authentication_failed"}}', Verdict.AUTH),
        (429, b"Too many requests.", Verdict.THROTTLED),
        (503, b"", Verdict.UPSTREAM_5XX),
    ],
)
def test_answers_about_symbols_mean(status: int, body: bytes, verdict: Verdict) -> None:
    assert databento.read_resolution(Response(status, {}, body)).verdict is verdict


@given(st.binary(max_size=60), st.integers(100, 599))
def test_any_bytes_have_a_meaning(body: bytes, status: int) -> None:
    assert databento.read_resolution(Response(status, {}, body)).verdict in Verdict


def test_symbols_are_asked_by_days_and_checked_here() -> None:
    assert dict(RESOLVED.params)["start_date"] == "2020-12-28" and RESOLVED.what == "symbology.resolve"
    for dataset, symbols, stype in (("xnas", ["A"], "raw_symbol"), ("XNAS.ITCH", [], "raw_symbol"), ("XNAS.ITCH", ["A"], "isin")):
        with pytest.raises(InvalidValueError):
            resolve_request(dataset, symbols, date(2020, 1, 1), date(2020, 1, 2), stype_in=stype)
    with pytest.raises(InvalidValueError):
        resolve_request("XNAS.ITCH", ["A"], date(2020, 1, 2), date(2020, 1, 2))
