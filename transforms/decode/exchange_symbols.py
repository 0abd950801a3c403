"""What the symbols of Finnhub and Alpha Vantage say about their market: a suffix names the exchange, none means the US."""

from __future__ import annotations

import re

_SUFFIX_MICS = {
    "L": "XLON", "LON": "XLON", "IL": "XLON", "DE": "XETR", "DEX": "XETR", "F": "XFRA", "FRK": "XFRA",
    "PA": "XPAR", "PAR": "XPAR",
    "AS": "XAMS", "AMS": "XAMS", "BR": "XBRU", "LS": "XLIS", "MI": "XMIL", "MC": "XMAD", "SW": "XSWX", "VI": "XWBO",
    "OL": "XOSL", "ST": "XSTO", "HE": "XHEL", "CO": "XCSE", "TO": "XTSE", "TRT": "XTSE", "V": "XTSX", "TRV": "XTSX",
    "T": "XTKS", "HK": "XHKG", "HKG": "XHKG", "AX": "XASX", "NZ": "XNZE", "KS": "XKRX", "TW": "XTAI", "SI": "XSES",
    "SS": "XSHG", "SHH": "XSHG", "SZ": "XSHE", "SHZ": "XSHE", "NS": "XNSE", "BO": "XBOM", "BSE": "XBOM", "SA": "BVMF",
    "SAO": "BVMF", "MX": "XMEX", "JO": "XJSE", "TA": "XTAE", "JK": "XIDX",
}  # fmt: skip
"""Suffix -> MIC, of both providers. A single letter that is none of these is a US share class, as in BRK.B."""
_CRYPTO_VENUES = frozenset({"BINANCE", "BYBIT", "COINBASE", "KRAKEN", "BITSTAMP", "OKX", "OKEX", "BITFINEX", "KUCOIN", "HUOBI"})
_FX_VENUES = frozenset({"OANDA", "IC MARKETS", "FXCM", "FOREX", "PEPPERSTONE", "FXPIG", "ICM", "FXPRO", "SAXO", "PEPPERSTONEUK"})
_US_STOCK = re.compile(r"[A-Z0-9]{1,10}(?:[.\-][A-Z]{1,2})?\Z")
US = "US"
"""The hint `exchange` of a US listing whose venue is not told."""


def hints(symbol: str) -> dict[str, object]:
    """Return the hints `mic`, `exchange`, `asset_class` and `currency` that a symbol itself gives; nothing where it gives none.

    `BINANCE:BTCUSDT` is crypto, `OANDA:EUR_USD` FX, `TSCO.LON` of London, `AAPL` and `BRK.B` of the US.
    """
    venue, colon, _ = symbol.partition(":")
    if colon:
        if venue in _CRYPTO_VENUES:
            return {"asset_class": "crypto"}
        return {"asset_class": "fx"} if venue in _FX_VENUES else {}
    stem, dot, suffix = symbol.rpartition(".")
    if dot and stem and suffix in _SUFFIX_MICS:
        return {"mic": _SUFFIX_MICS[suffix], "asset_class": "equity"}
    if dot and len(suffix) > 1:
        return {}
    return {"exchange": US, "asset_class": "equity", "currency": "USD"} if _US_STOCK.match(symbol) else {}
