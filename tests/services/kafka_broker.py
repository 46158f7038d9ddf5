"""A private Apache Kafka broker for tests: one process, broker and controller in one, KRaft mode, with the settings of
`deploy/compose.yaml`."""

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.services.composed import kafka_heap, kafka_properties
from tests.services.missing import ServiceMissing
from tests.services.ports import free_ports

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
    """Apache Kafka 4.1 on ports of the loopback interface; needs Java 17 or later."""

    def __init__(self) -> None:
        java = shutil.which("java")
        if java is None:
            raise ServiceMissing("java is not installed: run `python -m tests.services.install`")
        self._java = [java, kafka_heap(), "-cp", f"{fetch_jars()}/*"]
        self._folder = Path(tempfile.mkdtemp(prefix="trunkline-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._broker_port, controller_port = free_ports(2)
        self._properties = self._folder / "server.properties"
        properties = kafka_properties() | {
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self._broker_port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._broker_port}",
            "log.dirs": str(self._folder / "data"),
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self._log = self._folder / "kafka.log"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._broker_port}"

    def start(self) -> None:
        """Returns when it answers. Raises `ServiceMissing` if it does not come up."""
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties)]
        with self._log.open("ab") as output:
            subprocess.run([*self._java, *tool], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                # The client leaves a socket open for every attempt that is refused.
                socket.create_connection(("127.0.0.1", self._broker_port), timeout=5).close()
                KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=2_000).close()
            except (OSError, KafkaError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = self._log.read_text()[-2000:]
                    self.remove()
                    raise ServiceMissing(f"the Kafka broker does not start: {log}") from error
                time.sleep(0.1)
            else:
                return

    def remove(self) -> None:
        if self._process is not None:
            self._process.kill()  # nothing of it is wanted any more
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)
