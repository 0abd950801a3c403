from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest
from websockets.sync.server import ServerConnection, serve

from ingest.asks import Address, Ask
from ingest.capture import CaptureReport, capture_once, capture_pages, capture_stream
from ingest.providers.binance import MarketSession, default_streams
from ingest.providers.yahoo import Chart
from ingest.recorder import Recorder, messages_in_log, new_capture_id
from ingest.simulator import DEMO, Faults, HttpFault, Simulator, StreamFault
from ingest.simulator.recorded import binance, charts
from ingest.transport.backoff import Backoff
from ingest.writer import Writer
from lake.catalog import Lake
from lake.errors import CommitUnknownError, InvalidValueError, LogFullError, ProviderUnavailableError
from lake.instants import system_clock
from lake.log.log import RAW_PARTITIONS, RAW_TOPIC, Batch, Block, Bounds, Offset, Positions
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from lake.steps import Steps
from lake.values import Capture, CaptureKind, Message
from tests.ingest.conftest import FAST, Waits, history_of, messages_of

ASKS = {chart.file: chart.ask for chart in charts()}
AAPL = ASKS["chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json"]
MSFT = ASKS["chart_MSFT_1d_2021-02_2022-01_dividends.json"]
CAPTURE = Capture("yahoo-chart-test", "yahoo", "chart", CaptureKind.POLL, 1, "1", "x")


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("lake")), system_clock) as lake:
        yield lake


@pytest.fixture
def lake(shared_lake: Lake) -> Lake:
    """Capturing writes to the log alone; of the lake it needs settings, clock and state, which one test may leave to the next."""
    shared_lake.state.save_job("stream:binance-spot", {"capture_id": "", "ended": "stopped"})
    return shared_lake


def poll(lake: Lake, log: SegmentLog, sim: Simulator, asks: Sequence[Ask], waits: Waits, **more: object) -> CaptureReport:
    return capture_pages(
        lake,
        log,
        Chart(),
        asks,
        sim.yahoo,
        provider="yahoo",
        feed="chart",
        sleep=waits,
        rng=random.Random(1),
        backoff=FAST,
        **more,  # type: ignore[arg-type]
    )


def stream(lake: Lake, log: SegmentLog, sim: Simulator, waits: Waits, **more: object) -> CaptureReport:
    session = MarketSession(default_streams("spot", "BTCUSDT"), "spot", **more)  # type: ignore[arg-type]
    return capture_stream(
        lake, log, session, sim.binance("spot"), provider="binance", feed="spot", sleep=waits, rng=random.Random(1), backoff=FAST
    )


def test_every_recorded_chart_is_captured_as_it_came(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=()) as sim:
        report = poll(lake, log, sim, sim.yahoo_asks(), waits)
    rows = messages_of(log)
    assert [row["payload"] for row in rows] == [chart.body for chart in charts()]
    assert [row["message_seq"] for row in rows] == list(range(len(charts())))
    assert report.messages == len(rows)
    assert [json.loads(str(row["headers"])).get("date") for row in rows] == [chart.date for chart in charts()]
    assert {row["content_type"] for row in rows} == {"application/json"}
    request = json.loads(str(rows[1]["request"]))
    assert (request["method"], request["params"]["interval"]) == ("GET", "1d")
    (announced,) = history_of(log, "ops.captures")
    assert (announced["capture_id"], announced["kind"]) == (report.capture_id, "poll")
    calls = history_of(log, "ops.provider_calls")
    assert [call["message_seq"] for call in calls] == list(range(len(rows)))
    assert Counter(call["verdict"] for call in calls) == {"OK": len(rows) - 1, "EMPTY_VALID": 1}
    assert waits.asked == []


