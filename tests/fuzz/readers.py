"""The readers of professional formats, each with small good files to begin from: real samples, and files made by hand."""

from __future__ import annotations

import gzip

from tests.fuzz.whole_way import Reader
from tests.transforms.decode import iex_made, itch_made
from tests.transforms.decode.cases import SAMPLES

_ITCH = [*itch_made.states(), *itch_made.trading()]


def _captures(messages: list[bytes], protocol: int) -> tuple[bytes, ...]:
    """Return captures of all messages, in each form and byte order, and one of each packet alone."""
    packets = iex_made.packets_of(messages, protocol)
    pcaps = [iex_made.pcap(packets), iex_made.pcap(packets, ">", 10**9), *(iex_made.pcap([one]) for one in packets)]
    return (*pcaps, iex_made.pcapng(packets), iex_made.pcapng(packets, ">"), *(iex_made.pcapng([one]) for one in packets))


def _files(folder: str, *patterns: str) -> tuple[bytes, ...]:
    """Return the content of a folder's sample files up to 4,000 bytes, the smallest first."""
    paths = [path for pattern in patterns for path in sorted((SAMPLES / folder).glob(pattern))]
    return tuple(sorted((content for path in paths if len(content := path.read_bytes()) <= 4_000), key=len))


READERS: dict[str, Reader] = {
    "tops": Reader("iex", "tops", "one.pcap", _captures(iex_made.tops_messages(), iex_made.TOPS16), True),
    "deep": Reader("iex", "deep", "one.pcapng", _captures(iex_made.deep_messages(), iex_made.DEEP10), True),
    "itch": Reader(
        "nasdaq",
        "itch",
        "20101224.itch",
        (itch_made.prefixed(_ITCH), b"".join(_ITCH), *(itch_made.prefixed([one]) for one in _ITCH)),
        True,
    ),
    "itch_gzip": Reader("nasdaq", "itch", "20101224.itch.gz", (gzip.compress(itch_made.prefixed(_ITCH), mtime=0),), True),
    "dbn": Reader("databento", "dbn", "one.dbn", _files("databento", "versions/*.dbn"), True),
    "dbn_zstd": Reader("databento", "dbn", "one.dbn.zst", _files("databento", "*/*.dbn.zst")),
    "dbz": Reader("databento", "dbn", "one.dbz", _files("databento", "dbz/*.dbz")),
    "fix": Reader(
        "fix", "market", "one.fix", (*_files("fix", "by_hand/*.fix")[0].split(b"\n")[:3], *_files("fix", "by_hand/*.fix"))
    ),
    "ibkr_wire": Reader("ibkr", "wire", "one.jsonl", _files("ibkr/wire", "wire_messages.jsonl")),
    "ibkr_history": Reader("ibkr", "history", "bars.json", _files("ibkr/history", "bars.json", "days.json", "ticks.json")),
    "taq_trades": Reader("nyse_taq", "trades", "trades.csv", _files("nyse_taq/trades", "*.csv", "*.txt")),
    "taq_quotes": Reader("nyse_taq", "quotes", "quotes.csv", _files("nyse_taq/quotes", "*.csv", "*.txt")),
    "tradier": Reader(
        "tradier", "market", "quote.json", _files("tradier/market", "quote.json", "expirations.json", "chain.json")
    ),
}
"""By name."""
