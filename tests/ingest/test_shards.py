"""Shards and sockets take each symbol once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.shards import Shard, by_connection, parse_shard
from lake.errors import InvalidValueError

SYMBOLS = st.lists(st.text("ABCXYZ/-", min_size=1, max_size=6), max_size=60, unique=True)


@given(SYMBOLS, st.integers(1, 9))
def test_every_symbol_is_one_shard_s(symbols: list[str], count: int) -> None:
    shares = [Shard(number, count).share("binance", "spot", symbols) for number in range(1, count + 1)]
    assert sorted(symbol for share in shares for symbol in share) == sorted(symbols)


@given(SYMBOLS, st.integers(1, 9))
def test_every_symbol_is_on_one_socket_and_none_has_too_many(symbols: list[str], most: int) -> None:
    groups = by_connection(symbols, most)
    assert sorted(symbol for group in groups for symbol in group) == sorted(symbols)
    assert all(0 < len(group) <= most for group in groups)
    assert len(groups) == -(-len(symbols) // most)


def test_a_thousand_symbols_are_shared_evenly() -> None:
    symbols = [f"SYM{number}" for number in range(1_000)]
    sizes = [len(Shard(number, 4).share("alpaca", "sip", symbols)) for number in range(1, 5)]
    assert all(200 < size < 300 for size in sizes)


def test_a_shard_is_written_as_number_of_count() -> None:
    assert parse_shard("2/4") == Shard(2, 4)
    assert str(Shard(2, 4)) == "2/4"


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "a/b", "1/0", "1/4/2", "-1/4"])
def test_anything_else_is_no_shard(text: str) -> None:
    with pytest.raises(InvalidValueError):
        parse_shard(text)
