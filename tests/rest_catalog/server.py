"""A real Iceberg REST catalog for the tests: Apache Iceberg's own reference server, on a free port, for one session."""

from __future__ import annotations

import os
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import NotHereError, free_ports, jars
from tests.optional_parts import go_without

_POM = Path(__file__).with_name("pom.xml")
_START_S = 90


@pytest.fixture(scope="session")
def rest_catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a catalog that keeps its tables in memory, as an operator writes it."""
    try:
        libraries = jars(_POM, "iceberg-rest")
    except NotHereError as error:
        go_without(f"there is no REST catalog: {error}")
    folder = tmp_path_factory.mktemp("rest")
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    told = {**os.environ, "CATALOG_REST_PORT": str(port), "CATALOG_WAREHOUSE": f"file://{folder}"}
    words = ["java", "-Xmx256m", "-cp", f"{libraries}/*", "org.apache.iceberg.rest.RESTCatalogServer"]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(words, env=told, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        waiting = threading.Event()
        for _ in range(_START_S * 4):
            assert process.poll() is None, (folder / "output").read_text(errors="replace")[-500:]
            try:
                urllib.request.urlopen(f"{address}/v1/config", timeout=10).close()
                break
            except (urllib.error.URLError, ConnectionError):
                waiting.wait(0.25)
        yield f"rest+{address}"
    finally:
        process.kill()
        process.wait()
