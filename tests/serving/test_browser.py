"""The pages in a real browser: they open, take what is typed and clicked, draw, and the console stays silent.

Screenshots lie in build/screenshots, to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.catalog import Lake
from serving.operate.notebooks import NotebookServer
from serving.operate.passing import environment
from serving.operate.supervisor import WebServer
from tests.serving.browser import Page, chromium, served

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as opened:
        yield opened


@pytest.fixture
def api(lake: Lake) -> Iterator[str]:
    server = WebServer(lake, "127.0.0.1", 0)
    stop = served(server)
    yield server.address
    stop()


@pytest.fixture
def notebooks(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in environment(lake.settings).items():
        monkeypatch.setenv(name, value)  # the server sets them; taken back at the end of the test
    server = NotebookServer(lake.settings, 0)
    stop = served(server)
    yield server.address
    stop()


def test_the_landing_page_draws_bars_and_runs_a_query(page: Page, api: str, root: Path) -> None:
    page.open(f"{api}/")
    page.until("return document.querySelectorAll('#chart svg rect.up, #chart svg rect.down').length >= 3")
    assert "125.01" not in page.run("return document.querySelector('#readout').textContent")  # the last session is shown
    page.run("const f=document.querySelector('#bars'); f.elements.adjustment.value='none'; f.requestSubmit()")
    page.until("return document.querySelector('#command').textContent.includes('adjustment=none')")
    page.until("return [...document.querySelectorAll('#chart text')].some((text) => text.textContent === '500')")

    page.until("return !document.querySelector('#sql-part').hidden")
    box = page.find("#sql textarea")
    box.clear()
    box.send_keys("SELECT symbol, close, adj_close FROM adjusted.bars_1d ORDER BY session_date")
    page.find("#sql button.main").click()
    page.until("return document.querySelectorAll('#rows tbody tr').length === 3")
    assert "125.01" in page.find("#rows").text
    page.shoot(root / "build" / "screenshots", "landing")
    assert not page.errors()


def test_a_refusal_is_told_in_words(page: Page, api: str) -> None:
    page.open(f"{api}/")
    page.until("return document.querySelector('#chart svg')")
    page.run("const f=document.querySelector('#bars'); f.elements.symbol.value='NOPE'; f.requestSubmit()")
    page.until("return document.querySelector('#bars-problem').textContent.includes('NOPE')")
    assert page.run("return document.querySelector('#chart').hidden")
    assert all("404" in error for error in page.errors())  # the browser's own line about the status


def test_the_api_page_makes_a_call(page: Page, api: str, root: Path) -> None:
    page.open(f"{api}/docs")
    page.until("return document.querySelectorAll('details.operation').length >= 4")
    page.find("details.operation[open] button.main").click()
    page.until("return (document.querySelector('pre.result:not([hidden])')?.textContent ?? '').includes('\"row_count\": 3')")
    page.shoot(root / "build" / "screenshots", "docs")
    assert not page.errors()


def test_the_tour_draws_and_its_slider_goes_back_in_time(page: Page, notebooks: str, root: Path) -> None:
    page.open(f"{notebooks}/tour/")
    page.until(_HAS_CHARTS, 3)
    page.shoot(root / "build" / "screenshots", "tour")
    page.until(_TEXT, "read as 125.01")
    thumb = page.until(f"{_DEEP} return deep(document, '[role=slider]')[0]")
    thumb.send_keys("\ue012" * 2)  # twice to the left
    page.until(_TEXT, "read as 500.04")
    assert not page.errors()


def test_the_explorer_draws_and_answers_sql(page: Page, notebooks: str, root: Path) -> None:
    page.open(f"{notebooks}/explorer/")
    page.until(_HAS_CHARTS, 1)
    page.shoot(root / "build" / "screenshots", "explorer")
    page.until(f"{_DEEP} const tab = deep(document, '[role=tab]').find((one) => one.textContent === 'SQL'); return tab").click()
    page.until(_TEXT, "3 rows")
    page.shoot(root / "build" / "screenshots", "explorer-sql")
    assert not page.errors()


_DEEP = """
    const deep = (root, selector) => [
        ...root.querySelectorAll(selector),
        ...[...root.querySelectorAll('*')].filter((one) => one.shadowRoot).flatMap((one) => deep(one.shadowRoot, selector)),
    ];
"""
"""Finds elements also inside the shadow roots that marimo draws in."""
_HAS_CHARTS = f"{_DEEP} return deep(document, 'canvas.marks, svg.marks').length >= arguments[0]"
_TEXT = f"""{_DEEP}
    const text = deep(document, '.output, marimo-tabs, .markdown').map((one) => one.innerText ?? '').join(' ');
    return text.replace(/\\s+/g, ' ').includes(arguments[0]);
"""
