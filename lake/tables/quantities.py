"""Every quantity, defined once: its name, type, unit and meaning in all tables."""

from __future__ import annotations

from lake.tables.definition import Column, Encoding, Quantity

PRICE_TYPE = "decimal(18,9)"
SIZE_TYPE = "decimal(18,8)"
VOLUME_TYPE = "decimal(28,8)"
DOLLAR_VOLUME_TYPE = "decimal(38,17)"
ADJUSTED_PRICE_TYPE = "decimal(28,10)"
FACTOR_TYPE = "decimal(38,18)"

# --- who and what
PROVIDER = Quantity("provider", "string", "Who delivered the fact, like `binance`.")
FEED = Quantity("feed", "string", "Which of the provider's feeds, like `spot`.")
SYMBOL = Quantity("symbol", "string", "The instrument's name as the provider writes it; never a key by itself.")
INSTRUMENT_ID = Quantity(
    "instrument_id", "long", "Permanent id of the instrument, derived from its identity key.", Encoding.DELTA
)
IDENTITY = Quantity("identity", "string", "Identity key that the instrument id is derived from.", Encoding.DELTA_BYTES)
MIC = Quantity("mic", "string", "ISO 10383 market identifier of the venue; null where the provider names none.")
CURRENCY = Quantity("currency", "string", "ISO 4217 currency; minor units keep the provider's spelling (GBp, ZAc, ILA).")
VENUE_SESSION = Quantity("venue_session", "string", "The venue's own session number, where its feed has one.")
CHANNEL = Quantity("channel", "string", "The provider's channel or stream, like `btcusdt@depth@100ms`.")

# --- time
SESSION_DATE = Quantity("session_date", "date", "Trading day by the venue's calendar (crypto: UTC day; FX: 17:00 New York).")
TS_EVENT = Quantity("ts_event", "timestamptz", "The venue's or provider's clock, UTC; null where none.", Encoding.DELTA)
TS_EVENT_NANOS = Quantity("ts_event_nanos", "int", "Nanoseconds of the event beyond the microsecond, 0-999.")
TS_RECV = Quantity("ts_recv", "timestamptz", "Our receive clock, UTC.", Encoding.DELTA, is_stamp=True)
TS_RECV_NANOS = Quantity("ts_recv_nanos", "int", "Nanoseconds of the receipt beyond the microsecond.", is_stamp=True)
SEQUENCE = Quantity("sequence", "long", "The venue's or provider's sequence number.", Encoding.DELTA)
KNOWN_AT = Quantity("known_at", "timestamptz", "When the market could know the fact.", Encoding.DELTA)
DELIVERED_AT = Quantity(
    "delivered_at",
    "timestamptz",
    "When the provider delivered the answer, by its response, manifest or --received-at; null when unknown.",
    Encoding.DELTA,
    is_stamp=True,
)
RECORDED_AT = Quantity("recorded_at", "timestamptz", "When tickhouse wrote the row.", Encoding.DELTA, is_stamp=True)

# --- lineage
CAPTURE_ID = Quantity("capture_id", "string", "The capture the message belongs to.", is_stamp=True)
MESSAGE_SEQ = Quantity("message_seq", "long", "Number of the message in its capture.", Encoding.DELTA, is_stamp=True)
ORDINAL = Quantity("ordinal", "int", "Number of the fact in its message.", Encoding.DELTA, is_stamp=True)
RUN_ID = Quantity("run_id", "string", "The run that wrote the row; ops.publications tells when it appeared.", is_stamp=True)
EVENT_ID = Quantity(
    "event_id", "string", "capture_id:message_seq:ordinal, or table/key of a derived row.", Encoding.DELTA_BYTES, is_stamp=True
)

