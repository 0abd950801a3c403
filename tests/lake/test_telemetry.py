"""Log records reach the stream once, in the form asked for."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from lake.telemetry import set_up_logging


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_carries_extra_fields_and_errors():
    stream = io.StringIO()
    set_up_logging(stream, "json", "INFO")
    try:
        raise ValueError("bad digit")
    except ValueError:
        logging.getLogger("lake.probe").exception("cannot read %s", "page 7", extra={"provider": "yahoo", "at_ns": 5})
    [line] = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "lake.probe", "cannot read page 7")
    assert (entry["provider"], entry["at_ns"]) == ("yahoo", 5)
    assert "ValueError: bad digit" in entry["error"]


def test_setting_up_twice_writes_once_and_below_the_level_nothing():
    first, second = io.StringIO(), io.StringIO()
    set_up_logging(first, "text", "WARNING")
    set_up_logging(second, "text", "WARNING")
    logging.getLogger("lake.probe").warning("late")
    logging.getLogger("lake.probe").info("chatter")
    assert first.getvalue() == ""
    assert second.getvalue() == "WARNING lake.probe: late\n"
