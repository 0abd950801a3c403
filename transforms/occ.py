"""What the OCC symbol of a US option says: root, expiry, call or put, strike. AAPL240126P00050000 is a put at 50 of AAPL.

A root with a digit behind it (AAPL1) is an adjusted contract: its deliverable is not 100 shares of the underlying, and the
symbol does not say what it is. Source: OCC's option symbology initiative, 21 characters of which six are the root.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

OCC = r"^([A-Z]{1,6})(\d?) *(\d{6})([CP])(\d{8})$"
TERMS = pa.schema(
    [
        pa.field("root", pa.string()),
        pa.field("underlying", pa.string()),
        pa.field("is_adjusted", pa.bool_()),
        pa.field("expiry_date", pa.date32()),
        pa.field("option_right", pa.string()),
        pa.field("strike", pa.decimal128(18, 9)),
    ]
)


def occ_terms(symbols: pa.Array) -> pa.Table:
    """Return the terms of each symbol, in order; a row of nulls for one that is no OCC symbol or names no day."""
    parts = pl.DataFrame({"symbol": pl.Series("symbol", pl.from_arrow(symbols), pl.String)}).select(
        pl.col("symbol").str.extract_groups(OCC).alias("part")
    )["part"]
    names = ("letters", "digit", "day", "right", "strike")
    frame = parts.struct.rename_fields(list(names)).struct.unnest()
    expiry = pl.concat_str(pl.lit("20"), "day").str.to_date("%Y%m%d", strict=False)
    terms = frame.with_columns(expiry=expiry).with_columns(
        **{name: pl.when(pl.col("expiry").is_not_null()).then(pl.col(name)) for name in names}
    )
    strike = pl.col("strike").cast(pl.Int64).cast(pl.Decimal(18, 3)) / pl.lit(1000).cast(pl.Decimal(18, 3))
    return (
        terms.select(
            pl.concat_str("letters", "digit").alias("root"),
            pl.col("letters").alias("underlying"),
            (pl.col("digit") != "").alias("is_adjusted"),
            pl.col("expiry").alias("expiry_date"),
            pl.col("right").replace_strict({"C": "call", "P": "put"}, default=None).alias("option_right"),
            strike.alias("strike"),
        )
        .to_arrow()
        .cast(TERMS)
    )
