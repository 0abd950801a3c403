"""Databento's answers about its data: which number a symbol had on which days; prices and refusals hold no fact.

`symbology.resolve` from raw symbols gives intervals `[d0, d1)` with the instrument's number `s`, which counts within a dataset:
the identifier is `XNAS.ITCH:6155`, as in `dbn.py`, known from the midnight before its first day. A parent or a continuous name
is no instrument: kept in raw only. Source: databento.com/docs, mock answers of databento-cpp (Apache-2.0).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pyarrow as pa

from transforms.decode.dbn_publishers import home_of
from transforms.decode.decoded import IDENTIFIERS, Decoded
from transforms.decode.json_digits import document, text_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import day_of
from transforms.numbers import NumberRefusedError

TABLES = (IDENTIFIERS,)
SCHEME = "databento_instrument_id"


def decode_metadata(messages: pa.Table) -> Decoded:
    """Return the numbers of symbols that answers tell; prices, refusals and outages are control."""
    reader = Reader(TABLES)

    def answer(payload: bytes) -> None:
        if not payload.lstrip().startswith(b"{"):
            return
        found = object_of(document(payload))
        if "detail" in found:
            return
        result = found.get("result")
        if not isinstance(result, dict):
            raise NumberRefusedError("unsupported_answer", sorted(found)[:6], "result: intervals by symbol")
        if (found.get("stype_in"), found.get("stype_out")) != ("raw_symbol", "instrument_id"):
            told = {name: found.get(name) for name in ("stype_in", "stype_out")}
            raise NumberRefusedError("raw_only", told, "from raw_symbol to instrument_id: other names are no instruments")
        _resolved(reader, result)

    return read_messages(reader, messages, answer)


def _resolved(reader: Reader, result: Object) -> None:
    for symbol, told in result.items():
        if not isinstance(told, list):
            reader.refuse(IDENTIFIERS, NumberRefusedError("malformed", {symbol: told}, "a list of intervals"))
            continue
        for interval in told:
            reader.add(IDENTIFIERS, _identifier, symbol, interval, reader.params.get("dataset"), reader.delivered)


def _identifier(symbol: str, interval: object, dataset: str | None, delivered: datetime | None) -> Row:
    told = object_of(interval)
    number, first, last = text_of(told.get("s")), _day(told, "d0"), _day(told, "d1")
    if not symbol or dataset is None:
        raise NumberRefusedError("missing_symbol", [symbol, dataset], "a symbol, and the dataset in the request")
    if number is None or not number.isascii() or not number.isdigit() or len(number) > 20 or first >= last:
        raise NumberRefusedError("malformed", told, "d0, a later d1, and the number s as text")
    venue = home_of(dataset)
    return {
        "symbol": symbol,
        "mic": venue.mic,
        "exchange": venue.exchange,
        "asset_class": venue.asset_class,
        "exchange_zone": venue.zone,
        "start_date": first,
        "end_date": last,
        "known_at": datetime.combine(first, time(), UTC),
        "delivered_at": delivered,
        "scheme": SCHEME,
        "identifier": f"{dataset}:{number}",
    }


def _day(told: Object, name: str) -> date:
    found = day_of(told.get(name), name)
    if found is None:
        raise NumberRefusedError("missing_date", told, name)
    return found
