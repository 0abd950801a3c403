"""Binance's frames: the kernel, interpreted and compiled, and the JSON parser say the same, and it is true."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import SAMPLES, interpreted_kernel, messages, sample
from transforms.decode import binance
from transforms.decode.decoded import BOOK_EVENTS, QUOTES, TRADES
from transforms.kernels import binance as kernel

FORMS = {"imported": kernel.read_frames, "interpreted": interpreted_kernel().read_frames}
EXCERPTS = ["spot_excerpt", "usdm_excerpt"]
LINES = [line for name in EXCERPTS for line in (SAMPLES / "binance" / name / "frames.jsonl").read_bytes().splitlines()]
TRADE = next(line for line in LINES if b'"trade"' in line)
FUTURE = next(line for line in LINES if b'"X":"MARKET"' in line)
BOOKS = [line for line in LINES if b"bookTicker" in line]
FRAMES = [TRADE, FUTURE, BOOKS[0], BOOKS[-1], *sorted((line for line in LINES if b"depthUpdate" in line), key=len)[:2]]


def assert_same(found, other):
    assert found.refused.equals(other.refused)
    assert (found.control, found.skipped) == (other.control, other.skipped)
    for name, table in found.tables.items():
        assert table.equals(other.tables[name]), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*EXCERPTS, "odd_frames"])
def test_kernel_and_parser_give_the_same_rows(form, name):
    _, given_messages = sample(SAMPLES / "binance" / name)
    assert_same(binance.decode_frames(given_messages, FORMS[form]), binance.decode_frames(given_messages, None))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EXCERPTS)
def test_the_kernel_reads_every_frequent_frame(form, name):
    lines = [
        line for line in (SAMPLES / "binance" / name / "frames.jsonl").read_bytes().splitlines() if b"lastUpdateId" not in line
    ]
    edges = [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]
    frames = FORMS[form](b"".join(lines), b"".join(edge.to_bytes(8, "little") for edge in edges))
    assert frames.unread.getvalue() == b""


@pytest.mark.parametrize("name", EXCERPTS)
def test_rows_are_what_the_json_says(name):
    _, given_messages = sample(SAMPLES / "binance" / name)
    found = {table: iter(rows.to_pylist()) for table, rows in binance.decode(given_messages).tables.items()}
    for index, payload in enumerate(given_messages["payload"].to_pylist()):
        whole = json.loads(payload)
        said = whole.get("data", whole)
        if said.get("e") == "trade":
            row = next(found[TRADES])
            assert (row["message_index"], row["trade_id"], row["sequence"]) == (index, str(said["t"]), said["t"])
            assert (row["price"], row["size"]) == (Decimal(said["p"]), Decimal(said["q"]))
            assert row["side"] == ("sell" if said["m"] else "buy")
            assert row["ts_event"].timestamp() == said["T"] / 1000
        elif "B" in said:
            row = next(found[QUOTES])
            assert (row["message_index"], row["sequence"]) == (index, said["u"])
            assert [row[key] for key in ("bid_price", "bid_size", "ask_price", "ask_size")] == [Decimal(said[k]) for k in "bBaA"]
        else:
            sides = [("buy", level) for level in said.get("b", said.get("bids"))] + [
                ("sell", level) for level in said.get("a", said.get("asks"))
            ]
            for number, (side, (price, size)) in enumerate(sides):
                row = next(found[BOOK_EVENTS])
                assert (row["message_index"], row["event_index"], row["ordinal"], row["side"]) == (index, number, number, side)
                assert (row["price"], row["size"]) == (Decimal(price), Decimal(size))
                assert row["sequence"] == said.get("u", said.get("lastUpdateId"))
                assert row["event"] == ("snapshot" if "lastUpdateId" in said else "update")
    assert all(next(rows, None) is None for rows in found.values())


def mutated(draw):
    """Return a frame with a few bytes changed, cut or doubled."""
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(len(frame) - 1, 0)))
        act = draw(st.integers(0, 3))
        if act == 0 and frame:
            frame[place] = draw(st.sampled_from(b'0123456789.-"{}[],:\\ eE\x00\xff/atT'))
        elif act == 1:
            del frame[place : place + draw(st.integers(1, 40))]
        elif act == 2:
            frame[place:place] = draw(
                st.sampled_from([b"0", b"9", b"00000", b".", b'"', b" ", b"[]", b"[[", b"}", b"-1", b'\\"', b"99999999999"])
            )
        else:
            frame[place:place] = frame[place : place + draw(st.integers(1, 30))]
    return bytes(frame)


@given(st.lists(st.composite(mutated)(), min_size=1, max_size=8))
def test_any_damage_means_the_same_to_kernel_and_parser(frames):
    given_messages = messages(frames)
    expected = binance.decode_frames(given_messages, None)
    for scan in FORMS.values():
        assert_same(binance.decode_frames(given_messages, scan), expected)


@given(
    price=st.decimals(0, 999_999_999, places=9),
    size=st.decimals(0, 9_999_999_999, places=8),
    number=st.integers(0, 10**18 - 1),
    ms=st.integers(10**12, 10**13 - 1),
    is_maker=st.booleans(),
)
def test_every_digit_arrives(price, size, number, ms, is_maker):
    frame = (
        f'{{"stream":"abcusdc@trade","data":{{"e":"trade","E":{ms},"s":"ABCUSDC","t":{number},"p":"{price:f}","q":"{size:f}",'
        f'"T":{ms},"m":{str(is_maker).lower()},"M":true}}}}'
    ).encode()
    for scan in (*FORMS.values(), None):
        (row,) = binance.decode_frames(messages([frame]), scan).tables[TRADES].to_pylist()
        assert (row["price"], row["size"], row["sequence"], row["symbol"]) == (price, size, number, "ABCUSDC")
        assert row["ts_event"].timestamp() == pytest.approx(ms / 1000, abs=1e-4)


def test_two_symbols_keep_their_own_names_and_currencies():
    frames = [TRADE, TRADE.replace(b"BTCUSDT", b"ETHBTC"), TRADE, TRADE.replace(b"BTCUSDT", b"BTCUSDT_240927")]
    rows = binance.decode(messages(frames)).tables[TRADES].to_pylist()
    assert [(row["symbol"], row["currency"]) for row in rows] == [
        ("BTCUSDT", "USDT"),
        ("ETHBTC", "BTC"),
        ("BTCUSDT", "USDT"),
        ("BTCUSDT_240927", "USDT"),
    ]


@pytest.mark.parametrize(
    ("symbol", "asset"), [("BTCUSDT", "USDT"), ("BTCFDUSD", "FDUSD"), ("ETHBTC", "BTC"), ("BTC", None), ("XYZQQQ", None)]
)
def test_the_quote_asset_is_the_longest_known_end(symbol, asset):
    assert binance.quote_asset(symbol) == asset


def test_an_http_error_is_control_whatever_its_body():
    bodies = [b'{"code":-1003,"msg":"Too many requests"}', b"<html>", TRADE, FUTURE, TRADE]
    for scan in (*FORMS.values(), None):
        found = binance.decode_frames(messages(bodies, statuses=[429, 502, 418, 200, None]), scan)
        assert (found.control, found.refused.num_rows) == (3, 0)
        assert found.tables[TRADES]["message_index"].to_pylist() == [3, 4]


def test_no_messages_give_no_rows():
    found = binance.decode(messages([]))
    assert (found.control, found.fact_count, found.refused.num_rows) == (0, 0, 0)
