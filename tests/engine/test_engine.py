"""Sessions of the whole engine, stepped by hand, against NeMo's offline forward and against one another."""

import gc
import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from engine.api import LanguageSource, SessionOptions, StepEvents, Word
from engine.checkpoint.find import load_checkpoint
from engine.checkpoint.weights import Checkpoint
from engine.engine import Engine
from engine.errors import EngineFull, SessionClosed, UnknownChunk, UnknownLocale
from engine.executor import flush_samples
from testing import audio
from testing.audio import Audio
from testing.oracle import FRAME, NemoReference
from testing.shapes import BIASED, ENGLISH, PLAIN, SHAPES, Shape
from tests.engine.conftest import MakeCheckpoint
from tests.engine.listener import Listener, assembled, cut, exact, settle, spoken, transcribe
from tests.engine.offline import flushed_frames, offline

# Ends of every kind ------------------------------------------------------------------------------------------------

SHORT = (0, 1, 160, 199, 200, 201, 1_279, 1_280, 1_281, 1_480, 1_481)


@pytest.mark.parametrize("chunk_ms", [80, 160, 320, 560, 1_120])
def test_audio_of_any_length_ends_as_offline(plain: Checkpoint, plain_reference: NemoReference, chunk_ms: int) -> None:
    source = audio.babble(6.0, 21)
    begins = random.Random(chunk_ms)
    lengths = [*SHORT, *range(30_000, 30_000 + FRAME + 1, 160)]
    calls = []
    for length in lengths:
        begin = begins.randrange(3_000, 60_000)
        calls.append((source[begin : begin + length], SessionOptions(chunk_ms, "de-DE")))
    found = transcribe(exact(plain, max_sessions=len(calls)), calls)
    for (signal, _), words in zip(calls, found, strict=True):
        wanted = offline(plain_reference, plain, signal, chunk_ms, "de-DE")
        assert spoken(words) == wanted, f"{len(signal)} samples"
    assert sum(map(len, found)) > 20


