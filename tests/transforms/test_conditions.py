"""Condition codes: against Polygon's own list of update rules, and how several codes of one trade combine."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from transforms.conditions import (
    ALL,
    BY_PROVIDER,
    HIGH_LOW,
    OPEN_CLOSE,
    POLYGON_CONDITIONS,
    SALE_CONDITIONS,
    VOLUME,
    effect_of,
    effects,
)

ANSWER = Path(__file__).parents[1] / "answers" / "polygon_conditions.json"
RULES = (("updates_open_close", OPEN_CLOSE), ("updates_high_low", HIGH_LOW), ("updates_volume", VOLUME))


def polygon_list() -> list[tuple[str, set[str], int]]:
    """Return number, letters and effect of each sale condition that Polygon lists."""
    told = json.loads(ANSWER.read_text())["results"]
    return [
        (
            str(one["id"]),
            set(one["sip_mapping"].values()),
            sum(flag for name, flag in RULES if one["update_rules"]["consolidated"][name]),
        )
        for one in told
    ]


def test_polygon_codes_change_what_its_own_list_says() -> None:
    told = {code: effect for code, _, effect in polygon_list()}
    assert len(told) == 10
    assert {code: POLYGON_CONDITIONS[code] & (OPEN_CLOSE | HIGH_LOW | VOLUME) for code in told} == told


def test_letters_of_the_tapes_change_no_more_than_the_list_says() -> None:
    """A letter that means two things takes the stricter; `I` was the CAP election until 2013 and is an odd lot since."""
    for _, letters, effect in polygon_list():
        for letter in letters - {"I"}:
            assert SALE_CONDITIONS[letter] & (OPEN_CLOSE | HIGH_LOW | VOLUME) & ~effect == 0, letter


@pytest.mark.parametrize("codes", ["@,F,T,I", "FTI", "@F I"])
def test_several_codes_change_what_all_of_them_let(codes: str) -> None:
    assert effect_of(codes, SALE_CONDITIONS) == VOLUME
    assert effect_of("12,37", POLYGON_CONDITIONS) == VOLUME


def test_a_price_that_is_last_is_in_the_range_too() -> None:
    for table in BY_PROVIDER.values():
        for code, effect in table.items():
            for shift in (0, 3):
                assert not effect >> shift & OPEN_CLOSE or effect >> shift & HIGH_LOW, code


def test_nothing_told_and_nothing_known_change_everything() -> None:
    assert effects(pa.chunked_array([pa.nulls(3, pa.string())]), "alpaca") is None
    assert effects(pa.chunked_array([["I", None]]), "somebody") is None
    assert effects(pa.chunked_array([["@", None, "?"]]), "alpaca") is None
    assert effects(pa.chunked_array([["@", None], ["I"]]), "alpaca").tolist() == [ALL, ALL, VOLUME]  # type: ignore[union-attr]
