"""An S3-compatible store for the tests: moto's server in a process thread, on a free port, for one session."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.fs
import pytest

KEY, SECRET = "tester", "very secret/key"


@dataclass(frozen=True, slots=True)
class Store:
    """A running store."""

    endpoint: str

    def client(self) -> pyarrow.fs.S3FileSystem:
        """Return a client of its operator's."""
        return pyarrow.fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=self.endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
            connect_timeout=60.0,
            request_timeout=60.0,
        )

    def settings(self, bucket: str) -> dict[str, str]:
        """Make a bucket; return the settings of a warehouse in it."""
        self.client().create_dir(bucket)
        return {
            "warehouse": f"s3://{bucket}/lake",
            "s3_endpoint": self.endpoint,
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SECRET,
        }


@pytest.fixture(scope="session")
def object_store() -> Iterator[Store]:
    """A store of our own; buckets are made by name, one for each lake."""
    from moto.server import ThreadedMotoServer  # every session loads this module, few of them need a store

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Store(f"http://{host}:{port}")
    server.stop()
