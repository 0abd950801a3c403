"""How every notebook begins: the lake of the settings, or a word on how to make one."""

from __future__ import annotations

import marimo as mo

from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.settings import Settings
from notebooks import views


def lake_of(settings: Settings) -> Lake:
    """Return the lake; where there is none the page says what to do, and nothing below is run."""
    try:
        return views.opened(settings)
    except TickhouseError as error:
        mo.stop(True, say(f"{error} Run `tickhouse demo`, then open this page again."))
        raise


def say(words: str) -> mo.Html:
    """Return words that stand in the place of what cannot be shown."""
    return mo.callout(mo.md(words), kind="warn")
