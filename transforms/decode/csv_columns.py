"""Which columns each kind of CSV record has, and which it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lake.errors import InvalidValueError

if TYPE_CHECKING:
    from transforms.decode.csv_mapping import CsvMapping

OHLC = ("open", "high", "low", "close")
_SIDED = tuple(f"{side}_{name}" for side in ("bid", "ask", "mid") for name in OHLC)
_WHO = ("symbol", "venue", "currency")
MARKED: dict[str, tuple[str, ...]] = {
    "bars": (*_WHO, "time", *OHLC, *_SIDED, "volume", "trade_count", "vwap", "provider_adjusted_close"),
    "actions": (
        *(*_WHO, "kind", "ex_date", "record_date", "pay_date", "announcement_date", "ratio", "ratio_new", "ratio_old"),
        *("amount", "status", "action_key", "dividend", "split"),
    ),
    "trades": (*_WHO, "time", "price", "size", "side", "trade_id", "conditions", "sequence"),
    "quotes": (*_WHO, "time", "bid_price", "bid_size", "ask_price", "ask_size", "conditions", "sequence"),
    "book": (*_WHO, "time", "side", "price", "size", "sequence", "is_snapshot"),
    "fx_rates": ("symbol", "venue", "time", "base", "quote", "rate"),
    "index_levels": (*_WHO, "time", "value", "measure", "unit"),
}
"""Kind -> the columns a record of it may have. `dividend` and `split` are an action each where they are not neutral."""

_NEEDED: dict[str, tuple[str, ...]] = {
    "bars": ("time",),
    "actions": ("ex_date",),
    "trades": ("time", "price", "size"),
    "quotes": ("time",),
    "book": ("time", "side", "price", "size", "sequence"),
    "fx_rates": ("time",),
    "index_levels": ("time",),
}


def check_columns(mapping: CsvMapping) -> None:
    """Raise InvalidValueError where [columns] do not fit the mapping's kind."""
    ours, kind = MARKED[mapping.kind], mapping.kind
    strange = sorted(set(mapping.columns) - set(ours))
    if strange:
        raise InvalidValueError(f"CSV mapping: [columns] has {', '.join(strange)}; {kind} have {', '.join(ours)}")
    missing = [name for name in _NEEDED[kind] if name not in mapping.columns] + _missing(mapping)
    if missing:
        raise InvalidValueError(f"CSV mapping: [columns] lacks {', '.join(sorted(missing))}")
    if mapping.wide and kind not in ("bars", "fx_rates", "index_levels"):
        raise InvalidValueError(f"CSV mapping: wide = true is understood for bars, fx_rates and index_levels, not {kind}")
    if kind == "actions":
        _check_actions(mapping)
    if kind == "fx_rates":
        sides = [("base", mapping.base_currency), ("quote", None if mapping.wide else mapping.quote_currency)]
        for name, constant in sides:
            if constant is None and name not in mapping.columns and not (mapping.wide and name == "quote"):
                raise InvalidValueError(f"CSV mapping: say {name}_currency for the whole file, or columns.{name}")
    if kind == "index_levels" and mapping.measure is None and "measure" not in mapping.columns:
        raise InvalidValueError("CSV mapping: say `measure` (level, close, return, yield, ...), or columns.measure")
    if kind == "bars" and mapping.label == "end" and mapping.interval[-1] not in "msd":
        raise InvalidValueError(f"CSV mapping: label = 'end' is understood for minutes and days, not {mapping.interval}")


def _missing(mapping: CsvMapping) -> list[str]:
    """Return what is missing of columns that come in sets."""
    has, kind = set(mapping.columns), mapping.kind
    if mapping.wide:
        return []
    if kind == "bars":
        sets = [OHLC, *(_SIDED[at : at + 4] for at in range(0, len(_SIDED), 4))]
        begun = [names for names in sets if has & set(names)] or [OHLC]
        return [name for names in begun for name in names if name not in has]
    if kind == "quotes" and not has & {"bid_price", "ask_price"}:
        return ["bid_price", "ask_price"]
    needs = {"fx_rates": "rate", "index_levels": "value"}.get(kind)
    return [needs] if needs is not None and needs not in has else []


def _check_actions(mapping: CsvMapping) -> None:
    has_inline = bool({"dividend", "split"} & set(mapping.columns))
    if not has_inline and "kind" not in mapping.columns and len(mapping.kinds) != 1:
        raise InvalidValueError("CSV mapping: actions need columns.kind, or one entry in [kinds], or columns dividend and split")
    if not set(mapping.kinds.values()) <= {"split", "cash_dividend"}:
        raise InvalidValueError("CSV mapping: [kinds] maps the file's words to split or cash_dividend")
