"""Saved answers of Alpha Vantage: which feed a file is of, by what its answer holds, JSON or CSV."""

from __future__ import annotations

import re
from collections.abc import Callable

_SERIES = (b'"TimeSeries', b'"WeeklyTimeSeries', b'"WeeklyAdjusted', b'"MonthlyTimeSeries', b'"MonthlyAdjusted')
_PAIR = (b'FromSymbol"', b'DigitalCurrencyCode"', b'"RealtimeCurrencyExchangeRate"')
_COMPANY = (
    *(b'"annualReports":', b'"quarterlyReports":', b'"annualEarnings":', b'"quarterlyEarnings":', b'"estimates":[{"date"'),
    *(b'"AssetType":', b'"net_assets":'),
)
_INDICATORS = (b'"TechnicalAnalysis:', b'"RankA:', b'"CryptoRating(FCAS)"', b'"top_gainers":', b'"most_actively_traded":')
_LISTS = (
    *(b'"bestMatches":', b'"markets":[{"market_type"', b"symbol,name,exchange,assetType,", b"symbol,name,reportDate,"),
    *(b"symbol,name,ipoDate,", b"symbol,name,type,region,"),
)
_ECONOMIC = re.compile(rb'\{"name":"[^"]*","interval":"[^"]*","unit":"[^"]*","data":\[')
_ACTIONS = re.compile(rb'\{"symbol":"[^"]*","data":\[(\{"(ex_dividend_date|effective_date)":|\])')
_BULK = re.compile(rb'\{"endpoint":"RealtimeBulkQuotes","message":')
_CSV = re.compile(rb"(time|timestamp),open,|symbol,open,high,low,price,", re.IGNORECASE)
_REFUSALS = (b"AlphaVantage", b'{"ErrorMessage":"', b"alphavantage.co")


def _is_stocks(packed: bytes) -> bool:
    is_series = packed.startswith(b'{"MetaData":') and any(word in packed for word in _SERIES)
    is_told = packed.startswith(b'{"GlobalQuote":') or _ACTIONS.match(packed) is not None or _BULK.match(packed) is not None
    return (is_series and not _is_currencies(packed)) or is_told or _CSV.match(packed) is not None


def _is_currencies(packed: bytes) -> bool:
    return packed.startswith(b'{"') and any(word in packed for word in _PAIR)


def _is_refusal(packed: bytes) -> bool:
    return packed.startswith(b"{") and any(word in packed[:400] for word in _REFUSALS) and b'"data":[' not in packed


_LOOKS: dict[str, Callable[[bytes], bool]] = {
    "stocks": lambda packed: _is_stocks(packed) or _is_refusal(packed),
    "currencies": lambda packed: _is_currencies(packed) or _is_refusal(packed) or _CSV.match(packed) is not None,
    "fundamentals": lambda packed: any(word in packed for word in _COMPANY) or _is_refusal(packed),
    "indicators": lambda packed: any(word in packed for word in _INDICATORS) or _ECONOMIC.match(packed) is not None,
    "news": lambda packed: b'"sentiment_score_definition":' in packed,
    "options": lambda packed: b'"contractID":' in packed or packed.startswith(b"contractID,"),
    "reference": lambda packed: any(word in packed for word in _LISTS),
}
ALPHA_VANTAGE_FEEDS = tuple(_LOOKS)


def is_alpha_vantage(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of a feed of Alpha Vantage; a refusal names none, and is any feed's that may be refused."""

    def is_one(name: str, beginning: bytes) -> bool:
        return _LOOKS[feed](b"".join(beginning[:8192].split()))

    return is_one
