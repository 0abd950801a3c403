from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ingest.providers.yahoo import USER_AGENT
from ingest.simulator import Faults, HttpFault, Simulator, StreamFault
from ingest.simulator.faults import sendings
from ingest.simulator.recorded import binance, charts
from lake.errors import InvalidValueError

CHARTS = {chart.file: chart for chart in charts()}
AAPL = CHARTS["chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json"]
BROWSER = {"user-agent": USER_AGENT}
ALL = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"
PATIENCE_S = 60
get = partial(httpx.get, trust_env=False, timeout=PATIENCE_S)
opened = partial(connect, compression=None, proxy=None, open_timeout=PATIENCE_S, ping_timeout=PATIENCE_S)


def ask(sim: Simulator, symbol: str, said: dict[str, str] = BROWSER, **params: object) -> httpx.Response:
    url = f"{sim.yahoo.http}/v8/finance/chart/{symbol}"
    return get(url, params={key: str(value) for key, value in params.items()}, headers=said)


def listen(sim: Simulator, target: str = ALL, say: dict[str, object] | None = None) -> tuple[list[bytes], int, str]:
    """Return (frames, close code, reason) of one connection."""
    frames = []
    with opened(str(sim.binance("spot").stream) + target) as socket:
        if say is not None:
            socket.send(json.dumps(say))
        try:
            while True:
                frames.append(socket.recv(decode=False))
        except ConnectionClosed as error:
            close = error.rcvd
    return frames, (1006 if close is None else close.code), ("" if close is None else close.reason)


@pytest.fixture(scope="module")
def quiet():  # type: ignore[no-untyped-def]
    with Simulator(excerpt=600) as sim:
        yield sim


def test_every_recorded_window_gets_its_bytes_and_date_exactly(quiet: Simulator) -> None:
    for chart in charts():
        answer = ask(quiet, chart.symbol, interval=chart.interval, period1=chart.start_s, period2=chart.end_s)
        assert (answer.status_code, answer.content, answer.headers.get("date")) == (chart.status, chart.body, chart.date)
    assert len(quiet.yahoo_asks()) == len(CHARTS) == 22


def test_another_window_gets_the_recording_that_overlaps_it_most(quiet: Simulator) -> None:
    assert ask(quiet, "AAPL", interval="1d", period1=AAPL.start_s - 5, period2=AAPL.start_s + 86_400).content == AAPL.body
    none = ask(quiet, "AAPL", interval="1d", period1=0, period2=86_400)
    assert none.status_code == 400
    assert none.json()["chart"]["error"]["description"] == "Data doesn't exist for startDate = 0, endDate = 86400"


@pytest.mark.parametrize(
    ("symbol", "params", "headers", "status", "words"),
    [
        ("XXXX", {}, BROWSER, 404, "No data found, symbol may be delisted"),
        ("AAPL", {"interval": "1m", "period1": 1, "period2": 9 * 86_400}, BROWSER, 422, "Only 8 days worth of 1m granularity"),
        ("AAPL", {"interval": "7m", "period1": 1, "period2": 2}, BROWSER, 422, "interval=7m is not supported"),
        ("AAPL", {"interval": "1d", "period1": 5, "period2": 2}, BROWSER, 400, "start date cannot be after end date"),
        ("AAPL", {"interval": "1d"}, {"user-agent": ""}, 429, "Too Many Requests"),
        ("AAPL", {"interval": "1d"}, {"user-agent": "python-httpx/0.28"}, 429, "Too Many Requests"),
    ],
)
def test_what_yahoo_refuses_is_refused_in_its_words(
    quiet: Simulator, symbol: str, params: dict[str, object], headers: dict[str, str], status: int, words: str
) -> None:
    answer = ask(quiet, symbol, said=headers, **params)
    assert answer.status_code == status
    assert words in answer.text


def test_a_market_is_replayed_whole_and_in_order(quiet: Simulator) -> None:
    frames, code, reason = listen(quiet)
    assert frames == [frame.payload for frame in binance("spot", 600).frames]
    assert (code, reason) == (1000, "end of recording")
    assert listen(quiet)[0] == frames


def test_a_subset_of_streams_and_the_bare_form(quiet: Simulator) -> None:
    trades = [frame.payload for frame in binance("spot", 600).frames if frame.stream == "btcusdt@trade"]
    assert listen(quiet, "/stream?streams=btcusdt@trade")[0] == trades
    bare = listen(quiet, "/ws/btcusdt@trade")[0]
    assert [json.loads(frame) for frame in bare] == [json.loads(frame)["data"] for frame in trades]


def test_subscribing_is_acknowledged_and_starts_the_replay(quiet: Simulator) -> None:
    frames, _, _ = listen(quiet, "/stream", {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7})
    assert json.loads(frames[0]) == {"result": None, "id": 7}
    assert len(frames) == 1 + sum(frame.stream == "btcusdt@trade" for frame in binance("spot", 600).frames)


def test_what_is_no_request_gets_an_error(quiet: Simulator) -> None:
    with opened(str(quiet.binance("spot").stream) + "/stream") as socket:
        for said, words in (("{", "Invalid JSON"), ('{"method":"X","id":1}', "unknown variant"), ("[1]", "Invalid JSON")):
            socket.send(said)
            assert words in str(socket.recv())
        socket.send('{"method":"LIST_SUBSCRIPTIONS","id":3}')
        assert json.loads(socket.recv()) == {"result": [], "id": 3}
        assert socket.ping().wait(PATIENCE_S)


