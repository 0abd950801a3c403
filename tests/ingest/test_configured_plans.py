"""Plans as an operator configures them: windows of calls, symbols, bytes, by endpoint; every mistake with its line; kept to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.asks import Request
from ingest.configuration import Configuration
from ingest.configuration_text import as_text, read_configuration
from ingest.plan_mistakes import endpoints_of
from ingest.plans import Plan, Window, configured, key_name
from ingest.quotas import Quotas
from ingest.shipped_plans import PLANS
from ingest.verdicts import Verdict
from lake.errors import WrongConfigurationError
from lake.state import State
from tests.ingest.standing_state import Clock, call

US = "America/New_York"
TIINGO = f"""
[providers.tiingo]
windows = [
    {{ calls = 50, per = "hour" }},
    {{ symbols = 2, per = "month", zone = "{US}" }},
    {{ bytes = 1000, per = "month", zone = "{US}" }},
    {{ calls = 3, per = "day", zone = "{US}", endpoints = ["daily/prices"] }},
]
"""
WRONG = """
[providers.tiingo]
plan = "powerr"
weights = { "dayly/prices" = 2 }
[providers.alpaca]
plan = "gold"
[providers.databento]
windows = [
    { per = "day" },
    { calls = 1, symbols = 2, per = "month", zone = "UTC" },
    { symbols = 500, per = "minute" },
    { calls = 5, per = "minute", zone = "UTC" },
    { bytes = 5, per = "month", endpoints = ["batch.submit_job"] },
    { calls = 5, per = "second", endpoints = ["batch.submitjob"] },
    { calls = 6, per = "hour" },
    { calls = 7, per = "hour" },
    { calls = 7, per = "hour", zone = "Atlantis" },
    { calls = 7, per = "10 minutes", endpoint = "x" },
    { bytes = 0, per = "day" },
]
"""


def plan_of(text: str, provider: str) -> Plan:
    return configured(PLANS[provider], read_configuration(text).provider(provider))


def test_windows_count_calls_symbols_and_bytes_by_endpoint() -> None:
    plan = plan_of(TIINGO.replace("daily/prices", endpoints_of("tiingo")[0]), "tiingo")
    assert plan.windows == (
        Window(50, 3_600.0),
        Window(2, calendar="month", zone=US, counts="symbols"),
        Window(1_000, calendar="month", zone=US, counts="bytes"),
        Window(3, calendar="day", zone=US, endpoints=(endpoints_of("tiingo")[0],)),
    )


def test_shipped_plans_can_be_written_and_read_back() -> None:
    units = {1.0: "second", 60.0: "minute", 300.0: "5 minutes", 600.0: "10 minutes", 3_600.0: "hour"}
    for provider, plans in PLANS.items():
        for plan in plans:
            windows = [
                {"calls" if each.counts == "weight" else each.counts: each.limit, "per": each.calendar or units[each.seconds]}
                | ({"zone": each.zone} if each.calendar else {})
                | ({"endpoints": list(each.endpoints)} if each.endpoints else {})
                for each in plan.windows
                if each.seconds not in (2.0,)
            ]
            document = {"providers": {provider: {"plan": plan.name, "windows": windows}}}
            if provider not in ("ibkr", "iex"):
                read = read_configuration(as_text(document))
                again = read_configuration(as_text(read.model_dump(mode="json")))
                assert configured(plans, read.provider(provider)).windows == plan.windows
                assert again == read


def test_every_mistake_of_a_plan_is_named_with_its_line() -> None:
    with pytest.raises(WrongConfigurationError) as raised:
        read_configuration(WRONG)
    found = {(str(each["where"]), each["line"]): str(each["what"]) for each in raised.value.mistakes}
    window = "providers.databento.windows"
    expected = {
        ("providers.tiingo.plan", 3): "did you mean power?",
        ("providers.tiingo.weights.dayly/prices", 4): "nobody asks such an endpoint",
        ("providers.alpaca.plan", 6): "there are free, paid, or tell its windows",
        (f"{window}.0", 9): "expected one of calls, symbols, bytes; found none",
        (f"{window}.1", 10): "found calls and symbols",
        (f"{window}.2.symbols", 11): "expected per hour, day or month, and a zone",
        (f"{window}.3.zone", 12): "'minute', which rolls",
        (f"{window}.4.endpoints", 13): "bytes are counted over all endpoints together",
        (f"{window}.5.endpoints.0", 14): "did you mean batch.submit_job?",
        (f"{window}.7", 16): "counts the same as window 6",
        (f"{window}.8.zone", 17): "no time zone 'Atlantis'",
        (f"{window}.9.endpoint", 18): "did you mean endpoints?",
        (f"{window}.10.bytes", 19): "greater than or equal to 1",
    }
    assert set(found) == set(expected), {place: found[place] for place in set(found) - set(expected)}
    assert [place for place, words in expected.items() if words not in found[place]] == []


def test_configured_symbols_and_bytes_are_kept_to(state: State, clock: Clock) -> None:
    endpoint = endpoints_of("tiingo")[0]
    plan = plan_of(TIINGO.replace("daily/prices", endpoint), "tiingo")
    with Quotas(state, {"tiingo": plan}, clock) as quotas:
        permits = quotas.permits("tiingo", key_name(["k"]), "live")

        def asks(symbol: str, what: str = "other", byte_count: int = 10) -> str:
            request = Request("GET", "/x", endpoint=what, symbols=(symbol,))
            leave = permits.before(request)
            if leave.is_given:
                permits.after(request, replace(call(Verdict.OK), byte_count=byte_count))
            return leave.refused

        assert [asks("A"), asks("B"), asks("A")] == ["", "", ""]
        assert "symbols a month in America/New_York are spent" in asks("C")
        assert [asks("A", endpoint) for _ in range(3)] == ["", "", ""]
        assert f"day in America/New_York of {endpoint} are spent" in asks("A", endpoint)
        assert asks("B", byte_count=1_000) == ""
        assert "bytes a month in America/New_York are spent" in asks("B")


def test_what_is_not_told_stays_as_shipped() -> None:
    plan = configured(PLANS["tiingo"], Configuration().provider("tiingo"))
    assert plan is not None and plan.windows == PLANS["tiingo"][0].windows
