"""The kinds of upkeep, by name; light to import, for the command line's help lists them."""

from __future__ import annotations

WORKS = ("retain", "compact", "archive", "manifests", "expire", "sweep")
"""Every kind of upkeep, in the order in which one makes work for the next."""
