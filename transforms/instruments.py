"""Who an instrument is: the identity key that its permanent id is derived from.

- A US listing, whichever venue printed it: `listing:US/AAPL`, so that feeds that name XNAS, ARCX or no tape merge.
- Another exchange: `listing:XLON/OCDO`.
- A crypto pair on its venue, whoever tells of it: `listing:BINANCE/BTCUSDT:spot`.
- A US option by its OCC symbol: `listing:OPRA/AAPL240126P00050000`.
- Everything else is known by its provider's symbol only, and provisional: `provider:yahoo/^GSPC`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lake.errors import InvalidValueError
from lake.values import instrument_id_of
from transforms.calendars import US_MICS

YAHOO_MICS = {
    "NMS": "XNAS", "NGM": "XNAS", "NCM": "XNAS", "NAS": "XNAS", "NYQ": "XNYS", "PCX": "ARCX", "BTS": "BATS", "ASE": "XASE",
    "PNK": "PINX", "OQB": "OTCM", "OQX": "OTCM", "LSE": "XLON", "IOB": "XLON", "GER": "XETR", "FRA": "XFRA", "PAR": "XPAR",
    "AMS": "XAMS", "BRU": "XBRU", "LIS": "XLIS", "MIL": "XMIL", "MCE": "XMAD", "EBS": "XSWX", "VIE": "XWBO", "OSL": "XOSL",
    "STO": "XSTO", "HEL": "XHEL", "CPH": "XCSE", "ISE": "XDUB", "TOR": "XTSE", "VAN": "XTSX", "JPX": "XTKS", "TYO": "XTKS",
    "HKG": "XHKG", "ASX": "XASX", "NZE": "XNZE", "KSC": "XKRX", "TAI": "XTAI", "SES": "XSES", "SHH": "XSHG", "SHZ": "XSHE",
    "NSI": "XNSE", "BSE": "XBOM", "SAO": "BVMF", "MEX": "XMEX", "JNB": "XJSE", "TLV": "XTAE", "JKT": "XIDX",
}  # fmt: skip
"""Yahoo `exchangeName` -> MIC. Indices (SNP, DJI, NIM), crypto (CCC), FX (CCY) and futures name no exchange of listings."""

ASSET_CLASSES = frozenset({"equity", "etf", "fund", "index", "fx", "crypto", "future", "option", "other"})

_YAHOO_ASSETS = {
    "EQUITY": "equity", "ETF": "etf", "MUTUALFUND": "fund", "INDEX": "index", "CURRENCY": "fx",
    "CRYPTOCURRENCY": "crypto", "FUTURE": "future",
}  # fmt: skip
_CRYPTO_VENUES = frozenset({"binance", "bybit", "coinbase", "kraken", "bitstamp", "okx"})
_LISTED = frozenset({"equity", "etf", "other"})
LISTED_WITH_SUFFIX = frozenset({"yahoo", "finnhub", "alpha_vantage", "reference"})
"""Providers that write the exchange behind the symbol, as in OCDO.L and TSCO.LON."""
_OCC = re.compile(r"[A-Z0-9]{1,6}\d{6}[CP]\d{8}\Z")


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument's name for good. `is_provisional`: nothing beyond the provider's own symbol is known."""

    instrument_id: int
    identity: str
    is_provisional: bool


def instrument_of(provider: str, feed: str, symbol: str, mic: str | None, asset_class: str | None) -> Instrument:
    """Return who a provider's `symbol` is. Raises InvalidValueError for an empty symbol.

    provider, feed   who says so, like `yahoo`, `chart`
    symbol           as the provider writes it
    mic              ISO 10383, null where the provider names no exchange
    asset_class      one of ASSET_CLASSES; null counts as equity where a MIC is given
    """
    name = symbol.strip()
    if not name or not name.isprintable() or len(name) > 64:
        raise InvalidValueError(f"symbol {symbol!r} of {provider} {feed} is not a name; expected 1-64 printable characters")
    identity = _identity(provider, feed, name, mic, asset_class)
    return Instrument(instrument_id_of(identity), identity, identity.startswith("provider:"))


def yahoo_mic(exchange_name: str | None) -> str | None:
    """Return the MIC of a Yahoo `exchangeName`, None where it names no exchange of listings."""
    return None if exchange_name is None else YAHOO_MICS.get(exchange_name)


def yahoo_asset_class(instrument_type: str | None) -> str:
    """Return our asset class of a Yahoo `instrumentType`; `other` for one we do not know."""
    return _YAHOO_ASSETS.get(instrument_type or "", "other")


def _identity(provider: str, feed: str, symbol: str, mic: str | None, asset_class: str | None) -> str:
    if provider in _CRYPTO_VENUES:
        return f"listing:{provider.upper()}/{symbol.upper()}:{feed}"
    venue, colon, pair = symbol.partition(":")
    if asset_class == "crypto" and colon and venue.lower() in _CRYPTO_VENUES and pair:
        return f"listing:{venue.upper()}/{pair.upper()}:spot"
    if asset_class == "option" and _OCC.match(symbol):
        return f"listing:OPRA/{symbol}"
    if mic is None or (asset_class or "equity") not in _LISTED:
        return f"provider:{provider}/{symbol}"
    if mic in US_MICS:
        return f"listing:US/{us_symbol(symbol)}"
    return f"listing:{mic}/{_without_suffix(provider, symbol)}"


def us_symbol(symbol: str) -> str:
    """Return a US symbol with its share class after a dot, whether written BRK-B, BRK/B, BRK B or BRK.B."""
    return symbol.upper().replace("-", ".").replace("/", ".").replace(" ", ".")


def _without_suffix(provider: str, symbol: str) -> str:
    """Return the symbol without the provider's exchange suffix: the MIC says it already."""
    stem, dot, _ = symbol.rpartition(".")
    return (stem if provider in LISTED_WITH_SUFFIX and dot else symbol).upper()
