"""How another process of ours finds the same lake: by the environment, as every entry point does."""

from __future__ import annotations

from lake.settings import PREFIX, Settings

_PLACES = ("home", "catalog_url", "warehouse", "log_path", "state_url")


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that lead to the lake of these settings; what else is set passes through unchanged."""
    return {PREFIX + name.upper(): str(getattr(settings, name)) for name in _PLACES}
