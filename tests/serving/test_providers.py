"""How providers stand, as the verb, HTTP and Prometheus tell it: counted by real captures, bounded, the same everywhere."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingest.asks import Request
from ingest.breaker import Breakers
from ingest.capture import CaptureReport, capture_pages, capture_stream
from ingest.clock_offset import Bounds, Offset
from ingest.permits import Together
from ingest.plans import key_name
from ingest.providers.binance import MarketSession, default_streams
from ingest.providers.yahoo import Chart
from ingest.quotas import Quotas
from ingest.shipped_plans import PLANS
from ingest.simulator import Faults, HttpFault, Simulator
from ingest.tallies import BUCKETS_MS, CLOCK_OFFSET
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from serving.cli.app import run
from serving.operate.configured import open_configured
from serving.operate.doctor import examine
from serving.operate.standing import Standings, quantile
from tests.ingest.conftest import FAST
from tests.ingest.standing_state import call
from tests.serving.market_lake import served

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, CaptureReport, CaptureReport]]:
    """A lake into which two providers were captured, with throttling and a drop."""
    settings = load_settings(home=tmp_path_factory.mktemp("standing") / "home")
    plans = {"yahoo": PLANS["yahoo"][0]}
    faults = Faults(http=(HttpFault("status", skip=1),))
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        with Simulator(faults, excerpt=500) as sim, Quotas(lake.state, plans, system_clock) as quotas:
            permits = Together(
                [Breakers(lake.state, system_clock).permits("yahoo"), quotas.permits("yahoo", key_name([]), "live")]
            )
            charts = capture_pages(
                lake, log, Chart(), sim.yahoo_asks()[:3], sim.yahoo, provider="yahoo", feed="chart", permits=permits,
                backoff=FAST, rng=random.Random(1),
            )  # fmt: skip
            session = MarketSession(default_streams("spot", "BTCUSDT"), "spot")
            trades = capture_stream(lake, log, session, sim.binance("spot"), provider="binance", feed="spot", backoff=FAST)
        lake.state.save_job("stream:binance-usdm", {"capture_id": "binance-usdm-1", "ended": None, "held_bytes": 7})
        yield lake, charts, trades


@pytest.fixture(scope="module")
def client(captured: tuple[Lake, CaptureReport, CaptureReport]) -> Iterator[httpx.Client]:
    with served(captured[0]) as opened:
        yield opened


def test_what_is_told_is_what_the_captures_did(
    captured: tuple[Lake, CaptureReport, CaptureReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", "a-key-for-this-test")
    lake, charts, trades = captured
    found = {each["provider"]: each for each in Standings(lake, open_configured(lake)).all()}
    yahoo, binance = found["yahoo"], found["binance"]
    assert yahoo["calls"] == charts.verdicts and yahoo["calls"]["THROTTLED"] == 1
    assert yahoo["messages"] == charts.messages and binance["sessions"][0]["messages"] == trades.messages
    assert 0 < yahoo["latency_s"]["p50"] <= yahoo["latency_s"]["p95"]
    (quota,) = yahoo["quotas"]
    assert quota["month"]["live"] == sum(charts.verdicts.values())
    assert {breaker["position"] for breaker in yahoo["breakers"]} == {"closed"}
    assert [(each["feed"], each["is_listening"]) for each in binance["sessions"]] == [("spot", False), ("usdm", True)]
    assert (found["finnhub"]["key"], found["alpaca"]["key"], yahoo["key"]) == ("present", "missing", "not needed")
    assert found["finnhub"]["standing"] == "never asked"
    assert "a-key-for-this-test" not in str(found)


def test_the_verb_and_http_tell_the_same(
    captured: tuple[Lake, CaptureReport, CaptureReport], client: httpx.Client, capsys: Captured
) -> None:
    home = ["--home", str(captured[0].settings.home)]
    assert run(["providers", "yahoo", *home, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["providers"]
    (over_http,) = [each for each in client.get("/api/v1/providers").json()["providers"] if each["provider"] == "yahoo"]
    for each in (told, over_http):
        assert each["calls"]["THROTTLED"] == 1
        each.pop("sessions")
        each.pop("quotas")
    assert told == over_http
    assert run(["providers", *home]) == 0
    shown = capsys.readouterr().out
    assert "1 THROTTLED" in shown and "never asked" in shown
    assert run(["providers", "nobody", *home]) == 3


def test_prometheus_reads_what_was_counted(captured: tuple[Lake, CaptureReport, CaptureReport], client: httpx.Client) -> None:
    lake, charts, trades = captured
    offset = Offset(Bounds(2 * NANOS_PER_SECOND, 3 * NANOS_PER_SECOND), system_clock())
    lake.state.save_document(CLOCK_OFFSET, "alpaca", offset.document())
    told = client.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(told.text)}
    values = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families.values()
        for sample in family.samples
    }
    calls = {"provider": "yahoo", "feed": "chart", "verdict": "OK"}
    assert values["tickhouse_provider_calls_total", tuple(sorted(calls.items()))] == charts.verdicts["OK"]
    assert values["tickhouse_provider_call_seconds_count", (("provider", "yahoo"),)] == sum(charts.verdicts.values())
    buckets = [sample for sample in families["tickhouse_provider_call_seconds"].samples if sample.name.endswith("_bucket")]
    assert len({sample.labels["le"] for sample in buckets}) == len(BUCKETS_MS) + 1
    spot = (("feed", "spot"), ("provider", "binance"))
    assert values["tickhouse_provider_messages_total", spot] == trades.messages
    assert ("tickhouse_provider_staleness_seconds", spot) not in values  # it has ended: nothing is waited for
    assert 1.9 < values["tickhouse_clock_surely_wrong_seconds", ()] <= 2.0
    assert {"tickhouse_provider_quota_left", "tickhouse_provider_breaker_state", "tickhouse_provider_open_gaps"} <= set(families)
    assert {"tickhouse_provider_open_spans", "tickhouse_provider_missed_in_silence"} <= set(families)
    assert len(values) < 400
    openmetrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n") and "openmetrics" in openmetrics.headers["content-type"]


def scraped(client: httpx.Client, name: str, **labels: str) -> float:
    """Return one value of a scrape."""
    found = [
        sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def test_metrics_and_the_verb_follow_calls_quotas_and_breakers(
    captured: tuple[Lake, CaptureReport, CaptureReport], client: httpx.Client, capsys: Captured
) -> None:
    lake, (who, endpoint) = captured[0], ("tiingo", "daily")
    left = {"provider": who, "key": "k", "window": "3600 s"}
    with Quotas(lake.state, {who: PLANS[who][0]}, system_clock) as quotas:
        permits = Together([Breakers(lake.state, system_clock).permits(who), quotas.permits(who, "k", "live")])
        for calls in (1, 2, 3):
            request = Request("GET", f"/{calls}", endpoint=endpoint, symbols=("AAPL",))
            assert permits.before(request).is_given
            permits.after(request, call(Verdict.OK))
            assert scraped(client, "tickhouse_provider_quota_left", **left) == 50 - calls
    breakers = Breakers(lake.state, system_clock)
    for failures in range(5):
        assert breakers.find(who, endpoint).failures == failures
        breakers.answered(who, endpoint, call(Verdict.UPSTREAM_5XX, detail="HTTP 502: bad gateway"), "me")
    assert scraped(client, "tickhouse_provider_breaker_state", provider=who, endpoint=endpoint, state="open") == 1
    assert scraped(client, "tickhouse_provider_breaker_state", provider=who, endpoint=endpoint, state="closed") == 0
    words = ["providers", who, "--home", str(lake.settings.home)]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert f"{who} {endpoint}: breaker open, asked again at " in shown and "after UPSTREAM_5XX: HTTP 502" in shown
    assert run([*words, "--close-breakers"]) == 2, "without a reason"
    assert run([*words, "--close-breakers", "--reason", "tried by hand: it is well"]) == 0
    assert lake.state.audit_log()[-1]["reason"] == "tried by hand: it is well"
    assert scraped(client, "tickhouse_provider_breaker_state", provider=who, endpoint=endpoint, state="closed") == 1
    assert run(words) == 0
    assert "breaker open" not in capsys.readouterr().out


def test_the_doctor_tells_a_wrong_clock_and_a_refused_file(captured: tuple[Lake, CaptureReport, CaptureReport]) -> None:
    lake = captured[0]
    offset = Offset(Bounds(2 * NANOS_PER_SECOND, 3 * NANOS_PER_SECOND), system_clock())
    lake.state.save_document(CLOCK_OFFSET, "alpaca", offset.document())
    lake.settings.config.write_text("[thresholds]\nnothing = 1\n")
    found = {check.name: check for check in examine(lake.settings, system_clock)}
    lake.settings.config.unlink()
    assert found["clock"].state == "bad" and found["configuration"].state == "bad"


@pytest.mark.parametrize(
    ("classes", "median"),
    [({}, None), ({"10": 4}, 0.0075), ({"5": 1, "100": 2, "more": 1}, 0.075), ({"more": 3}, 30.0)],
)
def test_a_quantile_is_reckoned_within_its_class(classes: dict[str, int], median: float | None) -> None:
    assert quantile(classes, 0.5) == median
