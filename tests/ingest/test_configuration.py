"""The configuration's text: every mistake at once, with its line; keys are never taken nor shown; comments survive a change."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.configuration import Configuration
from ingest.configuration_text import (
    Mistake,
    as_text,
    default_text,
    differences,
    merged,
    read_configuration,
)
from ingest.toml_lines import lines_of
from lake.errors import InvalidValueError, WrongConfigurationError

WHOLE = """
[providers.alpaca]   # a comment, with = and [brackets]
plan = "free"
priority = 5
reserve_for_live = 0.25
key_variables = ["APCA_API_KEY_ID", "APCA_API_SECRET_KEY"]

[providers.alpha_vantage]
windows = [
    { calls = 25, per = "day", zone = "America/New_York" },
    { calls = 4, per = "minute" },
]
weights.OVERVIEW = 2

[universes.tech]
symbols = ["AAPL", "MSFT"]

[schedules.daily]
provider = "alpaca"
feed = "iex"
universe = "tech"
when = "closed"
calendar = "XNYS"
from_time = "21:15"
"""

WRONG = """
threshold = 1
[providers.alpacca]
plan = "free"
[providers.finnhub]
key_variables = ["c9d8sk2ad3i9f0f4g8h0"]
prioritty = 1
http = "https://user:geheim@finnhub.io"
windows = [{ calls = 0, per = "fortnight" }]
[universes.empty]
symbols = []
[universes.twice]
symbols = [
  "A",
  "A",
]
[schedules.bad]
provider = "alpaca"
feed = "iexx"
universe = "twise"
when = "open"
every_s = "often"
[thresholds]
stale_after_s = -1
"""


def mistakes_of(text: str, *secrets: str) -> tuple[Mistake, ...]:
    with pytest.raises(WrongConfigurationError) as told:
        read_configuration(text, secrets)
    return tuple(Mistake(str(each["where"]), int(str(each["line"] or 0)), str(each["what"])) for each in told.value.mistakes)


def test_a_whole_file_is_read() -> None:
    made = read_configuration(WHOLE)
    assert made.provider("alpaca").priority == 5
    assert [(each.calls, each.seconds) for each in made.provider("alpha_vantage").windows] == [(25, 86_400), (4, 60)]
    assert made.provider("alpha_vantage").weights == {"OVERVIEW": 2.0}
    assert made.provider("yahoo").enabled
    assert made.due()["daily"].not_before is not None


def test_the_shipped_default_changes_nothing_and_its_examples_are_right() -> None:
    assert read_configuration(default_text()) == Configuration() == read_configuration("")
    lines = default_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("# [providers"))
    examples = "\n".join(
        line.removeprefix("# ") for line in lines[first:] if not line.startswith(("# ---", "#\n")) and line != "#"
    )
    made = read_configuration(examples)
    assert set(made.due()) == {"us_daily", "crypto_live"}
    assert not made.provider("yahoo").enabled


def test_every_mistake_is_named_at_once_with_its_line() -> None:
    found = {(each.where, each.line): each.what for each in mistakes_of(WRONG)}
    assert sorted(line for _, line in found) == [2, 3, 6, 7, 8, 9, 9, 11, 13, 19, 20, 21, 22, 24]
    assert "did you mean thresholds?" in found["threshold", 2]
    assert "did you mean alpaca?" in found["providers.alpacca", 3]
    assert "did you mean priority?" in found["providers.finnhub.prioritty", 7]
    assert "did you mean iex?" in found["schedules.bad.feed", 19]
    assert "did you mean twice?" in found["schedules.bad.universe", 20]
    assert "greater than or equal to 1" in found["providers.finnhub.windows.0.calls", 9]
    assert "'fortnight'" in found["providers.finnhub.windows.0.per", 9]


def test_a_key_in_the_file_is_a_mistake_and_is_never_shown() -> None:
    key = "c9d8sk2ad3i9f0f4g8h0"
    texts = [
        f'[providers.finnhub]\napi_key = "{key}"\n',
        f'[providers.finnhub]\nkey_variables = ["{key}"]\n',
        f'[providers.finnhub]\nkey_variables = "{key}"\n',
        f'[providers.finnhub]\nplan = ["{key}"]\nhttp = "https://x/?token={key}"\n',
        f"[providers.finnhub]\nplan = {key}\n",
        f'[providers."{key}"]\n',
        f"[thresholds]\n{key} = 1\n",
        f'[schedules.x]\nprovider = "{key}"\nuniverse = "{key}"\n',
        f'[universes.u]\nasset_class = "{key}"\nsymbols = ["A"]\n',
    ]
    for text in texts:
        assert all(key not in str(each) for each in mistakes_of(text)), text
    assert [each.line for each in mistakes_of(f"# old: {key}\n", key)] == [1]


@given(
    st.text(max_size=60) | st.sampled_from([WHOLE, WRONG]).flatmap(lambda text: st.integers(0, len(text)).map(lambda n: text[:n]))
)
def test_any_text_is_a_configuration_or_its_mistakes(text: str) -> None:
    try:
        assert isinstance(read_configuration(text), Configuration)
    except WrongConfigurationError as error:
        assert error.mistakes and all(str(each) for each in error.mistakes)


def test_the_line_of_every_key_is_where_it_stands() -> None:
    text = 'a.b = """x\n[no]\n"""\n"q.r" = [ # ]\n 1,\n]\n\n[[t]]\nx=1\n[[t]]\nx = { y = 1 }\n[ "s" . u ]\nv = \'#\'\n'
    assert tomllib.loads(text)
    found = lines_of(text)
    assert {path: found[path] for path in [("a", "b"), ("q.r",), ("t", 0, "x"), ("t", 1, "x"), ("s", "u"), ("s", "u", "v")]} == {
        ("a", "b"): 1, ("q.r",): 4, ("t", 0, "x"): 9, ("t", 1, "x"): 11, ("s", "u"): 12, ("s", "u", "v"): 13,
    }  # fmt: skip


def test_a_patch_changes_what_it_names_and_keeps_the_comments() -> None:
    patch = {
        "providers": {"alpaca": {"priority": 7, "plan": None}, "yahoo": {"enabled": False}},
        "universes": {"tech": {"symbols": ["X"]}},
    }
    text = merged(WHOLE, patch)
    assert "# a comment, with = and [brackets]" in text
    before, after = read_configuration(WHOLE), read_configuration(text)
    assert {each["where"] for each in differences(before, after)} == {
        "providers.alpaca.plan", "providers.alpaca.priority", "providers.yahoo.enabled", "universes.tech.symbols",
    }  # fmt: skip
    assert after.universes["tech"].symbols == ("X",) and not after.provider("yahoo").enabled
    assert read_configuration(as_text(tomllib.loads(WHOLE))) == before
    with pytest.raises(InvalidValueError):
        merged(WHOLE, {"thresholds": {"stale_after_s": object()}})


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".com", "ws..example.com", "é" * 60 + ".com"], ids=["long", "empty", "long in ASCII"]
)
def test_a_host_that_no_socket_can_ask_for_is_no_address(host: str) -> None:
    with pytest.raises(WrongConfigurationError) as told:
        read_configuration(f'[providers.yahoo]\nhttp = "https://{host}"\nstream = "wss://{host}/x"\n')
    assert [each["line"] for each in told.value.mistakes] == [2, 3]
    assert all("no address; expected" in str(each["what"]) for each in told.value.mistakes)
    assert read_configuration('[providers.yahoo]\nhttp = "https://bücher.example"\n').provider("yahoo").http
