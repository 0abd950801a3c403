"""Lines of statements, profiles and lists: a JSON value, or a text, becomes `value` or `text_value` of a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from transforms.decode.json_digits import Digits, rounded
from transforms.decode.readers import Object, Row
from transforms.numbers import NumberRefusedError

NUMBER_SCALE, NUMBER_DIGITS = 12, 38
_NUMBER_TEXT = re.compile(r"-?\d{1,30}(\.\d{1,30})?\Z")
_NOTHING = frozenset({"", "None", "-", "null", "NaN", "N/A"})


def value_of(value: object) -> Row:
    """Return {value} of a JSON number, rounded to 12 places, {text_value} of text or truth; nothing of null, "" and nested parts.

    Raises NumberRefusedError for a number that does not fit.
    """
    if value is None or value == "" or isinstance(value, dict | list):
        return {}
    if isinstance(value, bool) or (isinstance(value, str) and not isinstance(value, Digits)):
        return {"text_value": str(value)}
    return {"value": rounded(value, NUMBER_SCALE, NUMBER_DIGITS)}


def text_value_of(value: object) -> Row:
    """Return the same where numbers are written as texts; "None", "-" and the like tell nothing."""
    if isinstance(value, str) and not isinstance(value, Digits):
        told = value.strip()
        if told in _NOTHING:
            return {}
        return value_of(Digits(told)) if _NUMBER_TEXT.match(told) else {"text_value": told}
    return value_of(value)


def number_in(text: object) -> Digits | None:
    """Return the number that a text holds, None for null and "". Raises NumberRefusedError (malformed_number) for other texts."""
    if text is None or text == "":
        return None
    if not isinstance(text, str) or not _NUMBER_TEXT.match(text):
        raise NumberRefusedError("malformed_number", text, "digits as text")
    return Digits(text)


def lines(
    shared: Row, word: str, told: Object, names: Iterable[str], read: Callable[[object], Row] = value_of, **more: object
) -> Iterator[Row]:
    """Yield a row for each name that tells something; `word` is the column of the name, `item` or `measure`."""
    for name in names:
        found = read(told.get(name))
        if found:
            yield shared | {word: name} | more | found