# --- trades, quotes, books
TRADE_ID = Quantity("trade_id", "string", "The venue's own id of the trade.", Encoding.DELTA_BYTES)
PRICE = Quantity("price", PRICE_TYPE, "As traded, in the row's currency, per unit of the instrument.", Encoding.DELTA)
SIZE = Quantity("size", SIZE_TYPE, "Units of the instrument.")
SIDE = Quantity("side", "string", "`buy` or `sell`: of the aggressor for a trade, of the book for a level.")
CONDITIONS = Quantity("conditions", "string", "The provider's condition codes, joined by commas.")
BID_PRICE = Quantity("bid_price", PRICE_TYPE, "Best bid, in the row's currency.", Encoding.DELTA)
BID_SIZE = Quantity("bid_size", SIZE_TYPE, "Units bid at the best price.")
ASK_PRICE = Quantity("ask_price", PRICE_TYPE, "Best offer, in the row's currency.", Encoding.DELTA)
ASK_SIZE = Quantity("ask_size", SIZE_TYPE, "Units offered at the best price.")
TRADE_EVENT_KIND = Quantity("kind", "string", "`correction`, `cancel` (by the reporter) or `break` (by the venue).")
FIRST_SEQUENCE = Quantity("first_sequence", "long", "First sequence number the update covers.", Encoding.DELTA)
PREVIOUS_SEQUENCE = Quantity("previous_sequence", "long", "Sequence of the update before, where told.", Encoding.DELTA)
EVENT_INDEX = Quantity("event_index", "int", "Number of the level within its update.", Encoding.DELTA)
BOOK_EVENT = Quantity("event", "string", "`snapshot` or `update`.")
ACTION = Quantity(
    "action",
    "string",
    "Of an order: `add` (size: its own), `modify` (size: what it is now), `replace` (new_order_id, price and size stand "
    "instead), `cancel` (size: taken off), `delete`, `execute` (size: executed), `fill` (size: executed, taken off by the cancel "
    "or modify that follows). `clear` empties the book. Null for a level.",
)
ORDER_ID = Quantity("order_id", "string", "The venue's id of the order; null for a price level.", Encoding.DELTA_BYTES)
NEW_ORDER_ID = Quantity("new_order_id", "string", "Id of the order that replaces it.", Encoding.DELTA_BYTES)
PARTICIPANT = Quantity("participant", "string", "Who entered it, as the venue names them (MPID).")
IS_COMPLETE = Quantity(
    "is_complete", "boolean", "False while more events of the same update follow; null where the feed does not tell."
)

# --- bars
INTERVAL = Quantity("interval", "string", "Length of the bar: 1s, 1m, 60m, 1d, 1wk, 1mo.")
TS_OPEN = Quantity("ts_open", "timestamptz", "Start of the bar, included.", Encoding.DELTA)
OPEN = Quantity("open", PRICE_TYPE, "First price, on the row's basis.", Encoding.DELTA)
HIGH = Quantity("high", PRICE_TYPE, "Highest price, on the row's basis.", Encoding.DELTA)
LOW = Quantity("low", PRICE_TYPE, "Lowest price, on the row's basis.", Encoding.DELTA)
CLOSE = Quantity("close", PRICE_TYPE, "Last price, on the row's basis.", Encoding.DELTA)
VOLUME = Quantity("volume", VOLUME_TYPE, "Units traded in the bar, on the row's basis; null where not reported.")
TRADE_COUNT = Quantity("trade_count", "long", "Trades in the bar; null where not reported.", Encoding.DELTA)
QUOTE_COUNT = Quantity("quote_count", "long", "Quotes in the bar that tell its price; null for bars of trades.", Encoding.DELTA)
DOLLAR_VOLUME = Quantity(
    "dollar_volume", DOLLAR_VOLUME_TYPE, "Sum of price times size, exact, in the row's currency; null for bars of quotes."
)
TS_END = Quantity("ts_end", "timestamptz", "End of the bar, not included: never beyond an edge of its session.", Encoding.DELTA)
VWAP = Quantity("vwap", PRICE_TYPE, "Volume-weighted price as delivered; null where not reported.", Encoding.DELTA)
PROVIDER_ADJUSTED_CLOSE = Quantity(
    "provider_adjusted_close", PRICE_TYPE, "The provider's own adjusted close, kept to check ours against.", Encoding.DELTA
)
BASIS = Quantity("basis", "string", "How prices arrived: as_traded, split_adjusted, fully_adjusted.")
PRICE_KIND = Quantity("price_type", "string", "What the prices are of: trade, bid, ask, mid, nav, index.")
IS_FINAL = Quantity("is_final", "boolean", "False while the bar's interval had not ended at delivery.")

