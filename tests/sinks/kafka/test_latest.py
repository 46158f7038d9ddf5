"""Partials that wait."""

from sinks.kafka.latest import Latest
from sinks.record import TranscriptRecord
from tests.sinks.records import transcript


def partials(*revisions: tuple[int, int]) -> list[TranscriptRecord]:
    return [transcript("text", segment, revision) for segment, revision in revisions]


def test_a_newer_one_takes_the_place_of_the_one_of_its_segment() -> None:
    latest = Latest(10)
    latest.offer(partials((0, 0), (1, 0), (0, 1), (0, 2)))
    assert latest.take(10) == partials((1, 0), (0, 2))
    assert (latest.coalesced, latest.dropped, len(latest)) == (2, 0, 0)


def test_beyond_the_limit_the_one_that_waits_longest_goes() -> None:
    latest = Latest(2)
    latest.offer(partials((0, 0), (1, 0), (2, 0)))
    assert latest.take(1) == partials((1, 0))
    assert latest.take(5) == partials((2, 0))
    assert (latest.coalesced, latest.dropped) == (0, 1)
