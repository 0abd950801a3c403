"""The normalized layer beyond trading: rates, index levels, fundamentals, news, alternative data, what a chain tells of options.

All of them are small, keep every revision, and are found by their run.
"""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Column, Encoding, PublishedBy, Quantity, Table

_NUMBER_TYPE = "decimal(38,12)"

_BASE_CURRENCY = Quantity("base_currency", "string", "ISO 4217 currency of which one unit is priced.")
_QUOTE_CURRENCY = Quantity("quote_currency", "string", "ISO 4217 currency in which the price is told.")
_RATE = Quantity("rate", "decimal(28,12)", "Units of quote_currency for one unit of base_currency, as told.", Encoding.PLAIN)
_RATE_KIND = Quantity("rate_kind", "string", "`reference` (a fixing), `spot`, or `end_of_day`.")
_MEASURE = Quantity("measure", "string", "What the number measures, in the provider's or list's word.")
_NUMBER = Quantity("value", _NUMBER_TYPE, "The number as delivered; null where it is text.", Encoding.PLAIN)
_TEXT = Quantity("text_value", "string", "The value where it is not a number.", Encoding.PLAIN)
_UNIT = Quantity("unit", "string", "Unit of the number: a currency, `shares`, `percent`, `ratio`; null where not told.")
_STATEMENT = Quantity(
    "statement", "string", "overview, income, balance, cash_flow, earnings, estimate, metric: where the item stands."
)
_ITEM = Quantity("item", "string", "The line, in the provider's word.")
_PERIOD = Quantity("period", "string", "annual, quarterly, ttm, or point.")
_PERIOD_END = Quantity("period_end", "date", "Last day of the fiscal period; of a point in time, its day.")
_NEWS_ID = Quantity("news_id", "string", "The provider's id of the article.", Encoding.DELTA_BYTES)
_HEADLINE = Quantity("headline", "string", "Title as delivered.", Encoding.PLAIN)
_SUMMARY = Quantity("summary", "string", "Summary as delivered; the body stays in the raw message.", Encoding.PLAIN)
_AUTHOR = Quantity("author", "string", "Who wrote it.")
_SOURCE = Quantity("source", "string", "Who published it first, as the provider names it.")
_URL = Quantity("url", "string", "Where it stands.", Encoding.PLAIN)
_UPDATED = Quantity("ts_updated", "timestamptz", "Last change by the provider's clock.", Encoding.DELTA)
_UNDERLYING = Quantity("underlying", "string", "The underlying's symbol as the provider writes it.")
_OPEN_INTEREST = Quantity("open_interest", "long", "Contracts open, as told.", Encoding.DELTA)
_DAY_VOLUME = Quantity("day_volume", "long", "Contracts traded in the session so far, as told.", Encoding.DELTA)
_GREEK_TYPE = "decimal(28,18)"
_IMPLIED_VOLATILITY = Quantity("implied_volatility", _GREEK_TYPE, "A year's, as a fraction, as told.", Encoding.PLAIN)
_GREEKS = tuple(
    Quantity(name, _GREEK_TYPE, f"{name.capitalize()} as the provider computed it.", Encoding.PLAIN)
    for name in ("delta", "gamma", "theta", "vega", "rho")
)


def _who(is_symbol_required: bool = True) -> tuple[Column, ...]:
    return (
        *q.instrument_columns(is_symbol_required),
        q.SESSION_DATE.at(7, required=True),
        q.TS_EVENT.at(8, required=True),
        q.KNOWN_AT.at(9, required=True),
        q.DELIVERED_AT.at(10),
        *q.lineage_columns(11, with_run=True),
    )


_BY_TIME = ("instrument_id", "ts_event", "known_at")


def _table(name: str, doc: str, columns: tuple[Column, ...], key: tuple[str, ...], order: tuple[str, ...] = _BY_TIME) -> Table:
    """Return a table of this layer; `key` is what names a fact beside provider, feed and known_at."""
    return Table(
        name,
        doc,
        columns=columns,
        partition=(("provider", "identity"),),
        order=order,
        key=("provider", "feed", *key, "known_at"),
        published_by=PublishedBy.RUN,
    )


FX_RATES = _table(
    "normalized.fx_rates",
    "A rate between two currencies as a source published it for an instant: central banks' fixings, spot rates.",
    columns=(
        *_who(),
        _BASE_CURRENCY.at(15, required=True),
        _QUOTE_CURRENCY.at(16, required=True),
        _RATE.at(17, required=True),
        _RATE_KIND.at(18, required=True),
    ),
    key=("symbol", "rate_kind", "ts_event"),
)

INDEX_LEVELS = _table(
    "normalized.index_levels",
    "A level, return or yield of an index or benchmark series; bars of an index stand in normalized.bars.",
    columns=(*_who(), _MEASURE.at(15, required=True), _NUMBER.at(16, required=True), _UNIT.at(17)),
    key=("symbol", "measure", "ts_event"),
)

FUNDAMENTALS = _table(
    "normalized.fundamentals",
    "One line of a company's statement or profile, as a provider reports it for a period.",
    columns=(
        *_who(),
        _STATEMENT.at(15, required=True),
        _ITEM.at(16, required=True),
        _PERIOD.at(17, required=True),
        _PERIOD_END.at(18, required=True),
        _NUMBER.at(19),
        _TEXT.at(20),
        _UNIT.at(21),
        q.ANNOUNCEMENT_DATE.at(22),
    ),
    order=("instrument_id", "statement", "period_end", "item", "known_at"),
    key=("symbol", "statement", "item", "period", "period_end"),
)

NEWS = _table(
    "normalized.news",
    "One article for one of the instruments it names; without a symbol, for the market as a whole.",
    columns=(
        *_who(is_symbol_required=False),
        _NEWS_ID.at(15, required=True),
        _HEADLINE.at(16, required=True),
        _SUMMARY.at(17),
        _AUTHOR.at(18),
        _SOURCE.at(19),
        _URL.at(20),
        _UPDATED.at(21),
    ),
    key=("news_id", "symbol"),
)

ALTERNATIVE = _table(
    "normalized.alternative",
    "A number or text about an instrument that no other table holds: sentiment, short interest, scores, counts.",
    columns=(*_who(), _MEASURE.at(15, required=True), _NUMBER.at(16), _TEXT.at(17), _UNIT.at(18)),
    key=("symbol", "measure", "ts_event"),
)

OPTION_OPEN_INTEREST = _table(
    "normalized.option_open_interest",
    "What a chain tells of an option beyond its quote: open interest, volume so far, volatility and greeks as delivered.",
    columns=(
        *_who(),
        _UNDERLYING.at(15),
        _OPEN_INTEREST.at(16),
        _DAY_VOLUME.at(17),
        _IMPLIED_VOLATILITY.at(18),
        *(greek.at(19 + number) for number, greek in enumerate(_GREEKS)),
    ),
    key=("symbol", "ts_event"),
)

TABLES = (FX_RATES, INDEX_LEVELS, FUNDAMENTALS, NEWS, ALTERNATIVE, OPTION_OPEN_INTEREST)
