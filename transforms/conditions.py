"""What a trade's condition codes let it change in a bar: open and close, high and low, volume.

The consolidated tape tells it code by code (CTA and UTP plans, "consolidated processing"); a trade with several codes changes
only what all of them let it. Codes of hours after the close (Form T) make no price of the day or of a bar within the session,
but the prices of a bar outside it. A feed whose vocabulary we have no table of is taken as it comes: every trade counts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

OPEN_CLOSE, HIGH_LOW, VOLUME = 1, 2, 4
OUTSIDE = 3
"""Shift of OPEN_CLOSE and HIGH_LOW where the bar lies outside the session."""
ALL = OPEN_CLOSE | HIGH_LOW | VOLUME | (OPEN_CLOSE | HIGH_LOW) << OUTSIDE
_LATE = HIGH_LOW | VOLUME | HIGH_LOW << OUTSIDE
_VOLUME_ONLY = VOLUME
_FORM_T = VOLUME | (OPEN_CLOSE | HIGH_LOW) << OUTSIDE
_LATE_FORM_T = VOLUME | HIGH_LOW << OUTSIDE
_RECORD = 0
"""A message of the tape that is no trade: the official open and close of one market centre."""
_CLOSING = OPEN_CLOSE | HIGH_LOW | (OPEN_CLOSE | HIGH_LOW) << OUTSIDE
Effects = npt.NDArray[np.uint8]

SALE_CONDITIONS: Mapping[str, int] = {
    **dict.fromkeys("@ADEFKOSXY156", ALL),
    **dict.fromkeys("BCHINRVW7", _VOLUME_ONLY),
    **dict.fromkeys("GPZ4", _LATE),
    "L": ALL,
    "T": _FORM_T,
    "U": _LATE_FORM_T,
    "M": _RECORD,
    "Q": _RECORD,
    "9": _CLOSING,
    "2": ALL,
    "3": _LATE,
    "8": ALL,
}
"""Letters of the tapes, one a code however they are joined. `B` is an average price on CTA and a bunched trade on UTP, and the
tapes differ about the seller's option `R`: without the tape the stricter counts."""

POLYGON_CONDITIONS: Mapping[str, int] = {
    **dict.fromkeys(map(str, (0, 1, 3, 4, 6, 8, 9, 11, 14, 17, 18, 19, 23, 24, 25, 26, 27, 28, 30, 34, 36)), ALL),
    **dict.fromkeys(map(str, (2, 7, 20, 21, 37, 52, 53)), _VOLUME_ONLY),
    **dict.fromkeys(map(str, (5, 10, 22, 29, 33)), _LATE),
    "12": _FORM_T,
    "13": _LATE_FORM_T,
    "15": _RECORD,
    "16": _RECORD,
    "38": _CLOSING,
}
"""Polygon's numbers, by its own list of conditions (`update_rules`, consolidated)."""

IEX_CONDITIONS: Mapping[str, int] = {"ODD_LOT": _VOLUME_ONLY, "EXTENDED_HOURS": _FORM_T}
"""Words that iex_cloud.py and tiingo_stream.py of transforms/decode write for the sale condition flags of TOPS."""

BINANCE_CONDITIONS: Mapping[str, int] = {"INSURANCE_FUND": _VOLUME_ONLY, "ADL": _VOLUME_ONLY}
"""Futures: liquidations at the bankruptcy price, which Binance leaves out of its aggregate trades too."""

BY_PROVIDER: Mapping[str, Mapping[str, int]] = {
    "alpaca": SALE_CONDITIONS,
    "csv": SALE_CONDITIONS,
    "polygon": POLYGON_CONDITIONS,
    "iex_cloud": IEX_CONDITIONS,
    "tiingo": IEX_CONDITIONS,
    "binance": BINANCE_CONDITIONS,
}


def effects(conditions: pa.ChunkedArray, provider: str) -> Effects | None:
    """Return what each trade changes, as flags; None where every trade of the column changes everything.

    conditions   codes joined by commas, as normalized.trades holds them; null and unknown codes change nothing of it
    """
    table = BY_PROVIDER.get(provider)
    if table is None or conditions.null_count == len(conditions):
        return None
    encoded = conditions.dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    meant = np.array([effect_of(text, table) for text in encoded.dictionary.to_pylist()] + [ALL], np.uint8)
    if bool((meant == ALL).all()):
        return None
    index = np.asarray(encoded.indices.fill_null(len(meant) - 1).to_numpy(zero_copy_only=False)).astype(np.int64)
    return meant[index]


def effect_of(text: str, table: Mapping[str, int]) -> int:
    """Return what a trade with these codes, joined by commas, changes."""
    found = ALL
    for code in text.replace(",", "") if table is SALE_CONDITIONS else text.split(","):
        found &= table.get(code.strip(), ALL)
    return found
