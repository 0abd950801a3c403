"""The providers that can be captured, by name: which want a key and where it is looked for. Light to import."""

from __future__ import annotations

from typing import get_args

from ingest.providers import alpaca, alpha_vantage, binance, finnhub, yahoo

KEYED = (alpaca.PROVIDER, finnhub.PROVIDER, alpha_vantage.PROVIDER)
PROVIDERS = (yahoo.PROVIDER, binance.PROVIDER, *KEYED)
KEY_VARIABLES: dict[str, tuple[str, ...]] = {
    alpaca.PROVIDER: ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
    finnhub.PROVIDER: ("FINNHUB_API_KEY",),
    alpha_vantage.PROVIDER: ("ALPHAVANTAGE_API_KEY",),
}
STREAM = "stream"
DATA = (*get_args(alpaca.Kind), STREAM)