def test_the_depth_snapshot_is_the_recorded_one(quiet: Simulator) -> None:
    url = quiet.binance("spot").http
    for path, market in (("/api/v3/depth", "spot"), ("/fapi/v1/depth", "usdm")):
        answer = get(f"{url}{path}", params={"symbol": "BTCUSDT", "limit": 1000})
        assert answer.content == binance(market, 600).snapshot
        assert get(f"{url}{path}", params={"symbol": "X"}).json()["code"] == -1121


def test_http_faults_come_as_often_as_planned() -> None:
    plan = Faults(
        http=(
            HttpFault("status", path="/AAPL", status=429, times=2, retry_after_s=3),
            HttpFault("status", path="/NVDA", status=502, skip=1),
            HttpFault("garble", path="/QQQ"),
        )
    )
    window: dict[str, Any] = {"interval": AAPL.interval, "period1": AAPL.start_s, "period2": AAPL.end_s}
    with Simulator(plan, markets=()) as sim:
        answers = [ask(sim, "AAPL", **window) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [429, 429, 200]
        assert (answers[0].text, answers[0].headers["retry-after"]) == ("Too Many Requests\r\n", "3")
        assert [ask(sim, "NVDA", interval="1d", period1=1612137600, period2=1643587200).status_code for _ in range(3)] == [
            200,
            502,
            200,
        ]
        whole = CHARTS["chart_QQQ_1d.json"]
        qqq = [ask(sim, "QQQ", interval="1d", period1=whole.start_s, period2=whole.end_s).content for _ in range(2)]
        assert len(qqq[0]) == len(whole.body)
        assert qqq[0] != whole.body
        assert qqq[1] == whole.body
        assert [each["fault"] for each in sim.report()] == ["status", "status", "status", "garble"]
        assert sim.summary()[0] == {"fault": "status", "where": "/v8/finance/chart/AAPL", "times": 2, "status": 429}


def test_a_truncated_body_breaks_the_connection() -> None:
    with Simulator(Faults(http=(HttpFault("truncate"),)), markets=()) as sim, pytest.raises(httpx.RemoteProtocolError):
        ask(sim, "AAPL", interval="1d", period1=AAPL.start_s, period2=AAPL.end_s)


def test_a_drop_resumes_with_an_overlap() -> None:
    plan = Faults(stream=(StreamFault("drop", "spot", 199, overlap=10),))
    frames = [frame.payload for frame in binance("spot", 400).frames]
    with Simulator(plan, excerpt=400) as sim:
        first, code, _ = listen(sim)
        assert (first, code) == (frames[:200], 1006)
        second, code, reason = listen(sim)
        assert (second, code, reason) == (frames[190:], 1000, "end of recording")
        assert listen(sim)[0] == frames
        assert sim.report() == [{"fault": "drop", "market": "spot", "after": 199, "overlap": 10}]


def test_frame_faults_change_what_they_say_and_nothing_else() -> None:
    frames = binance("spot", 1_000).frames
    plan = Faults(
        stream=(
            StreamFault("truncate", "spot", 10),
            StreamFault("garble", "spot", 20),
            StreamFault("duplicate", "spot", 30, 31),
            StreamFault("reorder", "spot", 40, 49),
            StreamFault("scale", "spot", 5, 6),
        )
    )
    sent = sendings(frames, plan, "spot")
    assert sent == sendings(frames, plan, "spot")
    assert sendings(frames, plan, "usdm") == sendings(frames, Faults(), "usdm")
    assert len(sent) == len(frames) + 2
    assert sorted(each.frame.number for each in sent[:52]) == sorted([*range(50), 30, 31])
    changed = {each.frame.number: each.frame.payload for each in sent if each.frame.payload != frames[each.frame.number].payload}
    trades = [frame.number for frame in frames if frame.stream == "btcusdt@trade"]
    assert sorted(changed) == sorted([10, 20, *trades[5:7]])
    before, after = (json.loads(each)["data"]["p"] for each in (frames[trades[5]].payload, changed[trades[5]]))
    assert (before, after) == ("61837.62000000", "6183762.00000000")
    for spoilt in (changed[10], changed[20]):
        with pytest.raises(json.JSONDecodeError):
            json.loads(spoilt)


def test_recorded_pace_keeps_the_recorded_distances() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    frozen = int(datetime(2024, 8, 9, tzinfo=UTC).timestamp()) * 1_000_000_000
    with Simulator(clock=lambda: frozen, pace="recorded", excerpt=50, sleep=sleep) as sim:
        frames, _, _ = listen(sim)
    recorded = binance("spot", 50).frames
    assert len(frames) == len(recorded)
    assert slept == [(frame.recv_ns - recorded[0].recv_ns) / 1_000_000_000 for frame in recorded[1:]]


def test_a_plan_comes_from_json_or_is_refused() -> None:
    plan = Faults.from_document(
        {"http": [{"kind": "status", "status": 503}], "stream": [{"kind": "drop", "market": "spot", "first": 3}]}
    )
    assert plan == Faults(http=(HttpFault("status", status=503),), stream=(StreamFault("drop", "spot", 3),))
    with pytest.raises(InvalidValueError, match="fault plan"):
        Faults.from_document({"http": [{"kind": "explode"}]})


def test_it_runs_as_a_program(root) -> None:  # type: ignore[no-untyped-def]
    command = [sys.executable, "-m", "ingest.simulator", "--excerpt", "20", "--pace", "fast"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        frames = []
        with opened(addresses["spot"] + ALL) as socket, pytest.raises(ConnectionClosed):
            while True:
                frames.append(socket.recv())
        process.terminate()
        assert json.loads(process.stdout.readline()) == {"faults": []}
        assert process.wait(60) == 0
    assert len(frames) == 19
