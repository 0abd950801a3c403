"""Reference data: facts valid over a range of dates."""

from __future__ import annotations

from lake.tables import quantities as q
from lake.tables.definition import PublishedBy, Quantity, Table

_NAME = Quantity("name", "string", "Name for a person.")
_ASSET_CLASS = Quantity("asset_class", "string", "equity, etf, fund, index, fx, crypto, future, option, other.")
_IS_PROVISIONAL = Quantity("is_provisional", "boolean", "True until an identifier beyond the provider's symbol is known.")
_START_DATE = Quantity("start_date", "date", "First date the symbol means this instrument, included; null: not known.")
_END_DATE = Quantity("end_date", "date", "First date it no longer does; null: still does.")

INSTRUMENTS = Table(
    "reference.instruments",
    "One instrument, named for good.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.IDENTITY.at(2, required=True),
        _NAME.at(3),
        _ASSET_CLASS.at(4),
        q.CURRENCY.at(5),
        q.MIC.at(6),
        _IS_PROVISIONAL.at(7, required=True),
        q.RUN_ID.at(8, required=True),
    ),
    partition=(),
    order=("instrument_id",),
    key=("instrument_id",),
    published_by=PublishedBy.RUN,
)

LISTINGS = Table(
    "reference.listings",
    "A provider's symbol for an instrument over a range of dates.",
    columns=(
        q.INSTRUMENT_ID.at(1, required=True),
        q.PROVIDER.at(2, required=True),
        q.SYMBOL.at(3, required=True),
        q.MIC.at(4),
        q.CURRENCY.at(5),
        _START_DATE.at(6),
        _END_DATE.at(7),
        q.RUN_ID.at(8, required=True),
    ),
    partition=(),
    order=("symbol", "provider"),
    key=("instrument_id", "provider", "symbol"),
    published_by=PublishedBy.RUN,
)

TABLES = (INSTRUMENTS, LISTINGS)
