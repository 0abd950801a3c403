"""Every reader of a professional format: good files give rows, and a file cut at any byte is accounted for, byte by byte."""

from __future__ import annotations

import pytest

from tests.fuzz.__main__ import NAMES
from tests.fuzz.readers import READERS
from tests.fuzz.whole_way import Reader, go_whole_way

LONGEST_BYTES = 1_000


def small_file(reader: Reader) -> bytes:
    return max((seed for seed in reader.seeds if len(seed) <= LONGEST_BYTES), key=len)


@pytest.mark.parametrize("name", READERS)
def test_no_good_file_is_refused(name: str) -> None:
    outcome = go_whole_way(READERS[name], READERS[name].seeds)
    assert outcome.errors == 0
    assert sum(outcome.rows.values()) >= len(READERS[name].seeds)


@pytest.mark.parametrize("name", READERS)
def test_a_file_cut_at_any_byte_is_accounted_for(name: str) -> None:
    whole = small_file(READERS[name])
    outcome = go_whole_way(READERS[name], [whole[:length] for length in range(len(whole))])
    assert outcome.errors + len(outcome.rules) > 0


def test_the_names_to_fuzz_are_those_of_the_readers() -> None:
    assert list(NAMES) == list(READERS)
