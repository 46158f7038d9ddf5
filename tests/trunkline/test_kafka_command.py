"""`trunkline kafka` on a real broker, as it is called."""

import uuid
from pathlib import Path

from testing.services.ports import free_ports
from tests.trunkline.command import trunkline


def configuration(folder: Path, bootstrap: str, **changed: object) -> Path:
    name = f"test-{uuid.uuid4()}"
    section = {f"{kind}_topic": f"{name}.{kind}" for kind in ("transcripts", "events", "partials", "dead_letters")}
    section |= {"bootstrap_servers": bootstrap, "spool": str(folder / "spool")}
    lines = [f'{key} = "{value}"' for key, value in section.items()]
    lines += [f"{key} = {value}" for key, value in changed.items()]
    path = folder / "trunkline.toml"
    path.write_text("[kafka]\n" + "\n".join(lines) + "\n")
    return path


def test_topics_are_made_and_then_as_they_are_to_be(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, kafka_bootstrap, partitions=2)
    missing = trunkline("kafka", "check", "--config", config, cwd=tmp_path)
    assert missing.returncode == 1
    assert missing.stdout.count("fault: it is missing: run `trunkline kafka init`") == 4
    made = trunkline("kafka", "init", "--config", config, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    settings = "cleanup.policy=delete, min.insync.replicas=1, retention.ms=604800000"
    assert made.stdout.count(f"made, 2 partitions, 1 replicas, {settings}\n") == 3
    again = trunkline("kafka", "init", "--config", config, cwd=tmp_path)
    assert again.stdout.count(": is there\n") == 4
    fine = trunkline("kafka", "check", "--config", config, cwd=tmp_path)
    assert (fine.returncode, fine.stdout.count(": ok\n")) == (0, 4)


def test_what_differs_is_explained(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, kafka_bootstrap, partitions=2)
    trunkline("kafka", "init", "--config", config, cwd=tmp_path)
    config.write_text(config.read_text().replace("partitions = 2", "partitions = 3\nretention_h = 1"))
    found = trunkline("kafka", "check", "--config", config, cwd=tmp_path)
    assert found.returncode == 0
    assert found.stdout.count("warning: it has 2 partitions, not 3: adding some moves calls between them") == 4
    assert found.stdout.count("warning: retention.ms is 604800000, not 3600000") == 3


def test_no_dead_letters(kafka_bootstrap: str, tmp_path: Path) -> None:
    config = configuration(tmp_path, kafka_bootstrap)
    trunkline("kafka", "init", "--config", config, cwd=tmp_path)
    done = trunkline("kafka", "replay-dead-letters", "--config", config, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0 sent, 0 refused again, 0 unreadable\n")


def test_mistakes_are_said_in_one_line(tmp_path: Path) -> None:
    away = f"127.0.0.1:{free_ports(1)[0]}"
    for part in ("init", "check", "replay-dead-letters"):
        done = trunkline("kafka", part, "--config", configuration(tmp_path, away), cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"trunkline: kafka: {away}: Connection refused")
        assert done.stderr.count("\n") == 1
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    done = trunkline("kafka", "check", "--config", empty, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "trunkline: the configuration has no [kafka] section\n")
