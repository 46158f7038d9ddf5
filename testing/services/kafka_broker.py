"""Private Apache Kafka brokers for tests, KRaft mode: each one process, broker and controller in one, with the settings
of `deploy/compose.yaml`."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from testing.services.composed import kafka_heap, kafka_properties
from testing.services.missing import ServiceMissing
from testing.services.ports import free_ports

POM = Path(__file__).parent / "kafka" / "pom.xml"
# Named after what the pom asks for, so that a changed pom is fetched anew.
JARS = Path(__file__).parents[2] / ".test-services" / f"kafka-{sha256(POM.read_bytes()).hexdigest()[:12]}"
START_TIMEOUT_S = 90.0


def fetch_jars() -> Path:
    """The folder with the broker's jars; fetched with Maven if they are not there. Raises `ServiceMissing`."""
    if JARS.is_dir():
        return JARS
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceMissing("the Kafka jars are missing and so is mvn: run `python -m tests.services.install`")
    JARS.parent.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kafka-", dir=JARS.parent))
    goal = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(goal, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        raise ServiceMissing(f"Maven cannot fetch the Kafka jars: {(done.stdout + done.stderr)[-2000:]}")
    try:
        folder.rename(JARS)
    except OSError:  # another run was faster
        shutil.rmtree(folder)
    return JARS


class KafkaBroker:
    """Apache Kafka 4.1 on ports of the loopback interface; needs Java 17 or later. Its data survive `kill`.

    `properties`: beside those of the compose file, or in their place. `listeners`: further ones than `PLAINTEXT`, which
    is always there, by name with their security protocol. `scram`: users with passwords, of both mechanisms. `quorum`:
    ports of the controllers of a cluster by node; this broker is `node`.
    """

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        listeners: Mapping[str, str] | None = None,
        scram: Mapping[str, str] | None = None,
        node: int = 1,
        quorum: Mapping[int, int] | None = None,
        cluster_id: str | None = None,
    ) -> None:
        java = shutil.which("java")
        if java is None:
            raise ServiceMissing("java is not installed: run `python -m tests.services.install`")
        self._java = [java, kafka_heap(), "-cp", f"{fetch_jars()}/*"]
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster_id = cluster_id or new_cluster_id()
        self._scram = dict(scram or {})
        self._formatted = False
        quorum = quorum or {node: free_ports(1)[0]}
        protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        self._ports = dict(zip(protocols, free_ports(len(protocols)), strict=True))
        served = [f"{name}://127.0.0.1:{port}" for name, port in self._ports.items()]
        self._properties = self._folder / "server.properties"
        settings = {
            **kafka_properties(),
            "node.id": node,
            "controller.quorum.voters": ",".join(f"{one}@127.0.0.1:{port}" for one, port in quorum.items()),
            "listeners": ",".join([*served, f"CONTROLLER://127.0.0.1:{quorum[node]}"]),
            "advertised.listeners": ",".join(served),
            "listener.security.protocol.map": ",".join(
                f"{name}:{of}" for name, of in {**protocols, "CONTROLLER": "PLAINTEXT"}.items()
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self._folder / "data",
            **(properties or {}),
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._log = self._folder / "kafka.log"

    @property
    def bootstrap(self) -> str:
        return self.address("PLAINTEXT")

    def address(self, listener: str) -> str:
        """host:port of a listener."""
        return f"127.0.0.1:{self._ports[listener]}"

    def start(self, *, wait: bool = True) -> None:
        """Returns when it answers; also starts it again, with its data. Raises `ServiceMissing` if it does not come
        up."""
        with self._log.open("ab") as output:
            if not self._formatted:
                subprocess.run(self._format(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
                self._formatted = True
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Until it answers. Raises `ServiceMissing` if it does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                # The client leaves a socket open for every attempt that is refused.
                socket.create_connection(("127.0.0.1", self._ports["PLAINTEXT"]), timeout=5).close()
                KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2_000).close()
            except (OSError, KafkaError) as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._log.read_text()[-2000:]
                    self.remove()
                    raise ServiceMissing(f"the Kafka broker does not start: {log}") from error
                time.sleep(0.1)
            else:
                return

    def replace(self) -> None:
        """Another one takes its address: of a new cluster, without its data."""
        self.kill()
        shutil.rmtree(self._folder / "data")
        self._cluster_id, self._formatted = new_cluster_id(), False
        self.start()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order: its leaderships go to the others first."""
        self.signal(signal.SIGTERM)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """SIGSTOP freezes it, SIGCONT lets it go on."""
        if self._process is not None:
            self._process.send_signal(number)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _format(self) -> list[str]:
        tool = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(self._properties)]
        for user, password in self._scram.items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                tool += ["--add-scram", f"{mechanism}=[name={user},password={password}]"]
        return [*self._java, *tool]


class KafkaCluster:
    """Three brokers, three replicas of each partition, of which two must be in sync."""

    def __init__(self) -> None:
        quorum = dict(zip((1, 2, 3), free_ports(3), strict=True))
        cluster_id = new_cluster_id()
        replicated = {
            "default.replication.factor": "3",
            "min.insync.replicas": "2",
            "offsets.topic.replication.factor": "3",
        }
        self.brokers = [KafkaBroker(replicated, node=node, quorum=quorum, cluster_id=cluster_id) for node in quorum]

    @property
    def bootstrap(self) -> str:
        """All brokers, separated by commas."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Returns when each answers. Raises `ServiceMissing`."""
        for broker in self.brokers:
            broker.start(wait=False)
        for broker in self.brokers:
            broker.wait_ready()

    def remove(self) -> None:
        for broker in self.brokers:
            broker.remove()


def new_cluster_id() -> str:
    """As Kafka wants it: 16 octets in base64, not beginning with a dash."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
