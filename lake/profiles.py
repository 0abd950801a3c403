"""Where a lake is kept, as its settings say: which catalog, which database, which files.

Embedded: SQLite and a folder. Production: PostgreSQL or a REST catalog, an object store, Kafka. Each can be chosen by itself;
the code above is the same, and so are its acceptance tests (tests/lake/test_profiles.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.catalog import Catalog

from lake import iceberg_internals as internals
from lake import objects
from lake.databases import is_sqlite, open_engine
from lake.durable import location_of, make_folder
from lake.errors import SettingsError
from lake.settings import Settings, without_password

CATALOG = "tickhouse"
_REST = ("rest+http://", "rest+https://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a lake rests on, in words without passwords. `name` is embedded, production, or mixed."""

    name: str
    catalog: str
    state: str
    files: str
    log: str


def profile_of(settings: Settings) -> Profile:
    """Return the profile that settings choose."""
    is_local = [is_sqlite(settings.catalog_url), is_sqlite(settings.state_url), not settings.is_on_objects, not settings.log_url]
    name = "embedded" if all(is_local) else "mixed" if any(is_local) else "production"
    return Profile(
        name,
        catalog=without_password(settings.catalog_url),
        state=without_password(settings.state_url),
        files=str(settings.warehouse) + (f" at {settings.s3_endpoint}" if settings.s3_endpoint else ""),
        log=without_password(settings.log_url) or str(settings.log_path),
    )


def is_rest(url: str) -> bool:
    """Return whether a catalog's address is one of an Iceberg REST catalog."""
    return url.startswith(_REST)


def table_location(settings: Settings, table: str) -> str:
    """Return where a table is kept: in our warehouse, also where a REST catalog has one of its own."""
    return f"{warehouse_location(settings)}/{table.replace('.', '/')}"


def make_places(settings: Settings) -> None:
    """Make the folders that a lake needs and that do not exist yet; a bucket is the operator's to make."""
    make_folder(settings.home)
    if not isinstance(settings.warehouse, str):
        make_folder(settings.warehouse)


def open_catalog(settings: Settings) -> Catalog:
    """Return the catalog of a lake. Raises SettingsError for an address that is none."""
    objects.attach(settings)
    common = {"warehouse": warehouse_location(settings), "py-io-impl": "lake.durable.DurableFileIO"}
    url = settings.catalog_url
    if is_rest(url):
        from pyiceberg.catalog.rest import RestCatalog  # 0.2 s with its HTTP client, and most lakes have none

        login = {
            "token": settings.catalog_token.get_secret_value(),
            "credential": settings.catalog_credential.get_secret_value(),
        }
        chosen = {name: value for name, value in login.items() if value}
        return RestCatalog(CATALOG, uri=url.removeprefix("rest+"), **common, **chosen)
    if "://" not in url:
        raise SettingsError(
            f"TICKHOUSE_CATALOG_URL: {without_password(url)} is no address; expected postgresql://… or rest+http://…"
        )
    return internals.RememberingCatalog(CATALOG, open_engine(url), **common, init_catalog_tables="false")


def warehouse_location(settings: Settings) -> str:
    """Return the warehouse as Iceberg writes it."""
    return settings.warehouse if isinstance(settings.warehouse, str) else location_of(settings.warehouse)
