"""What the tests of the Kafka sink share."""

from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient


@pytest.fixture
def admin(kafka_bootstrap: str) -> Iterator[Any]:
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    yield admin
    admin.close()
