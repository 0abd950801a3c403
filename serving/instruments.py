"""Which instrument a user means: a symbol, an identity key or an instrument id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.values import instrument_id_of
from transforms.belonging import Belonging
from transforms.symbol_eras import Era, listing_identity

MAX_NAME = 128
"""Longer than any symbol or identity key: beyond it a request is refused before anything is read."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument as the reference tables name it."""

    instrument_id: int
    identity: str
    symbol: str
    name: str | None
    currency: str | None
    mic: str | None

    def document(self) -> dict[str, object]:
        """Return plain values; the id as text, because JSON numbers end at 53 bits for many readers."""
        return {
            "instrument_id": str(self.instrument_id),
            "identity": self.identity,
            "symbol": self.symbol,
            "name": self.name,
            "currency": self.currency,
            "mic": self.mic,
        }


def instrument_named(
    lake: Lake, text: str, provider: str | None = None, as_of: datetime | None = None, at: date | None = None
) -> Instrument:
    """Return the one instrument that `text` names: a symbol such as `AAPL`, an identity such as `listing:US/AAPL`, or an id.

    provider   only this provider's symbols
    at         the day as of which a symbol is read: it may mean another instrument later. None: today; where nobody has it
               any more, whoever had it last

    A symbol is looked up as written, then in capitals. An identity or id that was joined to another names that one. Raises
    NotFoundError when nothing has the name, InvalidValueError when several instruments do: the message lists them.
    """
    from quality_checks.naming import belonging_now  # only who asks for names waits for it

    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise InvalidValueError(f"symbol {text[:MAX_NAME]!r} is not a symbol; expected 1 to {MAX_NAME} printable characters")
    listings = scan.read(lake, "reference.listings", as_of=as_of)
    instruments = scan.read(lake, "reference.instruments", as_of=as_of)
    rows = {row["instrument_id"]: row for row in instruments.to_pylist()}
    known = frozenset(rows)
    found = _by_key(lake, instruments, text, as_of)
    if not found:
        whose, today = belonging_now(lake, as_of), to_datetime(lake.clock()).date()
        mine = [row for row in listings.to_pylist() if provider is None or row["provider"] == provider]
        found = _by_symbol(mine, text, lambda row: _owner(row, whose, known, at, today))
        found = found or _by_change(whose, text, known, at, today)
    if not found:
        scope = (f" of {provider}" if provider else "") + (f" as of {as_of.isoformat()}" if as_of else "")
        scope += f" on {at}" if at else ""
        raise NotFoundError(
            f"no instrument has the symbol {text!r}{scope}; SELECT DISTINCT symbol FROM reference.listings lists them"
        )
    if len(found) > 1:
        choices = sorted(
            f"{rows[one]['identity'] if one in rows else one} ({', '.join(sorted(_providers(listings, one)))})" for one in found
        )
        raise InvalidValueError(f"symbol {text!r} means several instruments; ask for one of {'; '.join(choices)}")
    (chosen,) = found
    return _described(chosen, rows.get(chosen), listings, text)


def ids_of(lake: Lake, instrument: Instrument, as_of: datetime | None = None) -> list[int]:
    """Return the ids under which rows of an instrument may be filed: its own, and others that were found to be it."""
    from quality_checks.naming import belonging_now  # only who asks for names waits for it

    return sorted(belonging_now(lake, as_of).sources([instrument.instrument_id]))


def own_rows(lake: Lake, rows: pa.Table, instrument: Instrument, as_of: datetime | None = None) -> pa.Table:
    """Return those of the normalized rows of `ids_of` that belong to an instrument, under its id."""
    from quality_checks.naming import belonging_now, owned  # only who asks for names waits for it

    found = owned(lake, rows, belonging_now(lake, as_of))
    return found.filter(pc.equal(found["instrument_id"], instrument.instrument_id))


def listings_at(lake: Lake, at: date | None, as_of: datetime | None = None) -> list[tuple[int, dict[str, Any]]]:
    """Return the rows of reference.listings, each with the instrument that its symbol means on a day.

    at   None: each with the instrument it was filed under, whenever that was
    """
    from quality_checks.naming import belonging_now  # only who asks for names waits for it

    rows = scan.read(lake, "reference.listings", as_of=as_of).to_pylist()
    if at is None:
        return [(row["instrument_id"], row) for row in rows]
    known = frozenset(scan.read(lake, "reference.instruments", ["instrument_id"], as_of=as_of)["instrument_id"].to_pylist())
    whose = belonging_now(lake, as_of)
    return [(owner, row) for row in rows if (owner := _owner(row, whose, known, at, at)) is not None]


def _by_key(lake: Lake, instruments: pa.Table, text: str, as_of: datetime | None) -> set[int]:
    from quality_checks.naming import joined_identity  # only who asks for names waits for it

    ids = instruments["instrument_id"].to_pylist()
    identities = instruments["identity"].to_pylist()
    found = {identity for one, identity in zip(ids, identities, strict=True) if text in (identity, str(one))}
    return {instrument_id_of(joined_identity(lake, identity, as_of)) for identity in found}


def _by_symbol(rows: Sequence[Mapping[str, Any]], text: str, owner: Callable[[Mapping[str, Any]], int | None]) -> set[int]:
    exact = [row for row in rows if row["symbol"] == text]
    mine = exact or [row for row in rows if row["symbol"].upper() == text.upper()]
    return {one for row in mine if (one := owner(row)) is not None}


def _by_change(whose: Belonging, text: str, known: Collection[int], at: date | None, today: date) -> set[int]:
    """Return whom a US symbol means that no provider wrote yet, as changes of symbols say."""
    eras = whose.eras.eras.get(listing_identity("US", text), ())
    owner = _holder(eras, known, at or today, is_asked=at is not None) if eras else None
    return set() if owner is None else {owner}


def _owner(row: Mapping[str, Any], whose: Belonging, known: Collection[int], at: date | None, today: date) -> int | None:
    """Return whom a listing's symbol means on a day, as far as the listing and the changes of symbols say; None: nobody."""
    day = at or today
    name = whose.names.get((row["instrument_id"], row["provider"], row["symbol"]))
    if name is not None and name in whose.eras:
        return _holder(whose.eras.eras[name], known, day, is_asked=at is not None)
    started, ended = row["start_date"] or date.min, row["end_date"] or date.max
    return int(row["instrument_id"]) if at is None or started <= at < ended else None


def _holder(eras: Sequence[Era], known: Collection[int], day: date, *, is_asked: bool) -> int | None:
    """Return who had a name on a day; for a day that nobody asked for, whoever had it last and is known."""
    until = [instrument_id_of(era.identity) for era in eras if era.start <= day]
    if is_asked:
        return until[-1] if until[-1] in known else None
    return next((one for one in reversed(until) if one in known), None)


def _providers(listings: pa.Table, instrument_id: int) -> set[str]:
    return {row["provider"] for row in listings.to_pylist() if row["instrument_id"] == instrument_id}


def _described(instrument_id: int, row: dict[str, object] | None, listings: pa.Table, text: str) -> Instrument:
    symbols = [one["symbol"] for one in listings.to_pylist() if one["instrument_id"] == instrument_id]
    symbol = next((one for one in symbols if one.upper() == text.upper()), symbols[0] if symbols else text)
    known = row or {}
    return Instrument(
        instrument_id,
        str(known.get("identity", instrument_id)),
        symbol,
        _maybe(known.get("name")),
        _maybe(known.get("currency")),
        _maybe(known.get("mic")),
    )


def _maybe(value: object) -> str | None:
    return None if value is None else str(value)
