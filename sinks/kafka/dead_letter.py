"""A dead letter on its topic: what the record was, with two headers before its own."""

from sinks.message import Message

REASON, TOPIC = "dead-letter-reason", "dead-letter-topic"
"""Headers: why it was refused, and where it was to go."""


def wrapped(message: Message, reason: str, topic: str) -> Message:
    """For the topic of dead letters."""
    headers = ((REASON, reason.encode()), (TOPIC, message.topic.encode()), *message.headers)
    return Message(topic, message.key, message.value, headers)


def unwrapped(message: Message) -> Message | None:
    """What it was; None: it is no dead letter."""
    topic = dict(message.headers).get(TOPIC)
    if topic is None:
        return None
    own = tuple(pair for pair in message.headers if pair[0] not in (REASON, TOPIC))
    return Message(topic.decode("utf-8", "replace"), message.key, message.value, own)
