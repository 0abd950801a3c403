"""A real Apache Kafka for the tests: one combined node from Maven Central, on free ports, for one session.

KAFKA_BOOTSTRAP=host:port in the environment is used instead, where it is set. The jars are kept in
~/.cache/tickhouse (XDG_CACHE_HOME), outside the checkout.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.optional_parts import go_without

BOOTSTRAP = "KAFKA_BOOTSTRAP"
_POM = Path(__file__).with_name("pom.xml")
_LEAST_JAVA = 17
_START_S, _STOP_S = 60, 10
_ATTEMPTS = 5


class NotHereError(Exception):
    """A broker cannot be had on this machine; the words say why."""


class Broker:
    """One node that is broker and controller, with its data in `folder`."""

    def __init__(self, jars: Path, folder: Path) -> None:
        self.folder, self._jars = folder, jars
        self._port, controller = free_ports(2)
        self.address = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._properties = folder / "server.properties"
        self._properties.write_text(properties(folder / "data", self._port, controller), encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties))

    def _java(self, *words: str) -> None:
        done = subprocess.run(["java", "-cp", f"{self._jars}/*", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHereError(f"Kafka's storage was not formatted: {done.stderr.strip() or done.stdout.strip()}")

    def start(self) -> None:
        """Start it and wait until it answers an admin's call, not only until its port is open."""
        from kafka import KafkaAdminClient  # every session loads this module, few of them a client of Kafka
        from kafka.errors import KafkaError

        with (self.folder / "output").open("ab") as output:
            command = ["java", "-Xmx512m", "-cp", f"{self._jars}/*", "kafka.Kafka", str(self._properties)]
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        waiting = threading.Event()
        for _ in range(_START_S * 4):
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                waiting.wait(0.25)
                continue
            try:
                KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=_START_S * 1_000).close()
                return
            except KafkaError:
                break
        said = (self.folder / "output").read_text(errors="replace")[-500:]
        raise NotHereError(f"Kafka did not answer within {_START_S} s: {said}")

    def kill(self) -> None:
        """End it with SIGKILL; it can be started again on the same data."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Stop it with SIGSTOP, and return when each of its threads has stopped: connections stay open, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it: SIGTERM, after 10 s SIGKILL."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


def started(libraries: Path, folder: Path) -> Broker:
    """Return a broker that answers; a port that was free a moment ago may be taken, so others are tried."""
    for attempt in range(_ATTEMPTS):
        broker = None
        try:
            broker = Broker(libraries, folder / str(attempt))
            broker.start()
            return broker
        except NotHereError:
            if broker is not None:
                broker.stop()
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def properties(data: Path, port: int, controller: int) -> str:
    """Return the configuration of a node for tests: small, quick, one replica of everything."""
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2000000
"""


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def jars(pom: Path = _POM, name: str = "kafka") -> Path:
    """Return the folder of a server's jars, fetched by Maven once: from its own cache, else from the repository."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None:
        raise NotHereError("java was not found on this machine")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _LEAST_JAVA:
        raise NotHereError(f"Java {_LEAST_JAVA} or later was not found on this machine: {told.strip().splitlines()[:1]}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tickhouse"
    folder = cache / f"{name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    if maven is None:
        raise NotHereError("mvn was not found on this machine")
    made = cache / f"{name}-{uuid.uuid4().hex}"
    made.mkdir(parents=True)
    said = ""
    for mode in (["-o"], []):
        words = [maven, "-q", "-B", *mode, "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={made}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            if not folder.is_dir():
                made.rename(folder)
            return folder
        said = done.stdout.strip()[-300:]
    shutil.rmtree(made)
    raise NotHereError(f"the jars of {name} are neither in Maven's cache nor to be had from its repository: {said}")


@pytest.fixture(scope="session")
def kafka_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker of our own, that a test may pause and kill."""
    try:
        broker = started(jars(), tmp_path_factory.mktemp("broker"))
        try:
            yield broker
        finally:
            broker.stop()
    except NotHereError as error:
        go_without(f"there is no Kafka: {error}")


@pytest.fixture(scope="session")
def kafka_broker(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a broker, host:port; processes started by the tests find it in KAFKA_BOOTSTRAP."""
    given = os.environ.get(BOOTSTRAP)
    if given:
        yield given
        return
    os.environ[BOOTSTRAP] = request.getfixturevalue("kafka_node").address
    yield os.environ[BOOTSTRAP]
    del os.environ[BOOTSTRAP]
