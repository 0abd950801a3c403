"""The pages for people: complete in themselves, never from elsewhere, and no data in them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import httpx
import pytest

from lake.catalog import Lake
from serving.operate.supervisor import WebServer
from serving.web.pages import FOLDER


@pytest.fixture(scope="module")
def client(lake: Lake) -> Iterator[httpx.Client]:
    server = WebServer(lake, "127.0.0.1", 0)
    running = threading.Thread(target=server.run)
    running.start()
    with httpx.Client(base_url=server.address, timeout=30) as opened:
        yield opened
    server.stop()
    running.join()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_and_everything_it_uses_is_served_from_here(client: httpx.Client, path: str) -> None:
    waiting, seen = [path], set()
    while waiting:
        wanted = waiting.pop()
        seen.add(wanted)
        response = client.get(wanted)
        assert response.status_code == 200, wanted
        assert "default-src 'none'" in response.headers["content-security-policy"]
        used = re.findall(r"""(?:src=|href=|from )["'](/static/[^"']+)""", response.text)
        waiting += [name for name in used if name not in seen]
    assert len(seen) >= 4


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_nothing_is_fetched_from_elsewhere_and_no_markup_is_made_of_data(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    addresses = [found for found in re.findall(r"https?://[^\s\"'`)]+", text) if found != "http://www.w3.org/2000/svg"]
    assert not addresses
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(| style=\"| on\w+=\"", text)


def test_a_file_that_was_not_changed_is_not_sent_again(client: httpx.Client) -> None:
    tag = client.get("/static/tickhouse.css").headers["etag"]
    again = client.get("/static/tickhouse.css", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nope.js", "..%2fapp.py", "%2e%2e/pages.py"])
def test_only_the_pages_own_files_are_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404
