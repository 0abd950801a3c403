"""Schemathesis over the OpenAPI: whatever the document allows, or forbids, no answer is a defect of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from lake.catalog import Lake
from tests.serving.market_lake import served
from transforms.feeds import FEEDS

EXAMPLES = max(settings().max_examples // 25, 1)
"""Of each operation: 2 by the rules and 1 against them in the suite, 80 and 40 under `make fuzz`."""
PROVIDERS = {feed.provider for feed in FEEDS.values()}


@pytest.fixture(scope="module")
def client(market_lake: Lake) -> Iterator[httpx.Client]:
    with served(market_lake) as opened:
        yield opened


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_request_finds_a_defect(client: httpx.Client, mode: schemathesis.GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        expect_no_defect(client, operation, mode)


def expect_no_defect(client: httpx.Client, operation: Any, mode: schemathesis.GenerationMode) -> None:
    """Send requests made from one operation of the document: by its rules, or against them."""

    @settings(
        max_examples=EXAMPLES if mode is schemathesis.GenerationMode.POSITIVE else (EXAMPLES + 1) // 2,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def probe(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and case.body.get("source") in PROVIDERS:
            case.body["source"] = "nobody"  # a job would really capture; tests/serving/test_integration.py runs one
        response = case.call(base_url=str(client.base_url))
        assert response.status_code < 500, (case.method, case.path, case.query, case.body, response.content)
        if "/integration/" in case.path:
            operation.validate_response(response)  # field by field, as documented
        if response.status_code >= 400:
            assert response.headers["content-type"][0] in ("application/problem+json", "application/json")

    try:
        probe()
    except Unsatisfiable:
        assert mode is schemathesis.GenerationMode.NEGATIVE  # nothing can be asked wrongly of a route without parameters
