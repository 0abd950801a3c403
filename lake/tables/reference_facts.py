"""Reference data as lists tell it: identifiers, venues, sessions, classifications, contracts, memberships, changes of symbols.

Every row comes from a message, keeps its versions by `known_at` and its range of dates `[start_date, end_date)`. A fact of no
instrument (a venue, a session) has neither instrument nor symbol.
"""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Column, Encoding, PublishedBy, Quantity, Table

_AMOUNT_TYPE = "decimal(38,18)"


def _text(name: str, doc: str) -> Quantity:
    return Quantity(name, "string", doc)


_START_DATE = Quantity("start_date", "date", "First date the fact holds, included; null: not told.")
_END_DATE = Quantity("end_date", "date", "First date it no longer holds; null: still does.")
_SCHEME = _text("scheme", "isin, cusip, sedol, figi, composite_figi, share_class_figi, cik, lei, or a provider's own id.")
_IDENTIFIER = Quantity("identifier", "string", "The identifier, check digit proven.", Encoding.DELTA_BYTES)
_OPERATING_MIC = _text("operating_mic", "MIC of the operator; equal to `mic` for an operating MIC.")
_IS_SEGMENT = Quantity("is_segment", "boolean", "True for a segment of an operating MIC.")
_VENUE_NAME = _text("venue_name", "Name of the institution.")
_ACRONYM = _text("acronym", "Its acronym.")
_COUNTRY = _text("country", "ISO 3166 code of two letters where the list has one, else as written.")
_CITY = _text("city", "City, as written.")
_REGION = _text("region", "State or province, as written.")
_WEBSITE = _text("website", "Where it is found in the web.")
_VENUE_STATUS = _text("status", "active, modified or expired, in the list's word.")
_COMMENTS = _text("comments", "What the list remarks.")
_OPENS = Quantity("opens_at", "timestamptz", "When the session opens, included.", Encoding.DELTA)
_CLOSES = Quantity("closes_at", "timestamptz", "When it closes.", Encoding.DELTA)
_BREAK_START = Quantity("break_start", "timestamptz", "When a break (lunch) begins; null: none.", Encoding.DELTA)
_BREAK_END = Quantity("break_end", "timestamptz", "When the break ends; null: none.", Encoding.DELTA)
_MARKET = _text("market", "The market in the list's word, like `cme` or `Future-cme-ES`.")
_ZONE = _text("zone", "IANA zone of the local times.")
_DAY_KIND = _text("day_kind", "weekday, holiday, bank_holiday, early_close or late_open.")
_WEEKDAY = Quantity("weekday", "int", "1 Monday to 7 Sunday, of a `weekday`.")
_DAY = Quantity("day", "date", "The day, of all other kinds.")
_STATE = _text("state", "premarket, market or postmarket, of a `weekday`.")
_FROM = _text("local_start", "Local time at which the state begins, or trading opens late, HH:MM:SS.")
_TO = _text("local_end", "Local time at which it ends (24:00:00: midnight after), or trading closes early.")
_CODE = _text("currency_code", "ISO 4217 code, or the code of a minor unit (GBX, GBp, ZAc, ILA).")
_NUMERIC = _text("numeric_code", "ISO 4217 number, three digits.")
_MINOR_DIGITS = Quantity("minor_digits", "int", "Decimals of the currency; null where the list says N.A.")
_MAJOR = _text("major_currency", "Currency that a minor unit is a part of; null for a currency.")
_PER_MAJOR = Quantity("units_per_major", "int", "How many of the minor unit make one of the currency; 1 for a currency.")
_CURRENCY_NAME = _text("currency_name", "Name of the currency.")
_CLASS_SCHEME = _text("scheme", "Who classifies: gics, nasdaq, financedatabase, lean.")
_LEVEL = _text("level", "What is classified, like sector, sub_industry, market_category, delisted.")
_LABEL = _text("label", "The class, as written.")
_ISSUER = _text("issuer", "Key of the issuer: `cik:0000320193`, `lei:…`, else `name:…`; share classes share it.")
_ISSUER_NAME = _text("issuer_name", "Name of the issuer.")
_PARENT = _text("parent_issuer", "Key of the issuer that owns it; null where not told.")
_SHARE_CLASS = _text("share_class", "Class of the shares, like A; null where not told.")
_FOUNDED = _text("founded", "When it was founded, as written.")
_UNDERLYING = _text("underlying", "Symbol of the underlying.")
_EXPIRY = Quantity("expiry_date", "date", "Last day it can be exercised or is traded.")
_RIGHT = _text("option_right", "call or put.")
_STRIKE = Quantity("strike", q.PRICE_TYPE, "Strike price, in the row's currency.", Encoding.PLAIN)
_STYLE = _text("exercise_style", "american or european; null where not told.")
_DELIVERABLE = _text("deliverable", "What one contract delivers, where told; null: not told.")
_MULTIPLIER = Quantity(
    "multiplier", _AMOUNT_TYPE, "Units of the underlying of one contract; null where not told.", Encoding.PLAIN
)
_TICK_SIZE = Quantity("tick_size", _AMOUNT_TYPE, "Smallest step of the price; null where not told.", Encoding.PLAIN)
_PRODUCT = _text("product", "The product or root, like ES; `*` for all of a market.")
_LEGS = _text("legs", "Legs of a spread as `ratio symbol`, joined by commas; null for an outright.")
_DESCRIPTION = _text("description", "In the list's words.")
_LOT_SIZE = Quantity("lot_size", _AMOUNT_TYPE, "Smallest quantity that can be ordered, or a step of it.", Encoding.PLAIN)
_ROUND_LOT = Quantity("round_lot", "long", "Units of a round lot.", Encoding.DELTA)
_LEAST_ORDER = Quantity("minimum_order_size", _AMOUNT_TYPE, "Smallest order.", Encoding.PLAIN)
_MAGNIFIER = Quantity("price_magnifier", _AMOUNT_TYPE, "What told prices are divided by.", Encoding.PLAIN)
_STRIKE_MULTIPLIER = Quantity("strike_multiplier", _AMOUNT_TYPE, "What strikes are multiplied by.", Encoding.PLAIN)
_MARKET_TICKER = _text("market_ticker", "The venue's own ticker.")
_KIND_OF_PRODUCT = _text("product_kind", "equity, future, option, crypto, cfd …, in the list's word.")
_INDEX = _text("index_name", "The index, like SP500.")
_OLD_SYMBOL = _text("old_symbol", "The symbol until start_date.")
_NEW_SYMBOL = _text("new_symbol", "The symbol from start_date on; null: listed no more.")
_SCOPE = _text("scope", "Where the symbols mean this: US, a MIC, or `provider:NAME`.")
_JOINED = Quantity("joined_id", "long", "The instrument that it was found to be.", Encoding.DELTA)
_REASON = _text("reason", "Why, in a person's words.")


