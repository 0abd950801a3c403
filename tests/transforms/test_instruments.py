import pytest

from lake.errors import InvalidValueError
from transforms.instruments import instrument_of, yahoo_asset_class, yahoo_mic


def test_us_feeds_that_name_different_venues_mean_one_instrument():
    named = [
        instrument_of("yahoo", "chart", "AAPL", "XNAS", "equity"),
        instrument_of("csv", "bars", "AAPL", "XNAS", None),
        instrument_of("ice", "reorg", "AAPL", "XNYS", None),
        instrument_of("yahoo", "chart", "aapl", "ARCX", "etf"),
    ]
    assert {one.identity for one in named} == {"listing:US/AAPL"}
    assert len({one.instrument_id for one in named}) == 1
    assert not named[0].is_provisional


@pytest.mark.parametrize("symbol", ["BRK-B", "BRK.B", "BRK/B", "BRK B"])
def test_a_share_class_is_spelt_one_way(symbol: str):
    assert instrument_of("yahoo", "chart", symbol, "XNYS", "equity").identity == "listing:US/BRK.B"


def test_other_exchanges_keep_their_mic_and_lose_yahoos_suffix():
    assert instrument_of("yahoo", "chart", "OCDO.L", "XLON", "equity").identity == "listing:XLON/OCDO"
    assert instrument_of("csv", "bars", "OCDO", "XLON", None).identity == "listing:XLON/OCDO"
    assert instrument_of("csv", "bars", "BT.A", "XLON", None).identity == "listing:XLON/BT.A"


def test_a_pair_is_another_instrument_on_another_venue_and_market():
    names = {
        instrument_of("binance", "spot", "BTCUSDT", None, "crypto").identity,
        instrument_of("binance", "usdm", "BTCUSDT", None, "crypto").identity,
        instrument_of("yahoo", "chart", "BTC-USD", None, "crypto").identity,
    }
    assert names == {"listing:BINANCE/BTCUSDT:spot", "listing:BINANCE/BTCUSDT:usdm", "provider:yahoo/BTC-USD"}


@pytest.mark.parametrize(
    ("symbol", "mic", "asset"), [("^GSPC", None, "index"), ("0P0000XTS7", "PINX", "fund"), ("EURUSD=X", None, "fx")]
)
def test_what_no_exchange_lists_is_provisional(symbol: str, mic: str | None, asset: str):
    found = instrument_of("yahoo", "chart", symbol, mic, asset)
    assert found.identity == f"provider:yahoo/{symbol}"
    assert found.is_provisional


@pytest.mark.parametrize("symbol", ["", "  ", "A\nB", "A" * 65])
def test_a_symbol_that_is_no_name_is_refused(symbol: str):
    with pytest.raises(InvalidValueError, match="symbol"):
        instrument_of("yahoo", "chart", symbol, None, None)


def test_yahoos_words_become_ours():
    assert [yahoo_mic(name) for name in ("NMS", "NYQ", "PCX", "LSE", "SNP", "CCC", None)] == [
        "XNAS", "XNYS", "ARCX", "XLON", None, None, None,
    ]  # fmt: skip
    assert [yahoo_asset_class(name) for name in ("EQUITY", "MUTUALFUND", "CURRENCY", "MOONROCK", None)] == [
        "equity", "fund", "fx", "other", "other",
    ]  # fmt: skip
