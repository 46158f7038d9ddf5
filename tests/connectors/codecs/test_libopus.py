from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.codecs import CodecUnavailable, decoder_for, encoder_for, libopus, usable
from tests.connectors.codecs.speech import OPUS, PCMU

Look = Callable[..., None]


@pytest.fixture
def look_only_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """`look_only_at(place, ...)`: a machine where libopus can be in these places only."""

    def limit(*places: str) -> None:
        monkeypatch.setattr(libopus, "_places", lambda: iter(places))
        libopus.libopus.cache_clear()

    yield limit
    libopus.libopus.cache_clear()


def test_a_missing_library_is_named_with_its_package(look_only_at: Look) -> None:
    look_only_at("libopus-that-is-not-there.so")
    assert not usable("OPUS")
    for make in (decoder_for, encoder_for):
        with pytest.raises(CodecUnavailable, match="libopus0"):
            make(OPUS)
    assert usable("PCMU")
    assert decoder_for(PCMU).decode(b"\xff").size == 1


def test_a_library_without_its_functions_is_passed_over(look_only_at: Look) -> None:
    look_only_at("libc.so.6")
    with pytest.raises(CodecUnavailable):
        libopus.libopus()


def test_the_library_in_the_wheel_of_av_will_do(look_only_at: Look) -> None:
    bundled = [place for place in libopus._places() if Path(place).is_absolute()]
    assert len(bundled) == 1
    look_only_at("libopus-that-is-not-there.so", *bundled)
    assert usable("OPUS")
    assert decoder_for(OPUS).decode(b"\x08").size == 320
