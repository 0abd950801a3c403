"""Alpha Vantage's chains of options, HISTORICAL_OPTIONS and REALTIME_OPTIONS: open interest, volume, volatility and greeks.

What is told is of a day, true from the midnight after it in New York. Kept in raw only: bid, ask, last and mark, which have no
time of the day; strike and expiration, which the OCC symbol says. Source: Alpha Vantage's documentation; bodies made by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

from transforms.decode.alpha_vantage_series import answer_of, csv_records
from transforms.decode.decoded import OPTION_OPEN_INTEREST, Decoded
from transforms.decode.json_digits import rounded, text_of
from transforms.decode.measures import number_in
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import NEW_YORK, count_of, day_of, midnight
from transforms.numbers import NumberRefusedError

_GREEKS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
_GREEK_SCALE, _GREEK_DIGITS = 18, 28


def decode_options(messages: pa.Table) -> Decoded:
    """Return what chains say of their contracts."""
    reader = Reader((OPTION_OPEN_INTEREST,))

    def read(payload: bytes) -> None:
        is_csv = payload.lstrip().startswith(b"contractID,")
        found = {"data": csv_records(payload.strip())} if is_csv else answer_of(payload)
        if found is None:
            return
        entries = object_of(found).get("data")
        if not isinstance(entries, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "data: a list of contracts")
        for entry in entries:
            reader.add(OPTION_OPEN_INTEREST, _contract, entry, reader.delivered)

    return read_messages(reader, messages, read)


def _contract(entry: object, delivered: datetime | None) -> Row:
    told = object_of(entry)
    symbol, day = text_of(told.get("contractID")), day_of(told.get("date"), "date")
    if symbol is None:
        raise NumberRefusedError("missing_symbol", told, "contractID")
    if day is None:
        raise NumberRefusedError("missing_date", told, "date")
    return {
        "symbol": symbol,
        "asset_class": "option",
        "currency": "USD",
        "exchange": "US",
        "underlying": text_of(told.get("symbol")),
        "session_date": day,
        "ts_event": midnight(day + timedelta(days=1), NEW_YORK).astimezone(UTC),
        "known_at": delivered,
        "delivered_at": delivered,
        "open_interest": count_of(number_in(told.get("open_interest"))),
        "day_volume": count_of(number_in(told.get("volume"))),
        **{name: _greek(told, name) for name in _GREEKS},
    }


def _greek(told: Object, name: str) -> object:
    found = number_in(told.get(name))
    return None if found is None else rounded(found, _GREEK_SCALE, _GREEK_DIGITS)
