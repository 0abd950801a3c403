"""Tables as people have them: cut, doubled, swapped, in other encodings and years. Each gives its rows, or says why not."""

from __future__ import annotations

import pytest

from tests.transforms.decode.csv_messages import read_csv, rows_of

HEAD = "Date,Open,High,Low,Close,Adj Close,Volume\n"
DAYS = [f"2014-01-{day:02},1{day}.5,1{day}.75,1{day}.25,1{day}.5,1{day}.125,{day}000\n" for day in range(2, 8)]
TABLE = HEAD + "".join(DAYS)
FILE = "AAPL.csv"


def with_cells(line: str, *cells: tuple[int, str]) -> str:
    """Return a line with other cells."""
    texts = line.rstrip("\n").split(",")
    for place, text in cells:
        texts[place] = text
    return ",".join(texts) + "\n"


def one_bad(*cells: tuple[int, str]) -> str:
    """Return the table with cells of its third record replaced."""
    return HEAD + "".join([*DAYS[:2], with_cells(DAYS[2], *cells), *DAYS[3:]])


DAMAGED = {
    "as written": (TABLE, 6, []),
    "CRLF": (TABLE.replace("\n", "\r\n"), 6, []),
    "lone carriage returns": (TABLE.replace("\n", "\r"), 6, []),
    "byte order mark": ("\ufeff" + TABLE, 6, []),
    "quoted": ("".join('"' + line.rstrip("\n").replace(",", '","') + '"\n' for line in TABLE.splitlines()), 6, []),
    "blank lines": ("\n".join(TABLE.split("\n")[:1]) + "\n\n" + "\n\n".join(DAYS), 6, []),
    "no end of line": (TABLE.rstrip("\n"), 6, []),
    "columns in another order": ("Volume,Close,Adj Close,Low,High,Open,Date\n1000,1.5,1.5,1,2,1.5,2014-01-02\n", 1, []),
    "a column more": ("".join(line.rstrip("\n") + ",x\n" for line in TABLE.splitlines()), 6, []),
    "records doubled": (HEAD + "".join(line * 2 for line in DAYS), 12, []),
    "header alone": (HEAD, 0, []),
    "header again between records": (HEAD + DAYS[0] + HEAD + DAYS[1], 2, ["malformed_date"]),
    "no header": ("".join(DAYS), 0, ["missing_column"]),
    "a column twice": (TABLE.replace("High", "Open", 1), 0, ["ambiguous_column"]),
    "semicolons": (TABLE.replace(",", ";"), 0, ["missing_column"]),
    "a record short": (HEAD + DAYS[0].rsplit(",", 1)[0] + "\n" + DAYS[1], 1, ["column_count"]),
    "a record long": (HEAD + DAYS[0].rstrip("\n") + ",1\n" + DAYS[1], 1, ["column_count"]),
    "cut within a record": (TABLE[:-30], 5, ["column_count"]),
    "another encoding within": (TABLE.encode() + b"2014-01-09,\xe9,1,1,1,1,1\n", 6, ["encoding"]),
    "UTF-16": (TABLE.encode("utf-16"), 0, ["encoding"]),
    "bytes of another file": (bytes(range(256)) * 4, 0, ["missing_column"]),
    "a page of words": ("<html><body>502 Bad Gateway</body></html>", 0, ["missing_column"]),
    "day first": (one_bad((0, "13.01.2014")), 5, ["malformed_date"]),
    "no such day": (one_bad((0, "2014-02-30")), 5, ["malformed_date"]),
    "a day of another age": (one_bad((0, "0214-01-04")), 5, ["malformed_date"]),
    "no day": (one_bad((0, "")), 5, ["malformed_date"]),
    "a decimal comma": (one_bad((1, '"14,5"')), 5, ["malformed_number"]),
    "words for numbers": (one_bad((4, "n/a")), 5, ["malformed_number"]),
    "a price beyond all": (one_bad((4, "9" * 40)), 5, ["overflow"]),
    "a price too fine": (one_bad((4, "1." + "1" * 400)), 6, []),
    "a power of ten beyond all": (one_bad((6, "1e400")), 5, ["overflow"]),
    "digits of another script": (one_bad((4, "١٢")), 5, ["malformed_number"]),
    "a price missing": (one_bad((1, "null")), 5, ["incomplete_bar"]),
    "no prices at all": (one_bad(*((place, "null") for place in range(1, 7))), 5, []),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_gives_its_rows_and_reasons_for_the_others(name: str) -> None:
    text, count, rules = DAMAGED[name]
    found = read_csv("yahoo_download", FILE, text)
    refused = found.refused.to_pylist()
    assert (len(rows_of(found)), [row["rule"] for row in refused]) == (count, rules)
    assert all(row["expected"] for row in refused), "each reason says what was expected"


@pytest.mark.parametrize(
    ("text", "told"),
    [(TABLE.replace(",", ";"), "is the delimiter ';'?"), (TABLE.replace(",", "\t"), "is the delimiter '\\t'?"),
     (TABLE.encode("utf-16"), "save it as UTF-8")],
)  # fmt: skip
def test_what_is_wrong_with_a_whole_table_is_said_in_words(text: str | bytes, told: str) -> None:
    (refused,) = read_csv("yahoo_download", FILE, text).refused.to_pylist()
    assert told in refused["expected"]


@pytest.mark.parametrize("year", ["1928", "1962", "1999", "2016", "2038", "2100"])
@pytest.mark.parametrize("symbol", ["AAPL", "BRK-B", "^GSPC", "7203.T", "x"])
def test_other_years_and_symbols_are_read_alike(year: str, symbol: str) -> None:
    moved = TABLE.replace("2014-", f"{year}-")
    rows = rows_of(read_csv({**MAPPING, "symbol": symbol}, f"{symbol}.csv", moved))
    same = rows_of(read_csv({**MAPPING, "symbol": "OTHER"}, "OTHER.csv", TABLE))
    assert {row["symbol"] for row in rows} == {symbol}
    assert [str(row["ts_open"])[:4] for row in rows] == [year] * 6
    for name in ("open", "high", "low", "close", "volume"):
        assert [row[name] for row in rows] == [row[name] for row in same]


MAPPING: dict[str, object] = {
    "kind": "bars",
    "mic": "XNYS",
    "exchange_zone": "America/New_York",
    "label": "session_date",
    "columns": {"time": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"},
}
