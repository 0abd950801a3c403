"""What a venue says about trading itself: states, halts, restrictions, auctions, official prices, directories, statistics."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import Encoding, PublishedBy, Quantity, Table

KINDS = (
    *("system", "listing", "trading_status", "operational_halt", "short_sale", "security_event", "circuit_breaker"),
    *("auction", "official_price", "price_band", "ipo", "retail_interest", "participant", "statistic"),
)
"""What an event is about; a venue's own word stands in `code`."""

_KIND = Quantity("kind", "string", f"What it is about: {', '.join(KINDS)}.")
_STATUS = Quantity(
    "status", "string", "In words: of trading `trading`, `halted`, `paused`, `quoting` ...; of the system `start_of_messages` ..."
)
_CODE = Quantity("code", "string", "The venue's own code of the status, as sent.")
_REASON = Quantity("reason", "string", "The venue's reason, as sent without its padding.")
_IS_TRADING = Quantity("is_trading", "boolean", "Whether trades may happen after this; null where it does not tell.")
_IS_QUOTING = Quantity("is_quoting", "boolean", "Whether quotes are taken after this; null where it does not tell.")
_IS_RESTRICTED = Quantity(
    "is_short_sale_restricted", "boolean", "Whether a price test restricts short sales; null where not told."
)
_AUCTION = Quantity("auction", "string", "Which auction: open, close, halt, ipo, volatility ...; null outside auctions.")
_REFERENCE = Quantity("reference_price", q.PRICE_TYPE, "Reference price of the auction or band.", Encoding.DELTA)
_INDICATIVE = Quantity("indicative_price", q.PRICE_TYPE, "Price at which the auction would clear.", Encoding.DELTA)
_IMBALANCE = Quantity("imbalance_size", q.SIZE_TYPE, "Units on `side` that would stay unfilled.")
_LOWER = Quantity("lower_price", q.PRICE_TYPE, "Lower collar or band.", Encoding.DELTA)
_UPPER = Quantity("upper_price", q.PRICE_TYPE, "Upper collar or band.", Encoding.DELTA)
_EFFECTIVE = Quantity("ts_effective", "timestamptz", "When it takes effect, like an auction's scheduled time.", Encoding.DELTA)

STATUS_EVENTS = Table(
    "normalized.status_events",
    "A venue's word about trading itself: states and halts, restrictions, auctions, official prices, the day's directory, "
    "statistics; without a symbol it is about the venue or the system as a whole.",
    columns=(
        *q.instrument_columns(is_symbol_required=False),
        q.SESSION_DATE.at(7, required=True),
        q.TS_EVENT.at(8),
        q.TS_EVENT_NANOS.at(9),
        q.TS_RECV.at(10, required=True),
        q.CHANNEL.at(11),
        q.VENUE_SESSION.at(12),
        q.SEQUENCE.at(13),
        _KIND.at(14, required=True),
        _STATUS.at(15),
        _CODE.at(16),
        _REASON.at(17),
        _IS_TRADING.at(18),
        _IS_QUOTING.at(19),
        _IS_RESTRICTED.at(20),
        _AUCTION.at(21),
        q.PRICE.at(22, doc="Official price, statistic, or price of the event."),
        q.SIZE.at(23, doc="Units paired in the auction, or of the statistic."),
        _REFERENCE.at(24),
        _INDICATIVE.at(25),
        _IMBALANCE.at(26),
        q.SIDE.at(27, doc="`buy` or `sell`: of the imbalance or interest; null where neither or both."),
        _LOWER.at(28),
        _UPPER.at(29),
        _EFFECTIVE.at(30),
        q.DETAIL.at(31, doc="What the message tells beyond the columns, as JSON with the venue's names."),
        *q.lineage_columns(32),
    ),
    partition=(("session_date", "identity"), ("provider", "identity")),
    order=("instrument_id", "ts_event", "ts_event_nanos", "sequence"),
    key=("provider", "feed", "channel", "venue_session", "symbol", "kind", "sequence"),
    nullable_key=("channel", "venue_session", "symbol"),
    published_by=PublishedBy.MESSAGE,
)

TABLES = (STATUS_EVENTS,)
