"""Yahoo's search: the articles it found. The symbols it found, research reports, lists and navigation are kept in raw only.

An article stands once for each ticker it is related to. Source: node-yahoo-finance2's recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pyarrow as pa

from lake.instants import EPOCH
from transforms.decode.decoded import NEWS, Decoded
from transforms.decode.json_digits import document, text_of
from transforms.decode.readers import Reader, Row, object_of, read_messages
from transforms.decode.yahoo_values import is_no_answer, needed_text, refused_words, symbol_hints
from transforms.numbers import NumberRefusedError

_LAST_S = 7_258_118_399


def decode_search(messages: pa.Table) -> Decoded:
    """Return the articles of search answers; their symbols are refused as raw_only, once an answer."""
    reader = Reader((NEWS,))

    def read(payload: bytes) -> None:
        found = None if is_no_answer(payload) else document(payload)
        if found is None or refused_words(found):
            return
        articles, symbols = (found.get(name) if isinstance(found, dict) else None for name in ("news", "quotes"))
        if not isinstance(articles, list) and not isinstance(symbols, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "news, quotes: lists")
        for article in articles if isinstance(articles, list) else []:
            reader.add_all(NEWS, _article, article, reader.delivered)
        if isinstance(symbols, list) and symbols:
            names = [each.get("symbol", each.get("name")) if isinstance(each, dict) else each for each in symbols]
            reader.refuse(NEWS, NumberRefusedError("raw_only", f"symbols: {names}", "articles"))

    return read_messages(reader, messages, read)


def _article(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry, "an article")
    stamp = told.get("providerPublishTime")
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not 0 < stamp <= _LAST_S:
        raise NumberRefusedError("timestamp", stamp, "providerPublishTime: seconds since 1970")
    article = {
        "news_id": needed_text(told.get("uuid"), "id"),
        "headline": needed_text(told.get("title"), "headline"),
        "source": text_of(told.get("publisher")),
        "url": text_of(told.get("link")),
        "ts_event": EPOCH + timedelta(seconds=stamp),
        "delivered_at": delivered,
    }
    related = told.get("relatedTickers")
    names = [name for name in related if text_of(name)] if isinstance(related, list) else []
    for name in dict.fromkeys(names) if names else [None]:
        yield article | ({} if name is None else symbol_hints(name))
