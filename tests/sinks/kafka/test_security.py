"""The Kafka sink against a broker with TLS, SASL and access control."""

import base64
import json
import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLFilter, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from sinks.config import KafkaConfig
from sinks.errors import SinkMisconfigured
from sinks.kafka.client import KafkaClient
from sinks.kafka.sink import KafkaSink
from sinks.record import decode
from testing.services.kafka_broker import KafkaBroker
from tests.sinks.kafka.topics import read, settings
from tests.sinks.records import transcript
from tests.sinks.waiting import until

USER, PASSWORD = "alice", "s3cret-of-alice"


class Secured:
    """A broker with the listeners SASL, TLS (client certificates wanted), STALE (its certificate is over) and
    PLAINTEXT, whose users may do everything; `alice` may do what she is granted."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.certificate, self.key = self._client(folder, self.authority, "client")
        listeners = {"SASL": "SASL_PLAINTEXT", "TLS": "SSL", "STALE": "SSL"}
        self.broker = KafkaBroker(self._properties(folder), listeners=listeners, scram={USER: PASSWORD})
        self.broker.start()
        self.admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)

    @staticmethod
    def _client(folder: Path, authority: trustme.CA, name: str) -> tuple[Path, Path]:
        issued = authority.issue_cert("trunkline@example.com", common_name="trunkline")
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def _properties(self, folder: Path) -> dict[str, str]:
        over = datetime.now(UTC) - timedelta(days=1)
        properties = {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:CN=trunkline",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
            "listener.name.tls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/CN=$1/,DEFAULT",
        }
        for listener, issued in (
            ("tls", self.authority.issue_cert("127.0.0.1")),
            ("stale", self.authority.issue_cert("127.0.0.1", not_before=over - timedelta(days=1), not_after=over)),
        ):
            store = folder / f"{listener}.pem"
            store.write_bytes(pkcs8(issued.private_key_pem.bytes()) + issued.cert_chain_pems[0].bytes())
            properties[f"listener.name.{listener}.ssl.keystore.type"] = "PEM"
            properties[f"listener.name.{listener}.ssl.keystore.location"] = str(store)
        security = "org.apache.kafka.common.security"
        for mechanism, module in (
            ("plain", f'plain.PlainLoginModule required user_{USER}="{PASSWORD}"'),
            ("scram-sha-256", "scram.ScramLoginModule required"),
            ("scram-sha-512", "scram.ScramLoginModule required"),
            ("oauthbearer", 'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker"'),
        ):
            properties[f"listener.name.sasl.{mechanism}.sasl.jaas.config"] = f"{security}.{module};"
        return properties

    def grant(self, operation: ACLOperation, topic: str) -> None:
        self.admin.create_acls([self._acl(ACL, operation, topic, ACLPermissionType.ALLOW)])

    def revoke(self, operation: ACLOperation, topic: str) -> None:
        self.admin.delete_acls([self._acl(ACLFilter, operation, topic, ACLPermissionType.ALLOW)])

    @staticmethod
    def _acl(made: Any, operation: ACLOperation, topic: str, permission: ACLPermissionType) -> Any:
        return made(f"User:{USER}", "*", operation, permission, ResourcePattern(ResourceType.TOPIC, topic))

    def settings(self, **changed: Any) -> KafkaConfig:
        """As `alice`, on topics that are there."""
        config = settings(self.broker.address("SASL"), create_topics=False)
        self.admin.create_topics([config.transcripts_topic, config.events_topic], wait_for_metadata=True)
        fields = {name: getattr(config, name) for name in config.__struct_fields__}
        fields |= {"partials_topic": "", "close_timeout_s": 5.0, "security_protocol": "SASL_PLAINTEXT"} | changed
        if fields["sasl_mechanism"] not in (None, "OAUTHBEARER"):
            fields["sasl_username"] = USER
            fields["sasl_password"] = fields["sasl_password"] or PASSWORD
        return KafkaConfig(**fields)


def pkcs8(key: bytes) -> bytes:
    """As Java reads it."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured(tmp_path_factory.mktemp("secured"))
    yield made
    made.admin.close()
    made.broker.remove()