# --- corporate actions and adjustment
ACTION_KEY = Quantity("action_key", "string", "Name of the action; its revisions share it.", Encoding.DELTA_BYTES)
ACTION_KIND = Quantity("kind", "string", "`split` or `cash_dividend`.")
EX_DATE = Quantity("ex_date", "date", "First session without the entitlement; factors apply strictly before it.")
RECORD_DATE = Quantity("record_date", "date", "Holders on this date are entitled.")
PAY_DATE = Quantity("pay_date", "date", "Payment or distribution date.")
ANNOUNCEMENT_DATE = Quantity("announcement_date", "date", "Date of declaration.")
RATIO_OLD = Quantity("ratio_old", "long", "Shares before, in lowest terms with ratio_new.")
RATIO_NEW = Quantity("ratio_new", "long", "Shares after, in lowest terms with ratio_old.")
AMOUNT = Quantity("amount", PRICE_TYPE, "Cash per share, in the row's currency, on the share basis told.")
SHARE_BASIS = Quantity("share_basis", "string", "Which share the amount is of: `as_paid`, or `split_adjusted` as of delivery.")
STATUS = Quantity("status", "string", "announced, confirmed, or rescinded.")
PRICE_FACTOR = Quantity("price_factor", FACTOR_TYPE, "Multiplies prices of sessions before ex_date; exact, rounded once.")
VOLUME_FACTOR = Quantity("volume_factor", FACTOR_TYPE, "Multiplies volumes of sessions before ex_date.")
REF_CLOSE = Quantity("ref_close", PRICE_TYPE, "As-traded close of the last session before ex_date, for cash factors.")
REF_SESSION = Quantity("ref_session_date", "date", "The session of ref_close.")
METHOD = Quantity("method", "string", "Name of the formula, like split_ratio or prev_close (CORPORATE_ACTIONS.md).")
INPUTS_HASH = Quantity("inputs_hash", "string", "SHA-256 of the inputs of the row.", Encoding.PLAIN)
AGREED_BY = Quantity("agreed_by", "string", "Feeds whose bar agrees with the winner's, joined by commas.")
DISAGREED_BY = Quantity("disagreed_by", "string", "Feeds whose bar differs, joined by commas.")
UNDONE_OLD = Quantity("undone_ratio_old", "long", "Splits undone to reach as-traded prices: old side of the product.")
UNDONE_NEW = Quantity("undone_ratio_new", "long", "Splits undone to reach as-traded prices: new side of the product.")

# --- quality and operation
TABLE_NAME = Quantity("table_name", "string", "The table concerned.")
RULE = Quantity("rule", "string", "Name of the rule that refused.")
VALUE = Quantity("value", "string", "The value found.", Encoding.PLAIN)
EXPECTED = Quantity("expected", "string", "What was expected.")
DETAIL = Quantity("detail", "string", "JSON, or words for a person.", Encoding.PLAIN)


def instrument_columns(is_symbol_required: bool = True) -> tuple[Column, ...]:
    """Return the columns of a normalized fact that say who delivered it about what; ids 1 to 6."""
    return (
        INSTRUMENT_ID.at(1, required=is_symbol_required),
        PROVIDER.at(2, required=True),
        FEED.at(3, required=True),
        SYMBOL.at(4, required=is_symbol_required),
        MIC.at(5),
        CURRENCY.at(6),
    )


def lineage_columns(first: int, *, with_run: bool = False) -> tuple[Column, ...]:
    """Return the columns that say which message a fact came in, and which run wrote it; ids from `first` on."""
    place = CAPTURE_ID.at(first, required=True), MESSAGE_SEQ.at(first + 1, required=True), ORDINAL.at(first + 2, required=True)
    return (*place, RUN_ID.at(first + 3, required=True)) if with_run else place
