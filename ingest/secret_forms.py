"""The forms in which a secret may come back: as it is, percent-encoded, escaped, in base64. Function."""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

LEAST_SECRET = 8
"""A shorter value is no secret but a word, like Alpha Vantage's key `demo`: replacing it would spoil the data."""


def secret_forms(value: str) -> frozenset[bytes]:
    """Return every form of a credential's value in bytes; none for a word.

    Of `Bearer KEY` or `Token KEY` the secret is the key; of `Basic ...` also the parts of what it encodes.
    """
    scheme, _, rest = value.partition(" ")
    secrets = [value, rest] if rest and scheme in ("Basic", "Bearer", "Token") else [value]
    if scheme == "Basic":
        secrets += _decoded(rest).split(":")
    return frozenset(form for secret in secrets if len(secret) >= LEAST_SECRET for form in _forms(secret))


def _forms(secret: str) -> Iterator[bytes]:
    encoded = (quote(secret), quote(secret, safe=""), quote_plus(secret))
    texts = {secret, *encoded, *(_in_lower_hex(each) for each in encoded), html.escape(secret)}
    texts |= {json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/"), repr(secret)[1:-1]}
    for text in texts:
        yield text.encode("utf-8", "surrogatepass")
    plain = secret.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):  # where it begins within the three bytes that make four letters
            letters = encode(b"\0" * before + plain).rstrip(b"=")
            first = (0, 2, 3)[before]
            last = len(letters) - ((before + len(plain)) % 3 != 0)
            yield letters[first:last]


def _in_lower_hex(text: str) -> str:
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
