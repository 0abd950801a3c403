"""Decode of DBN orders, trades with quotes, and bars: ours to Arrow columns, against the vendor's own decoder and its numpy view.

The records are made: 400,000 of a kind, of 50 instruments, in batches as the importer cuts them. Ours ends in Arrow columns of
exact decimals with symbols by day, venues, sides and stamps. The vendor's decoder (Rust) ends in Python objects, which `by its
objects` turns into Arrow columns. The numpy view is what its client gives as `to_ndarray`, without symbols or exact prices;
`columns only` copies that view into Arrow.
"""

from __future__ import annotations

import json
from functools import partial

import databento_dbn
import numpy as np
import pyarrow as pa

from tests.benchmarks.cases import Case, Skipped
from tests.transforms.decode.dbn_files import header
from transforms.decode import dbn
from transforms.decode.dbn_layout import LAYOUTS, MBO, MBP_1, OHLCV_1M, Records

COUNT, SYMBOLS, BATCH = 400_000, 50, 128 * 1024
KINDS = (("orders (mbo)", MBO, 56, 0), ("quotes and trades (mbp-1)", MBP_1, 80, 1), ("bars (ohlcv-1m)", OHLCV_1M, 56, 6))
START = 1_609_156_800_000_000_000


def cases() -> list[Case | Skipped]:
    """Return ours and the others for each kind."""
    return [case for name, kind, length, schema in KINDS for case in _of_kind(name, _records(kind, length), schema)]


def _of_kind(name: str, records: Records, schema: int) -> list[Case | Skipped]:
    case = partial(Case, f"decode DBN {name}", unit="records")
    spells = {f"S{number}": [(20201228, 20201229, str(number))] for number in range(SYMBOLS)}
    whole = header(spells, schema=schema) + records.tobytes()
    return [
        case(name="tickhouse, to Arrow", run=partial(_ours, _batches(records)), is_ours=True),
        case(name="databento-dbn, to Arrow by its objects", run=partial(_vendor_arrow, whole, records.dtype.names or ())),
        case(name="databento-dbn, to Python objects", run=partial(_vendor, whole)),
        case(name="numpy view", run=partial(_view, records)),
        case(name="pyarrow, columns only", run=partial(_columns, records)),
    ]


def _records(kind: int, length: int) -> Records:
    rows = np.zeros(COUNT, LAYOUTS[kind, length])
    draw = np.random.default_rng(7)
    rows["rtype"], rows["length"], rows["publisher_id"] = kind, length // 4, 2
    rows["instrument_id"] = draw.integers(0, SYMBOLS, COUNT)
    rows["ts_event"] = START + np.arange(COUNT) * 1_000
    for name in rows.dtype.names or ():
        if "px" in name or name in ("price", "open", "high", "low", "close"):
            rows[name] = draw.integers(10**10, 10**11, COUNT)
        elif "sz" in name or name in ("size", "order_id", "volume"):
            rows[name] = draw.integers(1, 10**4, COUNT)
    if "action" in (rows.dtype.names or ()):
        rows["action"], rows["side"] = draw.choice(list(b"ACMT"), COUNT), draw.choice(list(b"AB"), COUNT)
        rows["ts_recv"], rows["sequence"] = rows["ts_event"], np.arange(COUNT)
    return rows


def _batches(records: Records) -> list[pa.Table]:
    """Return messages as the importer makes them, eight to a table as promotion reads them."""
    spells = [(number, 20201228, 20201229, f"S{number}") for number in range(SYMBOLS)]
    about = {"dataset": "XNAS.ITCH", "schema": None, "ts_out": False, "symbols": spells}
    request, many = json.dumps({"dbn": about}), BATCH // records.dtype.itemsize
    payloads = [records[at : at + many].tobytes() for at in range(0, len(records), many)]
    groups = [payloads[at : at + 8] for at in range(0, len(payloads), 8)]
    return [pa.table({"payload": pa.array(group, pa.binary()), "request": [request] * len(group)}) for group in groups]


def _ours(batches: list[pa.Table]) -> int:
    facts = sum(dbn.decode(batch).fact_count for batch in batches)
    if facts < COUNT:
        raise ValueError(f"{facts} facts of {COUNT} records")
    return COUNT


def _vendor(whole: bytes) -> int:
    decoder = databento_dbn.DBNDecoder()
    decoder.write(whole)
    return len(decoder.decode()) - 1


def _vendor_arrow(whole: bytes, names: tuple[str, ...]) -> int:
    decoder = databento_dbn.DBNDecoder()
    decoder.write(whole)
    found = decoder.decode()[1:]
    wanted = [name for name in names if hasattr(found[0], name) and isinstance(getattr(found[0], name), int)]
    return int(pa.table({name: [getattr(record, name) for record in found] for name in wanted}).num_rows)


def _view(records: Records) -> int:
    found = np.frombuffer(records.tobytes(), records.dtype)
    prices = [name for name in found.dtype.names or () if "px" in name or name in ("price", "close")]
    return len([float(found[name].sum()) for name in prices]) and len(found)


def _columns(records: Records) -> int:
    names = [name for name in records.dtype.names or () if not name.startswith("pad")]
    return int(pa.table({name: pa.array(np.ascontiguousarray(records[name])) for name in names}).num_rows)
