"""Settings: what a user may choose, read from the environment (`TICKHOUSE_...`) by entry points only.

Everything below receives a `Settings` value. Adding one: a field here with its description; `tickhouse settings` lists it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from lake.errors import InvalidValueError, SettingsError
from lake.values import RunnerKind

PREFIX = "TICKHOUSE_"
_PLACES = {"home", "catalog_url", "warehouse", "log_path", "log_url", "state_url", "min_free_bytes", "lease_timeout_s"} | {
    "api_host",
    "api_port",
    "api_auth",
    "kill_at",
    "backup_to",
    "alert_command",
    "backup_every_s",
    "drill_every_s",
    "replica_to",
    "replica_every_s",
    "compact_target_bytes",
    "compact_quiet_s",
    "compact_files",
    "sweep_after_s",
    "archive_location",
    "archive_tables",
    "archive_after_days",
    "price_gb_month",
    "archive_price_gb_month",
    "fail_at",
    "lease_expiry_s",
    "host",
    "hot_bytes",
    "runner",
    "runner_workers",
    "runner_timeout_s",
    "ray_address",
    "topic_retention_s",
    "catalog_token",
    "catalog_credential",
    "s3_endpoint",
    "s3_region",
    "s3_access_key_id",
    "s3_secret_access_key",
    "s3_session_token",
    "config",
}
"""Fields that say where and when, not what: two lakes that differ only in these hold the same rows."""
OBJECT_STORE = "s3://"
_ADDRESSES = {"catalog_url", "state_url", "log_url", "backup_to"}
"""Fields that may carry a password in their value."""
_UNSAFE_IN_PATHS = set("#?*[]%")
"""Characters that Iceberg locations or DuckDB file lists read as something else than a name."""


def _cores() -> int:
    return os.cpu_count() or 1


class Settings(BaseSettings):
    """Everything a user may choose; frozen."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    home: Path = Field(Path(".tickhouse"), description="Folder of the lake; the other places default to inside it.")
    catalog_url: str = Field(
        "",
        repr=False,
        description="Iceberg catalog: postgresql://user:password@host/database, rest+http(s)://host/path of a REST catalog,"
        " or a SQLite file (default: catalog.db in the home).",
    )
    catalog_token: SecretStr = Field(SecretStr(""), description="Bearer token for a REST catalog.")
    catalog_credential: SecretStr = Field(SecretStr(""), description="client_id:secret for a REST catalog that asks for OAuth2.")
    warehouse: Path | str = Field(Path(), description="Tables: a folder (default: warehouse in the home), or s3://bucket/prefix.")
    log_path: Path = Field(Path(), description="Folder of the embedded log; default: log in the home.")
    log_url: str = Field(
        "", repr=False, description="Log on Kafka: kafka://host:port[,host:port][/prefix]; default: the embedded one."
    )
    config: Path = Field(
        Path(),
        description="File of providers, universes and schedules (`tickhouse config`); default: tickhouse.toml in the home.",
    )
    state_url: str = Field(
        "", repr=False, description="Database of mutable state; default: the catalog's on PostgreSQL, else state.db in the home."
    )
    s3_endpoint: str = Field("", description="Address of an S3-compatible store, http(s)://host:port; default: Amazon's.")
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_access_key_id: str = Field("", description="Key of the store; default: what the AWS environment or machine role gives.")
    s3_secret_access_key: SecretStr = Field(SecretStr(""), description="Secret of that key.")
    s3_session_token: SecretStr = Field(SecretStr(""), description="Token of a temporary key.")

    log_partitions: int = Field(4, ge=1, le=1024, description="Partitions of the raw log, by capture.")
    segment_bytes: int = Field(64 << 20, ge=1 << 16, description="Size at which a log segment is closed.")
    segment_age_s: float = Field(3600.0, gt=0, description="Age at which a log segment is closed.")
    log_retention_s: float = Field(3600.0, ge=0, description="Least age at which a landed log segment may be dropped.")
    topic_retention_s: float = Field(
        604_800.0, ge=0, description="Least age at which events leave the topics of the embedded log; on Kafka the broker rules."
    )
    min_free_bytes: int = Field(64 << 20, ge=0, description="Free disk below which the log takes nothing more.")

    landing_messages: int = Field(100_000, ge=1, description="Most messages of one landing commit.")
    batch_messages: int = Field(50_000, ge=1, description="Most messages of one promotion batch.")
    keep_snapshots: int = Field(30, ge=1, description="Snapshots of a table that expiry keeps.")
    compact_target_bytes: int = Field(256 << 20, ge=1 << 10, description="Size of the files that compaction makes.")
    compact_quiet_s: float = Field(3600.0, ge=0, description="Age of a partition's newest file at which it is quiet.")
    compact_files: int = Field(32, ge=2, description="Small files at which a partition still written to is compacted.")
    sweep_after_s: float = Field(
        3600.0, ge=0, description="Seconds that a file must be unreachable before it is deleted: more than the longest query."
    )
    archive_location: str = Field("", description="Archive tier: a folder, or s3://bucket/prefix; none: no archive.")
    archive_tables: tuple[str, ...] = Field((), description="Tables whose closed partitions are archived (JSON list).")
    archive_after_days: int = Field(30, ge=1, description="Days after its end at which a partition is archived.")
    retention: dict[str, int] = Field(
        {},
        description='Days kept, by layer, table, layer/provider or table/provider (JSON: {"normalized.quotes/binance": 90}).',
    )
    price_gb_month: float = Field(0.023, ge=0, description="Price of a gigabyte stored for a month, for reports.")
    archive_price_gb_month: float | None = Field(
        None, ge=0, description="The same in the archive; default: as everywhere (price_gb_month)."
    )
    provider_priority: tuple[str, ...] = Field(
        ("csv", "ice", "alpaca", "yahoo", "alpha_vantage", "finnhub", "binance"),
        description="Who wins an agreed bar where several feeds have it (JSON list).",
    )

    runner: RunnerKind = Field(
        RunnerKind.LOCAL, description="Where rebuilds and adjustments work: local, process or ray; `--runner` overrides it."
    )
    runner_workers: int = Field(default_factory=_cores, ge=1, le=1024, description="Workers of the runners process and ray.")
    runner_timeout_s: float = Field(1800.0, gt=0, description="Seconds after which a worker's silence counts as a hang.")
    ray_address: str = Field("", description="Ray cluster, like ray://host:10001; default: one of its own on loopback.")

    alert_command: str = Field(
        "", description="Command that `up` runs for each alert raised or resolved, the alert as JSON on its stdin; none: nobody."
    )

    backup_to: str = Field(
        "", repr=False, description="Where backups go: a folder, or s3://BUCKET/PREFIX; see lake/backup/README.md."
    )
    backup_every_s: float = Field(0.0, ge=0, description="Seconds between two backups made by `up`; 0: none.")
    drill_every_s: float = Field(0.0, ge=0, description="Seconds between two recovery drills made by `up`; 0: none.")
    replica_to: Path = Field(Path(), description="Folder of the replica; none: no replica.")
    replica_every_s: float = Field(0.0, ge=0, description="Seconds between two syncs of the replica made by `up`; 0: none.")

    lease_timeout_s: float = Field(30.0, ge=0, description="Seconds to wait for a lease that a living process holds.")
    hot_bytes: int = Field(
        256 << 20, ge=0, description="Memory for the newest sessions' rows, a process; 0 keeps none (lake/hot_rows.py)."
    )
    lease_expiry_s: float = Field(
        20.0, gt=0, description="Seconds of silence after which a lease held on another host may be taken; under lease_timeout_s."
    )
    host: str = Field("", description="Name of this machine in leases, one of its own for each; default: its host name.")
    api_host: str = Field("127.0.0.1", description="Address the HTTP interface listens on.")
    api_port: int = Field(8000, ge=0, le=65535, description="Port the HTTP interface listens on.")
    api_auth: Literal["auto", "keys", "none"] = Field(
        "auto",
        description="Whether HTTP needs a key: keys, none, or auto: as soon as one was made, and always beyond loopback.",
    )
    jobs_from: Literal["simulator", "provider"] = Field(
        "simulator", description="Who is asked by jobs of POST /integration/process: the simulator, or the provider itself."
    )
    kill_at: str = Field("", description="For crash tests: the step boundary at which the process kills or stops itself.")
    fail_at: str = Field("", description="For crash tests: which write, fsync, link or deletion fails, and how (fsync:3:EIO).")

    @model_validator(mode="after")
    def _fill_places(self) -> Self:
        home = self.home.expanduser().resolve()
        catalog_url = self.catalog_url or f"sqlite:///{home / 'catalog.db'}"
        own_state = f"sqlite:///{home / 'state.db'}"
        warehouse = str(self.warehouse)
        places: dict[str, object] = {
            "home": home,
            "catalog_url": catalog_url,
            "warehouse": _object_place(warehouse) or (home / "warehouse" if warehouse == "." else _folder(warehouse)),
            "config": home / "tickhouse.toml" if self.config == Path() else self.config.expanduser().resolve(),
            "log_path": home / "log" if self.log_path == Path() else self.log_path.expanduser().resolve(),
            # State lives in the catalog's own database; a REST catalog shows none.
            "archive_location": _object_place(self.archive_location) or self.archive_location,
            "state_url": self.state_url or (catalog_url if catalog_url.startswith("postgres") else own_state),
        }
        unsafe = _UNSAFE_IN_PATHS & set(str(places["warehouse"]))
        if unsafe:
            raise ValueError(f"warehouse {places['warehouse']} must not contain {' '.join(sorted(unsafe))}")
        if _UNSAFE_IN_PATHS & set(self.archive_location):
            raise ValueError(
                f"archive_location {self.archive_location} must not contain any of {' '.join(sorted(_UNSAFE_IN_PATHS))}"
            )
        self.__dict__.update(places)
        return self

    @property
    def is_on_objects(self) -> bool:
        """Whether the tables are in an object store, not in a folder."""
        return str(self.warehouse).startswith(OBJECT_STORE)

    @property
    def warehouse_folder(self) -> Path:
        """The warehouse where it is a folder. Raises InvalidValueError when it is an object store."""
        if isinstance(self.warehouse, str):
            raise InvalidValueError(f"the warehouse is {self.warehouse}; expected a folder of this machine")
        return self.warehouse

    def configuration_hash(self) -> str:
        """Return the SHA-256, in hex, of every setting that can change what is stored: places and ports are left out."""
        document = self.model_dump(mode="json", exclude=_PLACES)
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def load_settings(**overrides: object) -> Settings:
    """Return the settings of the environment, `overrides` first. Raises SettingsError that names each wrong setting."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic, not by mypy
    except ValidationError as error:
        wrong = "; ".join(
            f"{PREFIX}{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}, got {_shown(item)}"
            if item["loc"]
            else str(item["msg"])
            for item in error.errors()
        )
        raise SettingsError(wrong) from error
    except UnreadableError as error:
        raise SettingsError(str(error)) from error


def without_password(url: str) -> str:
    """Return an address as it may be shown: the password of its login, and one among its options, are left out."""
    address, question, options = url.partition("?")
    scheme, found, rest = address.partition("://")
    login, at, host = rest.rpartition("@")
    if found and at:
        address = f"{scheme}://{login.partition(':')[0]}{':…' if ':' in login else ''}@{host}"
    shown = [part if "password" not in part.partition("=")[0] else f"{part.partition('=')[0]}=…" for part in options.split("&")]
    return address + question + "&".join(shown)


def _shown(item: Mapping[str, Any]) -> str:
    name, value = str(item["loc"][0]), item["input"]
    if name in Settings.model_fields and Settings.model_fields[name].annotation is SecretStr:
        return "…"
    return repr(without_password(value) if isinstance(value, str) and name in _ADDRESSES else value)


def _folder(text: str) -> Path:
    if "://" in text:
        raise ValueError(f"warehouse {text} is neither a folder nor {OBJECT_STORE}bucket/prefix")
    return Path(text).expanduser().resolve()


def _object_place(text: str) -> str | None:
    """Return an object store's place without a slash at its end; None for a folder."""
    if not text.startswith(OBJECT_STORE):
        return None
    bucket, *prefix = [part for part in text[len(OBJECT_STORE) :].split("/") if part] or [""]
    if not bucket or bucket in (".", "..") or "@" in bucket or ":" in bucket:
        raise ValueError(f"warehouse {text} names no bucket; expected {OBJECT_STORE}bucket/prefix")
    return OBJECT_STORE + "/".join([bucket, *prefix])