def token(lifetime_s: float = 600.0) -> str:
    """An unsecured JSON Web Token (RFC 7519, section 6), as Kafka's default validator takes it."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": USER, "iat": int(now), "exp": int(now + lifetime_s)}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


async def delivers(secured: Secured, config: KafkaConfig) -> None:
    final = transcript("heard", final=True)
    sink = KafkaSink(config)
    await sink.start()
    await sink.write([final])
    await until(lambda: sink.delivery().delivered == 1)
    await sink.close()
    (message,) = await read(secured.broker.bootstrap, [config.transcripts_topic], 1)
    assert decode(message.value) == final


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password(secured: Secured, mechanism: str) -> None:
    config = secured.settings(sasl_mechanism=mechanism)
    secured.grant(ACLOperation.WRITE, config.transcripts_topic)
    await delivers(secured, config)


async def test_a_token_of_a_command(secured: Secured) -> None:
    command = shlex.join(["printf", "%s", token()])
    config = secured.settings(sasl_mechanism="OAUTHBEARER", sasl_token_command=command)
    secured.grant(ACLOperation.WRITE, config.transcripts_topic)
    await delivers(secured, config)


async def test_a_token_of_an_endpoint(secured: Secured) -> None:
    asked: list[tuple[str | None, bytes]] = []

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.headers["Authorization"], form))
            body = json.dumps({"access_token": token(), "expires_in": 600}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        config = secured.settings(
            sasl_mechanism="OAUTHBEARER",
            sasl_token_url=f"http://127.0.0.1:{server.server_port}/token",
            sasl_token_scope="kafka",
            sasl_username="client",
            sasl_password="of client",
        )
        secured.grant(ACLOperation.WRITE, config.transcripts_topic)
        await delivers(secured, config)
        server.shutdown()
    assert set(asked) == {
        ("Basic " + base64.b64encode(b"client:of%20client").decode(), b"grant_type=client_credentials&scope=kafka")
    }
    assert len(asked) == 1  # every lane and every connection has the same token, until it is old


async def test_a_certificate_of_the_client(secured: Secured) -> None:
    config = secured.settings(
        bootstrap_servers=secured.broker.address("TLS"),
        security_protocol="SSL",
        tls_ca_file=str(secured.ca_file),
        tls_certificate_file=str(secured.certificate),
        tls_key_file=str(secured.key),
        compression="zstd",
    )
    await delivers(secured, config)


def problem(config: KafkaConfig) -> str:
    try:
        with KafkaClient(config).admin():
            return "none"
    except OSError as error:
        return str(error)


def test_what_is_wrong_is_said_in_one_line_without_secrets(secured: Secured) -> None:
    wrong = "another-s3cret"
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        said = problem(secured.settings(sasl_mechanism=mechanism, sasl_password=wrong))
        assert "check user and password" in said
        assert wrong not in said
    config = secured.settings(sasl_mechanism="OAUTHBEARER", sasl_token_command="false")
    assert "false printed no token, its status is 1" in problem(config)
    refused = secured.settings(sasl_mechanism="OAUTHBEARER", sasl_token_url="http://127.0.0.1:9/token")
    assert "sasl_token_url: 127.0.0.1:" in problem(refused)
    tls: dict[str, Any] = {"security_protocol": "SSL", "tls_ca_file": str(secured.ca_file)}
    stale = secured.settings(bootstrap_servers=secured.broker.address("STALE"), **tls)
    assert problem(stale).endswith("certificate has expired")
    unknown = secured.settings(bootstrap_servers=secured.broker.address("TLS"), security_protocol="SSL")
    assert "unable to get local issuer certificate" in problem(unknown)


def test_files_of_certificates_that_cannot_be_used_are_said_at_the_start(secured: Secured, tmp_path: Path) -> None:
    tls: dict[str, Any] = {"bootstrap_servers": secured.broker.address("TLS"), "security_protocol": "SSL"}
    with pytest.raises(SinkMisconfigured, match=r"nowhere\.pem: No such file"):
        KafkaClient(secured.settings(**tls, tls_ca_file=str(tmp_path / "nowhere.pem")))
    no_key = tmp_path / "no.key"
    no_key.write_text("no key")
    config = secured.settings(**tls, tls_certificate_file=str(secured.certificate), tls_key_file=str(no_key))
    with pytest.raises(SinkMisconfigured, match=r"no\.key"):
        KafkaClient(config)


async def test_a_permission_taken_away_and_given_back(secured: Secured, caplog: pytest.LogCaptureFixture) -> None:
    config = secured.settings(sasl_mechanism="SCRAM-SHA-256")
    sink = KafkaSink(config)
    await sink.start()
    finals = [transcript(f"{k}", k, final=True) for k in range(6)]
    await sink.write(finals[:2])
    denied = f"no permission for topic {config.transcripts_topic}: grant Describe and Write to this user"
    await until(lambda: denied in caplog.text)
    assert not sink.delivery().connected
    secured.grant(ACLOperation.WRITE, config.transcripts_topic)
    await until(lambda: sink.delivery().delivered == 2)
    secured.revoke(ACLOperation.WRITE, config.transcripts_topic)
    await sink.write(finals[2:4])
    await until(lambda: not sink.delivery().connected)
    secured.grant(ACLOperation.WRITE, config.transcripts_topic)
    await sink.write(finals[4:])
    await until(lambda: sink.delivery().delivered == 6)
    await sink.close()
    messages = await read(secured.broker.bootstrap, [config.transcripts_topic], 6)
    assert [decode(message.value) for message in messages] == finals
    assert (sink.delivery().dead_lettered.total(), sink.delivery().lost) == (0, 0)