@pytest.mark.parametrize("chunk_ms", [80, 160, 320, 560, 1_120])
def test_flush_adds_whole_chunks_and_at_least_one(chunk_ms: int) -> None:
    chunk = chunk_ms * 16
    for samples in range(1, 3 * chunk, 37):
        frames = flushed_frames(samples, chunk_ms)
        assert frames % (chunk_ms // 80) == 0
        assert frames - -(-samples // FRAME) >= chunk_ms // 80, "frames that see nothing but silence"
    assert flush_samples(0, chunk_ms) == 0


# Company -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_sessions_of_all_classes_come_and_go_side_by_side(made: MakeCheckpoint, shape: Shape) -> None:
    """Sixteen calls of all latency classes and languages join and leave at their own times: each is as if alone."""
    checkpoint, reference = load_checkpoint(made(shape).nemo), NemoReference(made(shape).model)
    languages = ("auto", "en-US", "es-US", "de-DE", "fr-FR") if shape.prompts else ("en-US", "auto")
    rng = random.Random(7)
    engine = exact(checkpoint, max_sessions=16)
    listener = Listener(engine)
    calls = []
    for number in range(16):
        options = SessionOptions(shape.chunks_ms[number % len(shape.chunks_ms)], languages[number % len(languages)])
        signal = audio.babble(rng.uniform(0.5, 4.0), 50 + number)
        calls.append((signal, options, rng.randrange(30)))
    sessions = {}
    sent = [0] * len(calls)
    for tick in range(100):
        for number, (signal, options, joins) in enumerate(calls):
            if tick == joins:
                sessions[number] = engine.open(options)
            if tick >= joins and sent[number] < len(signal):
                size = rng.randrange(800, 2_400)
                engine.push(sessions[number], signal[sent[number] : sent[number] + size])
                sent[number] += size
                if sent[number] >= len(signal):
                    engine.close(sessions[number])
        settle(engine)
    assert len(listener.closed) == len(calls)
    for number, (signal, options, _) in enumerate(calls):
        wanted = offline(reference, checkpoint, signal, options.chunk_ms, options.language)
        assert spoken(listener.words[sessions[number]]) == wanted, f"call {number}"


@pytest.mark.parametrize("rows", [1, 7, 16])
def test_a_batch_equals_its_rows_alone(plain: Checkpoint, rows: int) -> None:
    languages = ("auto", "en-US", "es-US", "de-DE", "fr-FR")
    calls = [(audio.babble(2.5, 80 + row), SessionOptions(160, languages[row % 5])) for row in range(rows)]
    together = transcribe(exact(plain, max_sessions=rows), calls)
    for call, words in zip(calls, together, strict=True):
        (alone,) = transcribe(exact(plain, max_sessions=1), [call])
        assert spoken(words) == spoken(alone)
        assert [word.confidence for word in words] == pytest.approx([word.confidence for word in alone], abs=1e-4)


def test_a_slot_reused_at_once_knows_nothing_of_the_caller_before(plain: Checkpoint) -> None:
    calls = [(audio.babble(2.0, 90 + i), SessionOptions(80, ("de-DE", "auto")[i % 2])) for i in range(6)]
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    generations = set()
    for signal, options in calls:
        session = engine.open(options)
        generations.add((session.slot, session.generation))
        engine.push(session, signal)
        engine.close(session)
        settle(engine)
        (alone,) = transcribe(exact(plain, max_sessions=1), [(signal, options)], packet=len(signal))
        assert listener.words[session] == alone
    assert len(generations) == len(calls)
    assert {slot for slot, _ in generations} == {0}


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_a_caller_who_sends_nonsense_does_not_spoil_the_slot(plain: Checkpoint, poison: float) -> None:
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    bad = engine.open(SessionOptions(80))
    signal = audio.babble(2.0, 95)
    signal[5_000:9_000] = poison
    engine.push(bad, signal)
    engine.close(bad)
    settle(engine)
    good = engine.open(SessionOptions(80))
    clean = audio.babble(2.0, 96)
    engine.push(good, clean)
    engine.close(good)
    settle(engine)
    (alone,) = transcribe(exact(plain, max_sessions=1), [(clean, SessionOptions(80))], packet=len(clean))
    assert listener.words[good] == alone


def test_a_caller_who_sends_nonsense_is_heard_again_afterwards(plain: Checkpoint) -> None:
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(SessionOptions(80))
    engine.push(session, np.full(1_600, np.nan, np.float32))
    engine.push(session, audio.babble(8.0, 97))
    engine.close(session)
    settle(engine)
    assert len(listener.words[session]) > 5
    assert all(0 <= word.confidence <= 1 for word in listener.words[session])


# How audio arrives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_ms", [80, 320, 1_120])
def test_words_do_not_depend_on_how_audio_was_cut(plain: Checkpoint, chunk_ms: int) -> None:
    """To the last bit of every confidence, so the features are the same to the last bit too."""
    signal, rng = audio.babble(2.3, 31), random.Random(chunk_ms)
    whole = _in_pieces(plain, [signal], chunk_ms)
    for _ in range(3):
        sizes = [rng.choice([0, 1, 160, 320, rng.randrange(5_000)]) for _ in range(30)]
        assert _in_pieces(plain, cut(signal, sizes), chunk_ms) == whole


def test_words_do_not_depend_on_samples_coming_one_by_one(plain: Checkpoint) -> None:
    signal = audio.babble(0.9, 32)
    assert _in_pieces(plain, cut(signal, [1] * len(signal)), 160) == _in_pieces(plain, [signal], 160)


def _in_pieces(checkpoint: Checkpoint, pieces: list[Audio], chunk_ms: int) -> list[Word]:
    engine = exact(checkpoint, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(SessionOptions(chunk_ms))
    for piece in pieces:
        engine.push(session, piece)
        settle(engine)
    engine.close(session)
    settle(engine)
    return listener.words[session]


def test_a_pushed_array_may_be_changed_by_its_owner(plain: Checkpoint) -> None:
    signal = audio.babble(1.5, 33)
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(SessionOptions(160))
    packet = np.empty(320, np.float32)
    for at in range(0, len(signal) - 320, 320):
        packet[:] = signal[at : at + 320]
        engine.push(session, packet)
        packet[:] = 1
    engine.close(session)
    settle(engine)
    assert listener.words[session] == _in_pieces(plain, [signal[: (len(signal) - 1) // 320 * 320]], 160)


# Refusals ----------------------------------------------------------------------------------------------------------


def test_a_full_engine_refuses_and_has_room_after_a_close(plain: Checkpoint) -> None:
    engine = exact(plain, max_sessions=2)
    first, _ = engine.open(SessionOptions(80)), engine.open(SessionOptions(1_120))
    for chunk_ms in (80, 160):
        with pytest.raises(EngineFull) as caught:
            engine.open(SessionOptions(chunk_ms))
        assert caught.value.retryable
    engine.close(first)
    settle(engine)
    engine.open(SessionOptions(160))


def test_an_unknown_language_is_refused_and_takes_no_slot(plain: Checkpoint) -> None:
    engine = exact(plain, max_sessions=1)
    with pytest.raises(UnknownLocale, match="xx-XX"):
        engine.open(SessionOptions(80, "xx-XX"))
    session = engine.open(SessionOptions(80, "fr-FR"))
    with pytest.raises(UnknownLocale, match="tlh"):
        engine.set_language(session, "tlh")
    assert "auto" in engine.languages
    assert "fr-FR" in engine.languages


def test_an_unknown_chunk_is_refused(plain: Checkpoint, made: MakeCheckpoint) -> None:
    with pytest.raises(UnknownChunk, match="240"):
        exact(plain, max_sessions=1).open(SessionOptions(240))
    with pytest.raises(UnknownChunk, match="320"):  # its left context of 70 frames is not a whole number of chunks
        exact(load_checkpoint(made(ENGLISH).nemo), max_sessions=1).open(SessionOptions(320))


def test_a_closed_session_takes_nothing_more(plain: Checkpoint) -> None:
    engine = exact(plain, max_sessions=1)
    session = engine.open(SessionOptions(80))
    engine.push(session, audio.babble(0.5, 34))
    engine.close(session)
    with pytest.raises(SessionClosed):
        engine.push(session, np.zeros(10, np.float32))
    with pytest.raises(SessionClosed):
        engine.finalize(session)
    with pytest.raises(SessionClosed):
        engine.set_language(session, "auto")
    settle(engine)
    again = engine.open(SessionOptions(80))
    assert again.slot == session.slot
    with pytest.raises(SessionClosed):
        engine.push(session, np.zeros(10, np.float32))


# Language ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_ms", [80, 320])
def test_language_changed_in_mid_stream_equals_changed_prompts_offline(
    plain: Checkpoint, plain_reference: NemoReference, chunk_ms: int
) -> None:
    signal = audio.babble(5.0, 44)
    frames, switches = chunk_ms // 80, {6: "fr-FR", 9: "auto", 11: "en-US"}
    engine = exact(plain, max_sessions=1)
    listener = Listener(engine)
    session = engine.open(SessionOptions(chunk_ms, "de-DE"))
    language, languages, sent = "de-DE", [], 0
    chunks = flushed_frames(len(signal), chunk_ms) // frames
    for chunk in range(chunks):
        if chunk in switches:
            language = switches[chunk]
            engine.set_language(session, language)
        languages += [language] * frames
        end = FRAME * ((chunk + 1) * frames - 1) + 200
        engine.push(session, signal[sent:end])
        sent = min(end, len(signal))
        settle(engine)
    engine.close(session)
    settle(engine)
    encoded = plain_reference.encode(signal, len(languages), frames)
    tokens = plain_reference.decode(plain_reference.prompt(encoded, languages))
    assert spoken(listener.words[session]) == assembled(plain.tokenizer, tokens)
    same = plain_reference.decode(plain_reference.prompt(encoded, "de-DE"))
    assert tokens != same, "the prompt changes nothing here"


def test_a_checkpoint_without_prompt_speaks_english(made: MakeCheckpoint) -> None:
    engine = exact(load_checkpoint(made(ENGLISH).nemo), max_sessions=1)
    assert engine.languages <= {"en-US", "auto"}
    assert "en-US" in engine.languages
    (words,) = transcribe(engine, [(audio.babble(6.0, 45), SessionOptions(160, "en-US"))])
    assert words
    assert {(word.language, word.language_source) for word in words} == {("en-US", LanguageSource.CONFIGURED)}
    with pytest.raises(UnknownLocale):
        engine.open(SessionOptions(160, "de-DE"))


def test_the_demo_model_detects_the_language_and_writes_no_tags(demo_engine: Engine) -> None:
    signal = np.concatenate([audio.speech(1), np.zeros(6_400, np.float32), audio.speech(0)])
    (words,) = transcribe(demo_engine, [(signal, SessionOptions(160))])
    detected = [word.language for word in words if word.language_source is LanguageSource.DETECTED]
    assert detected[0] == "es-US"
    assert detected[-1] == "en-US"
    assert not any("<" in word.text or " " in word.text for word in words)


# Both formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [PLAIN, BIASED, ENGLISH], ids=lambda shape: shape.name)
def test_both_formats_give_the_same_words(made: MakeCheckpoint, shape: Shape) -> None:
    calls = [
        (audio.babble(2.0 + i, 100 + i), SessionOptions(shape.chunks_ms[i % 3], "auto" if i else "en-US"))
        for i in range(4)
    ]
    nemo = transcribe(exact(load_checkpoint(made(shape).nemo), max_sessions=4), calls)
    folder = transcribe(exact(load_checkpoint(made(shape).hugging_face), max_sessions=4), calls)
    assert any(nemo)
    for left, right in zip(nemo, folder, strict=True):
        assert spoken(left) == spoken(right)
        assert [word.confidence for word in left] == pytest.approx([word.confidence for word in right], abs=1e-4)


# A long call -------------------------------------------------------------------------------------------------------


def test_a_session_does_not_grow_with_its_length(demo_engine: Engine) -> None:
    engine = demo_engine
    session = engine.open(SessionOptions(1_120))
    received = Counter[str]()

    def receive(events: StepEvents) -> None:
        received["words"] += sum(len(hypothesis.words) for hypothesis in events.hypotheses)

    engine.subscribe(receive)
    sound = np.concatenate([audio.speech(1), np.zeros(8_000, np.float32)])

    def talk(sentences: int) -> int:
        for _ in range(sentences):
            for at in range(0, len(sound), 16_000):
                engine.push(session, sound[at : at + 16_000])
                settle(engine)
            engine.finalize(session)
            settle(engine)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    talk(3)
    tracemalloc.start()
    try:
        before = talk(2)
        words = received["words"]
        after = talk(30)
    finally:
        tracemalloc.stop()
    assert received["words"] > words + 200
    assert after - before < 64_000, "a tenth of a percent of the audio that was heard"
