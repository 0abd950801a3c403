"""Which instrument a user means: a symbol, an identity key or an instrument id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from lake import scan
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError

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


def instrument_named(lake: Lake, text: str, provider: str | None = None, as_of: datetime | None = None) -> Instrument:
    """Return the one instrument that `text` names: a symbol such as `AAPL`, an identity such as `listing:US/AAPL`, or an id.

    A symbol is looked up as written, then in capitals; `provider` narrows it to that provider's symbols. Raises
    NotFoundError when nothing has the name, InvalidValueError when several instruments do: the message lists them.
    """
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise InvalidValueError(f"symbol {text[:MAX_NAME]!r} is not a symbol; expected 1 to {MAX_NAME} printable characters")
    listings = scan.read(lake, "reference.listings", as_of=as_of)
    instruments = scan.read(lake, "reference.instruments", as_of=as_of)
    found = _by_key(instruments, text) or _by_symbol(listings, text, provider)
    if not found:
        scope = (f" of {provider}" if provider else "") + (f" as of {as_of.isoformat()}" if as_of else "")
        raise NotFoundError(
            f"no instrument has the symbol {text!r}{scope}; SELECT DISTINCT symbol FROM reference.listings lists them"
        )
    rows = {row["instrument_id"]: row for row in instruments.to_pylist()}
    if len(found) > 1:
        choices = sorted(
            f"{rows[one]['identity'] if one in rows else one} ({', '.join(sorted(_providers(listings, one)))})" for one in found
        )
        raise InvalidValueError(f"symbol {text!r} means several instruments; ask for one of {'; '.join(choices)}")
    (chosen,) = found
    return _described(chosen, rows.get(chosen), listings, text)


def _by_key(instruments: pa.Table, text: str) -> set[int]:
    ids = instruments["instrument_id"].to_pylist()
    identities = instruments["identity"].to_pylist()
    return {one for one, identity in zip(ids, identities, strict=True) if text in (identity, str(one))}


def _by_symbol(listings: pa.Table, text: str, provider: str | None) -> set[int]:
    rows = [row for row in listings.to_pylist() if provider is None or row["provider"] == provider]
    exact = {int(row["instrument_id"]) for row in rows if row["symbol"] == text}
    return exact or {int(row["instrument_id"]) for row in rows if row["symbol"].upper() == text.upper()}


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
