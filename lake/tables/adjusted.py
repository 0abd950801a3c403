"""The adjusted layer: agreed bars, factors, the newest answer ready to read, and bars built from trades and quotes."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Encoding, PublishedBy, Quantity, Table

_ADJ_DOC = "{} restated in the shares of the last session, splits and cash dividends applied."
ADJ_OPEN = Quantity("adj_open", q.ADJUSTED_PRICE_TYPE, _ADJ_DOC.format("Open"), Encoding.PLAIN)
ADJ_HIGH = Quantity("adj_high", q.ADJUSTED_PRICE_TYPE, _ADJ_DOC.format("High"), Encoding.PLAIN)
ADJ_LOW = Quantity("adj_low", q.ADJUSTED_PRICE_TYPE, _ADJ_DOC.format("Low"), Encoding.PLAIN)
ADJ_CLOSE = Quantity("adj_close", q.ADJUSTED_PRICE_TYPE, _ADJ_DOC.format("Close"), Encoding.PLAIN)
ADJ_VOLUME = Quantity("adj_volume", q.VOLUME_TYPE, "Volume restated for splits, rounded half to even to whole units.")
SPLIT_FACTOR = Quantity("split_factor", q.FACTOR_TYPE, "Product of the split factors that apply to the session.")
ALL_FACTOR = Quantity("all_factor", q.FACTOR_TYPE, "Product of all price factors that apply to the session.")

MOVED_TO = Quantity(
    "moved_to", "long", "The instrument that the bar was found to belong to since two were joined: not in force here; else null."
)

AGREED_BARS = Table(
    "adjusted.agreed_bars",
    "The agreed bar as traded, every revision: which feed won whole, and who agreed.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.INTERVAL.at(2, required=True),
        q.SESSION_DATE.at(3, required=True),
        q.TS_OPEN.at(4, required=True),
        q.OPEN.at(5),
        q.HIGH.at(6),
        q.LOW.at(7),
        q.CLOSE.at(8, required=True),
        q.VOLUME.at(9),
        q.CURRENCY.at(10),
        q.PROVIDER.at(11, required=True),
        q.FEED.at(12, required=True),
        q.SYMBOL.at(13, required=True),
        q.AGREED_BY.at(14),
        q.DISAGREED_BY.at(15),
        q.UNDONE_OLD.at(16, required=True),
        q.UNDONE_NEW.at(17, required=True),
        q.IS_FINAL.at(18, required=True),
        q.KNOWN_AT.at(19, required=True),
        q.CAPTURE_ID.at(20, required=True),
        q.MESSAGE_SEQ.at(21, required=True),
        q.ORDINAL.at(22, required=True),
        q.RUN_ID.at(23, required=True),
        MOVED_TO.at(24),
    ),
    partition=(("interval", "identity"), ("instrument_id", "bucket[16]")),
    order=("instrument_id", "ts_open", "known_at"),
    key=("instrument_id", "interval", "ts_open", "known_at"),
    published_by=PublishedBy.RUN,
)

FACTORS = Table(
    "adjusted.factors",
    "The effect of one action on prices and volumes; a rescinded one has factors of 1.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.EX_DATE.at(2, required=True),
        q.ACTION_KIND.at(3, required=True),
        q.STATUS.at(4, required=True),
        q.PRICE_FACTOR.at(5, required=True),
        q.VOLUME_FACTOR.at(6, required=True),
        q.RATIO_OLD.at(7),
        q.RATIO_NEW.at(8),
        q.AMOUNT.at(9, doc="Cash per share as paid (before later splits), in the currency of the bars."),
        q.REF_CLOSE.at(10),
        q.REF_SESSION.at(11),
        q.METHOD.at(12, required=True),
        q.INPUTS_HASH.at(13, required=True),
        q.KNOWN_AT.at(14, required=True),
        q.PROVIDER.at(15, required=True),
        q.ACTION_KEY.at(16, required=True),
        q.CAPTURE_ID.at(17, required=True),
        q.MESSAGE_SEQ.at(18, required=True),
        q.ORDINAL.at(19, required=True),
        q.RUN_ID.at(20, required=True),
    ),
    partition=(),
    order=("instrument_id", "ex_date", "known_at"),
    key=("instrument_id", "ex_date", "kind", "known_at"),
    published_by=PublishedBy.RUN,
)

BARS_1D = Table(
    "adjusted.bars_1d",
    "The newest answer, ready to read: as traded, factors, adjusted. Made from agreed_bars and factors; rewritten, not appended.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.SESSION_DATE.at(2, required=True),
        q.SYMBOL.at(3, required=True),
        q.CURRENCY.at(4),
        q.TS_OPEN.at(5, required=True),
        q.OPEN.at(6),
        q.HIGH.at(7),
        q.LOW.at(8),
        q.CLOSE.at(9, required=True),
        q.VOLUME.at(10),
        SPLIT_FACTOR.at(11, required=True),
        ALL_FACTOR.at(12, required=True),
        q.VOLUME_FACTOR.at(13, required=True, doc="Product of the volume factors that apply to the session."),
        ADJ_OPEN.at(14),
        ADJ_HIGH.at(15),
        ADJ_LOW.at(16),
        ADJ_CLOSE.at(17, required=True),
        ADJ_VOLUME.at(18),
        q.PROVIDER.at(19, required=True),
        q.IS_FINAL.at(20, required=True),
        q.KNOWN_AT.at(21, required=True),
        q.RUN_ID.at(22, required=True),
    ),
    partition=(("instrument_id", "bucket[64]"),),
    order=("instrument_id", "session_date"),
    key=("instrument_id", "session_date"),
    published_by=PublishedBy.RUN,
)

BUILT_BARS = Table(
    "adjusted.built_bars",
    "A bar built here from a feed's own trades or quotes, as traded; a late trade or a correction is one more row.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.PROVIDER.at(2, required=True),
        q.FEED.at(3, required=True),
        q.SYMBOL.at(4, required=True),
        q.CURRENCY.at(5),
        q.PRICE_KIND.at(6, required=True, doc="What the prices are of: trade, bid, ask, mid."),
        q.INTERVAL.at(7, required=True, doc="Length of the bar: 1m, 1d."),
        q.SESSION_DATE.at(8, required=True),
        q.TS_OPEN.at(9, required=True),
        q.TS_END.at(10, required=True),
        q.OPEN.at(11, doc="First price that may be one; null where no trade of the bar may tell it."),
        q.HIGH.at(12),
        q.LOW.at(13),
        q.CLOSE.at(14, doc="Last price that may be one; null where no trade of the bar may tell it."),
        q.VOLUME.at(15, doc="Units traded, exact; null for bars of quotes."),
        q.TRADE_COUNT.at(16, doc="Trades in the volume; null for bars of quotes."),
        q.QUOTE_COUNT.at(17),
        q.DOLLAR_VOLUME.at(18),
        q.VWAP.at(19, doc="Dollar volume over volume, rounded once, half to even; null where nothing was traded."),
        q.KNOWN_AT.at(20, required=True),
        q.RUN_ID.at(21, required=True),
        MOVED_TO.at(22),
    ),
    partition=(("interval", "identity"), ("session_date", "month"), ("provider", "identity")),
    order=("instrument_id", "ts_open", "known_at"),
    key=("instrument_id", "provider", "feed", "price_type", "interval", "ts_open", "known_at"),
    published_by=PublishedBy.RUN,
)

TABLES = (AGREED_BARS, FACTORS, BARS_1D, BUILT_BARS)