def test_throttling_and_damage_are_retried_and_every_answer_is_kept(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(
        http=(
            HttpFault("status", path="/AAPL", status=429, retry_after_s=0.04),
            HttpFault("status", path="/AAPL", status=503, skip=0),
            HttpFault("truncate", path="/MSFT"),
            HttpFault("garble", path="/MSFT"),
        )
    )
    with Simulator(plan, markets=()) as sim:
        report = poll(lake, log, sim, [AAPL, MSFT], waits)
    rows = messages_of(log)
    assert [row["status"] for row in rows] == [429, 503, 200, 200, 200, 200]
    assert len(rows[3]["payload"]) < len(rows[5]["payload"]) == len(rows[4]["payload"])  # type: ignore[arg-type]
    assert json.loads(str(rows[3]["request"]))["is_complete"] is False
    calls = history_of(log, "ops.provider_calls")
    assert [call["verdict"] for call in calls] == ["THROTTLED", "UPSTREAM_5XX", "OK", "MALFORMED", "MALFORMED", "OK"]
    assert [call["attempt"] for call in calls] == [1, 2, 3, 1, 2, 3]
    assert calls[0]["retry_after_s"] == 0.04
    assert [outcome["verdict"] for outcome in report.outcomes] == ["OK", "OK"]
    assert len(waits.asked) == 4
    assert waits.asked[0] >= 0.04
    assert max(waits.asked) <= FAST.ceiling_s


def test_what_will_not_change_is_asked_once(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    unknown = Ask("XXXX", "1d", AAPL.start, AAPL.end)
    long = Ask("AAPL", "1m", AAPL.start, AAPL.end)
    with Simulator(markets=()) as sim:
        report = poll(lake, log, sim, [unknown, long, AAPL], waits)
    assert [outcome["verdict"] for outcome in report.outcomes] == ["UNKNOWN_SYMBOL", "OUT_OF_RANGE", "OK"]
    assert [row["status"] for row in messages_of(log)] == [404, 400, 200]  # of ten windows of minutes the newest alone
    assert waits.asked == []


def test_patience_is_bounded_and_the_next_ask_goes_on(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/AAPL", status=429, times=100),))
    with Simulator(plan, markets=()) as sim:
        report = poll(lake, log, sim, [AAPL, MSFT], waits)
    assert [outcome["verdict"] for outcome in report.outcomes] == ["THROTTLED", "OK"]
    assert report.verdicts == {"THROTTLED": FAST.attempts, "OK": 1}


def test_a_wait_beyond_the_ceiling_is_not_sat_out(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", status=429, times=100, retry_after_s=3_600),))
    with Simulator(plan, markets=()) as sim:
        assert poll(lake, log, sim, [AAPL], waits).verdicts == {"THROTTLED": 1}
    assert waits.asked == []


def test_a_slow_answer_is_given_up_and_asked_again(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("slow", delay_s=30),))
    with Simulator(plan, markets=()) as sim:
        report = poll(lake, log, sim, [AAPL], waits, timeout_s=2.0)  # the second answer has to be there by then
    assert report.verdicts == {"NO_ANSWER": 1, "OK": 1}
    assert report.messages == 1
    first = history_of(log, "ops.provider_calls")[0]
    assert (first["status"], first["ts_response"], first["message_seq"]) == (None, None, None)


def test_nobody_there_is_an_outcome(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=()) as sim:
        address = sim.yahoo
    report = capture_pages(
        lake, log, Chart(), [AAPL], address, provider="yahoo", feed="chart", sleep=waits, rng=random.Random(1), backoff=FAST
    )
    assert report.verdicts == {"NO_ANSWER": FAST.attempts}
    assert report.messages == 0


def test_a_wrong_ask_is_refused_before_anything_is_asked(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=()) as sim, pytest.raises(InvalidValueError):
        poll(lake, log, sim, [AAPL, Ask("AAPL", "7m", AAPL.start, AAPL.end)], waits)
    assert messages_of(log) == history_of(log, "ops.captures") == []


def test_a_stream_is_captured_frame_by_frame(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(excerpt=2_500) as sim:
        report = stream(lake, log, sim, waits)
        recording = sim.recording("spot")
    rows = messages_of(log)
    assert [row["payload"] for row in rows if row["status"] is None] == [frame.payload for frame in recording.frames]
    (book,) = [row for row in rows if row["status"] is not None]
    assert book["payload"] == recording.snapshot
    assert json.loads(str(book["request"]))["params"]["symbol"] == "BTCUSDT"
    assert [row["message_seq"] for row in rows] == list(range(report.messages)) == list(range(2_500))
    assert (report.ended, report.connections, report.gaps_opened) == ("end of recording", 1, 0)


def test_every_stream_fault_is_survived_and_told(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(DEMO, excerpt=2_000) as sim:
        report = stream(lake, log, sim, waits)
        frames = sim.recording("spot").frames
    rows = [row for row in messages_of(log) if row["status"] is None]
    assert len(rows) == len(frames) + 20 + 40
    payloads = {row["payload"] for row in rows}
    spoilt = [frame.number for frame in frames if frame.payload not in payloads]
    assert set(spoilt) >= {303, 353}
    assert (report.connections, report.drops) == (2, 1)
    gaps = history_of(log, "quality.gaps")
    assert len(gaps) == report.gaps_opened + report.gaps_filled
    opened = {str(gap["gap_id"]): str(gap["reason"]) for gap in gaps if gap["status"] == "open"}
    closed = {str(gap["gap_id"]) for gap in gaps if gap["status"] == "filled"}
    # The garbled trade and the truncated depth update are lost for good; everything else came late or twice.
    assert sorted(reason for name, reason in opened.items() if name not in closed) == [
        "btcusdt@depth@100ms: numbers jump",
        "btcusdt@trade: numbers jump",
    ]
    assert sum("socket dropped" in reason for reason in opened.values()) == 3
    connects = [call for call in history_of(log, "ops.provider_calls") if call["method"] == "CONNECT"]
    assert [call["detail"] for call in connects] == [None, "reconnected after: socket dropped"]


def test_frames_lost_in_a_drop_leave_the_gap_open(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(stream=(StreamFault("drop", "spot", 500, overlap=-200),))
    with Simulator(plan, excerpt=1_000) as sim:
        report = stream(lake, log, sim, waits)
    assert (report.gaps_opened, report.gaps_filled) == (3, 0)
    assert {gap["status"] for gap in history_of(log, "quality.gaps")} == {"open"}


def test_subscribing_by_frame_records_the_acknowledgement(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(excerpt=100) as sim:
        report = stream(lake, log, sim, waits, subscribe_by="frame")
    assert report.messages == 101
    assert messages_of(log)[0]["payload"] == b'{"result":null,"id":1}'


def test_a_feed_that_never_speaks_is_given_up(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    def hang_up(connection: ServerConnection) -> None:
        connection.close(1001, "going away")

    with serve(hang_up, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = Address("http://127.0.0.1:9", f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        session = MarketSession(["btcusdt@trade"], "spot")
        with pytest.raises(ProviderUnavailableError, match="1001 going away"):
            capture_stream(lake, log, session, address, provider="binance", feed="spot", sleep=waits, backoff=FAST)
        server.shutdown()
        thread.join()
    assert len(waits.asked) == FAST.attempts - 1


def test_a_mute_feed_is_left_and_joined_again(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    heard: list[str] = []

    def mute(connection: ServerConnection) -> None:
        heard.append("connected")
        if len(heard) > 1:
            connection.close(1000, "end of recording")
            return
        for _ in connection:
            pass

    with serve(mute, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = Address("http://127.0.0.1:9", f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        session = MarketSession(["btcusdt@trade"], "spot", stale_after_ns=1)
        report = capture_stream(lake, log, session, address, provider="binance", feed="spot", sleep=waits, backoff=FAST)
        server.shutdown()
        thread.join()
    assert (report.connections, report.drops, report.ended) == (2, 1, "end of recording")


@pytest.mark.parametrize(
    ("ended", "told"), [(None, "ended without a word"), ("refused: THROTTLED 406", "ended: refused: THROTTLED 406")]
)
def test_a_capture_that_died_or_was_refused_leaves_a_gap_for_the_next(
    lake: Lake, log: SegmentLog, waits: Waits, ended: str | None, told: str
) -> None:
    lake.state.save_job("stream:binance-spot", {"capture_id": "binance-spot-before", "ended": ended})
    with Simulator(excerpt=30) as sim:
        stream(lake, log, sim, waits)
        stream(lake, log, sim, waits)
    (gap,) = history_of(log, "quality.gaps")
    assert (gap["gap_id"], gap["status"]) == ("binance-spot-before-gap-end", "open")
    assert gap["reason"] == f"all channels: capture binance-spot-before {told}"


def test_a_finished_job_asks_nothing_again(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    with Simulator(markets=()) as sim:
        first, is_new = capture_once(lake, "demo-yahoo", lambda: poll(lake, log, sim, [AAPL], waits))
        again, is_new_again = capture_once(lake, "demo-yahoo", lambda: poll(lake, log, sim, [AAPL], waits))
    assert (is_new, is_new_again) == (True, False)
    assert first == again
    assert len(messages_of(log)) == 1


def test_a_job_with_an_ask_unanswered_is_not_finished(lake: Lake, log: SegmentLog, waits: Waits) -> None:
    plan = Faults(http=(HttpFault("status", path="/AAPL", status=429, times=FAST.attempts),))
    with Simulator(plan, markets=()) as sim:
        found = [capture_once(lake, "throttled", lambda: poll(lake, log, sim, [AAPL], waits)) for _ in range(3)]
    assert [(document["is_complete"], is_new) for document, is_new in found] == [(False, True), (True, True), (True, False)]


def test_capture_ids_sort_by_time_and_hold_no_colon() -> None:
    ids = [new_capture_id("binance", "spot", second * 1_000_000_000, lambda bits: 0) for second in (1, 2, 1_700_000_000)]
    assert ids == sorted(ids)
    assert all(":" not in name and name.startswith("binance-spot-") for name in ids)
    assert len({new_capture_id("a", "b", 5) for _ in range(100)}) == 100


class Awkward:
    """A log that fails the first appends, before or after doing them, and is real otherwise."""

    def __init__(self, log: SegmentLog, failures: list[tuple[Exception, bool]]) -> None:
        self._log, self._failures = log, failures

    def append(self, topic: str, partition: int, blocks: Sequence[Block]) -> Offset:
        if not self._failures or topic != RAW_TOPIC:
            return self._log.append(topic, partition, blocks)
        error, is_done = self._failures.pop(0)
        if is_done:
            self._log.append(topic, partition, blocks)
        raise error

    def read(self, topic: str, partition: int, offset: Offset, max_bytes: int, wait_s: float) -> Batch:
        return self._log.read(topic, partition, offset, max_bytes, wait_s)

    def bounds(self, topic: str) -> Mapping[int, Bounds]:
        return self._log.bounds(topic)

    def release(self, topic: str, reader: str, positions: Positions) -> None:
        self._log.release(topic, reader, positions)


@pytest.mark.parametrize(
    "failures",
    [
        [(LogFullError("full"), False)] * 3,
        [(CommitUnknownError("who knows"), True)],
        [(CommitUnknownError("who knows"), False)],
        [(CommitUnknownError("who knows"), False), (LogFullError("full"), False), (CommitUnknownError("who knows"), True)],
    ],
)
def test_a_log_that_fails_gets_every_message_once(
    lake: Lake, log: SegmentLog, waits: Waits, failures: list[tuple[Exception, bool]]
) -> None:
    is_full = any(isinstance(error, LogFullError) for error, _ in failures)
    recorder = Recorder(Awkward(log, list(failures)), CAPTURE, clock=system_clock, steps=Steps(), sleep=waits)
    recorder.begin()
    for number in range(2_500):
        recorder.record([Message(number, number, "text/plain", b"%d" % number)])
    recorder.flush()
    assert [row["payload"] for row in messages_of(log)] == [b"%d" % number for number in range(2_500)]
    assert recorder.durable == messages_in_log(log, CAPTURE.capture_id) == 2_500
    assert bool(waits.asked) == (is_full or not failures[0][1])
    assert [row["kind"] for row in history_of(log, "quality.findings")] == (["log_full"] if waits.asked else [])


def test_a_log_that_stays_full_is_told_in_the_end(log: SegmentLog, waits: Waits) -> None:
    full = Awkward(log, [(LogFullError("full"), False)] * 1_000)
    recorder = Recorder(full, CAPTURE, clock=system_clock, steps=Steps(), sleep=waits, patience_s=60.0)
    recorder.record([Message(0, 0, "text/plain", b"x")])
    with pytest.raises(LogFullError):
        recorder.flush()
    assert 60.0 <= sum(waits.asked) <= 70.0
    assert recorder.durable == 0


def test_a_hole_in_the_numbers_is_refused(log: SegmentLog, waits: Waits) -> None:
    recorder = Recorder(log, CAPTURE, clock=system_clock, steps=Steps(), sleep=waits)
    with pytest.raises(InvalidValueError, match="expected 0"):
        recorder.record([Message(1, 0, "text/plain", b"x")])


def test_a_message_of_a_quiet_feed_is_durable_without_being_asked_for(log: SegmentLog, waits: Waits) -> None:
    with Writer(log, clock=system_clock, steps=Steps(), sleep=waits) as writer:
        recorder = writer.recorder(CAPTURE, RAW_PARTITIONS)
        recorder.record([Message(0, 0, "text/plain", b"x")])
        with writer.changed:
            assert writer.changed.wait_for(lambda: recorder.durable == 1, 60.0)
    assert [row["payload"] for row in messages_of(log)] == [b"x"]


@pytest.mark.parametrize(("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 60.0)])
def test_backoff_is_jittered_under_a_doubling_ceiling(attempt: int, ceiling: float, rng: random.Random) -> None:
    backoff = Backoff(attempts=10)
    waited = [backoff.wait_s(attempt, rng) for _ in range(200)]
    assert all(wait is not None and 0 <= wait <= ceiling for wait in waited)
    assert len(set(waited)) > 190
    assert backoff.wait_s(10, rng) is None
    assert backoff.wait_s(1, rng, retry_after_s=61.0) is None
    assert (backoff.wait_s(1, rng, retry_after_s=59.0) or 0) >= 59.0


def test_the_real_recording_is_whole() -> None:
    assert (binance("spot").messages, binance("usdm").messages) == (41_249, 93_954)
