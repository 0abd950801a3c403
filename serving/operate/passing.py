"""How another process of ours finds the same lake: by the environment, as every entry point does."""

from __future__ import annotations

from pydantic import SecretStr

from lake.settings import PREFIX, Settings

_PLACES = ("home", "catalog_url", "warehouse", "log_path", "log_url", "state_url")
_ACCESS = ("catalog_token", "catalog_credential", "s3_endpoint", "s3_region", "s3_access_key_id", "s3_secret_access_key")


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that lead to the lake of these settings; what else is set passes through unchanged."""
    found = {name: getattr(settings, name) for name in (*_PLACES, *_ACCESS, "s3_session_token")}
    return {
        PREFIX + name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in found.items()
    }