def _told(*, of_instrument: bool = True) -> tuple[Column, ...]:
    """Return the columns that every table begins with."""
    return (
        *q.instrument_columns(of_instrument),
        _START_DATE.at(7),
        _END_DATE.at(8),
        q.KNOWN_AT.at(9, required=True),
        q.DELIVERED_AT.at(10),
        *q.lineage_columns(11, with_run=True),
    )


def _table(name: str, doc: str, key: tuple[str, ...], *own: Column, of_instrument: bool = True) -> Table:
    """Return a table of reference facts; `key` is what names a fact beside provider and feed."""
    return Table(
        f"reference.{name}",
        doc,
        columns=(*_told(of_instrument=of_instrument), *own),
        partition=(),
        order=(*key, "known_at"),
        key=("provider", "feed", *key, "known_at"),
        published_by=PublishedBy.RUN,
    )


IDENTIFIERS = _table(
    "identifiers",
    "An identifier of an instrument under a scheme, its check digit proven.",
    ("symbol", "scheme", "identifier"),
    _SCHEME.at(15, required=True),
    _IDENTIFIER.at(16, required=True),
)
VENUES = _table(
    "venues",
    "A venue of ISO 10383: an operating MIC or a segment of one.",
    ("mic",),
    _OPERATING_MIC.at(15, required=True),
    _IS_SEGMENT.at(16, required=True),
    _VENUE_NAME.at(17),
    _ACRONYM.at(18),
    _COUNTRY.at(19),
    _CITY.at(20),
    _WEBSITE.at(21),
    _VENUE_STATUS.at(22),
    _COMMENTS.at(23),
    of_instrument=False,
)
SESSIONS = _table(
    "sessions",
    "A trading session of a venue: open and close, half days and special sessions included, and its break.",
    ("mic", "session_date"),
    q.SESSION_DATE.at(15, required=True),
    _OPENS.at(16, required=True),
    _CLOSES.at(17, required=True),
    _BREAK_START.at(18),
    _BREAK_END.at(19),
    of_instrument=False,
)
MARKET_HOURS = _table(
    "market_hours",
    "When a market trades in its local time: states of each weekday, holidays, early closes, late opens.",
    ("market", "day_kind", "weekday_key", "local_start"),
    _MARKET.at(15, required=True),
    _ZONE.at(16, required=True),
    _DAY_KIND.at(17, required=True),
    _text("weekday_key", "The weekday's number or the day, as text: what names the row.").at(18, required=True),
    _WEEKDAY.at(19),
    _DAY.at(20),
    _STATE.at(21),
    _FROM.at(22, required=True),
    _TO.at(23),
    of_instrument=False,
)
CURRENCIES = _table(
    "currencies",
    "A currency of ISO 4217, or a minor unit that prices are quoted in, with its factor.",
    ("currency_code",),
    _CODE.at(15, required=True),
    _NUMERIC.at(16),
    _MINOR_DIGITS.at(17),
    _MAJOR.at(18),
    _PER_MAJOR.at(19, required=True),
    _CURRENCY_NAME.at(20),
    of_instrument=False,
)
CLASSIFICATIONS = _table(
    "classifications",
    "The class of an instrument under a scheme, level by level.",
    ("symbol", "scheme", "level"),
    _CLASS_SCHEME.at(15, required=True),
    _LEVEL.at(16, required=True),
    _LABEL.at(17, required=True),
)
ISSUERS = _table(
    "issuers",
    "Who issued an instrument; share classes of one issuer share its key.",
    ("symbol",),
    _ISSUER.at(15, required=True),
    _ISSUER_NAME.at(16),
    _PARENT.at(17),
    _SHARE_CLASS.at(18),
    _COUNTRY.at(19),
    _REGION.at(20),
    _CITY.at(21),
    _WEBSITE.at(22),
    _FOUNDED.at(23),
)
OPTION_CONTRACTS = _table(
    "option_contracts",
    "The terms of an option: what its OCC symbol says, and what a list tells beyond it.",
    ("symbol",),
    _UNDERLYING.at(15, required=True),
    _EXPIRY.at(16, required=True),
    _RIGHT.at(17, required=True),
    _STRIKE.at(18, required=True),
    _STYLE.at(19),
    _MULTIPLIER.at(20),
    _DELIVERABLE.at(21),
)
FUTURES_CONTRACTS = _table(
    "futures_contracts",
    "The terms of a future, or of all futures of a product (no symbol, no expiry).",
    ("market", "product", "contract"),
    _MARKET.at(15, required=True),
    _PRODUCT.at(16, required=True),
    _text("contract", "The contract's symbol, `*` for the product itself.").at(17, required=True),
    _EXPIRY.at(18),
    _MULTIPLIER.at(19),
    _TICK_SIZE.at(20),
    _LEGS.at(21),
    _DESCRIPTION.at(22),
    of_instrument=False,
)
TRADING_RULES = _table(
    "trading_rules",
    "How a market trades a product: steps of price and quantity, multiplier, lots.",
    ("market", "product_kind", "product"),
    _MARKET.at(15, required=True),
    _KIND_OF_PRODUCT.at(16, required=True),
    _PRODUCT.at(17, required=True),
    _DESCRIPTION.at(18),
    _MULTIPLIER.at(19),
    _TICK_SIZE.at(20),
    _LOT_SIZE.at(21),
    _ROUND_LOT.at(22),
    _MARKET_TICKER.at(23),
    _LEAST_ORDER.at(24),
    _MAGNIFIER.at(25),
    _STRIKE_MULTIPLIER.at(26),
    of_instrument=False,
)
INDEX_CONSTITUENTS = _table(
    "index_constituents",
    "Membership of an instrument in an index, [start_date, end_date).",
    ("index_name", "symbol", "start_date"),
    _INDEX.at(15, required=True),
)
SYMBOL_CHANGES = _table(
    "symbol_changes",
    "The instrument that was called old_symbol is called new_symbol from start_date on, or is listed no more.",
    ("scope", "old_symbol", "start_date"),
    _SCOPE.at(15, required=True),
    _OLD_SYMBOL.at(16, required=True),
    _NEW_SYMBOL.at(17),
    of_instrument=False,
)
INSTRUMENT_JOINS = _table(
    "instrument_joins",
    "Two ids found to be one instrument: rows of the first, of [start_date, end_date), belong to the second.",
    ("identity", "start_date"),
    q.IDENTITY.at(15, required=True, doc="Identity key of the instrument that is joined to another."),
    _JOINED.at(16, required=True),
    _text("joined_identity", "Identity key of the other.").at(17, required=True),
    _REASON.at(18),
    of_instrument=False,
)

TABLES = (
    *(IDENTIFIERS, VENUES, SESSIONS, MARKET_HOURS, CURRENCIES, CLASSIFICATIONS, ISSUERS),
    *(OPTION_CONTRACTS, FUTURES_CONTRACTS, TRADING_RULES, INDEX_CONSTITUENTS, SYMBOL_CHANGES, INSTRUMENT_JOINS),
)
