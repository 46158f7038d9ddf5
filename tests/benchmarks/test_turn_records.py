"""Delays of records against speech that is known, and the plot of a sweep."""

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.turn_plot import plot, table
from benchmarks.turn_policy import Pause, sweep
from benchmarks.turn_records import Told, delays, percentile_ms
from benchmarks.turn_systems import figures
from sinks.record import AnyRecord, TurnEvent
from tests.sinks.records import transcript, turn
from training.turn_legs import Leg, Line, Speech

SPEECH = (Speech(1.0, 2.0, False), Speech(2.5, 3.0, True), Speech(6.0, 7.0, True))
LEG = Leg("en-US", "none", Line.CLEAN, np.zeros(0, np.float32), SPEECH)


def told(*records: tuple[float, AnyRecord]) -> Told:
    return Told(0.0, list(records))


def test_delays_are_from_the_speech_to_its_records() -> None:
    one = told(
        (1.2, turn(TurnEvent.START_OF_TURN)),
        (2.3, turn(TurnEvent.END_OF_TURN)),
        (3.3, turn(TurnEvent.END_OF_TURN, 1)),
        (3.4, transcript("so it is", begin=2.2, final=True)),
        (6.1, turn(TurnEvent.START_OF_TURN, 2)),
        (7.5, turn(TurnEvent.END_OF_TURN, 2)),
    )
    found = delays([LEG], [one], 12.0)
    assert found.start == pytest.approx([0.1, 0.2])
    assert found.end == pytest.approx([0.3, 0.5])
    assert found.final == pytest.approx([0.4])
    assert (found.ends, found.holds, found.cut) == (2, 1, 1)
    assert percentile_ms(found.end, 50) == 400.0
    assert percentile_ms([], 50) is None


def test_speech_at_the_end_of_a_leg_is_left_out() -> None:
    found = delays([LEG], [told()], 8.0)
    assert (found.ends, found.holds, found.cut, found.start) == (1, 1, 0, [])


def test_tables_and_plots_show_every_system() -> None:
    now = np.arange(0.1, 2.0, 0.1)
    said = [Pause(now[:4], now[:4] / 2, 0.5), Pause(now, now / 2, None)]
    found = {name: figures(said, said) for name in ("VAD", "fusion")}
    lines = table(found).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["VAD", "fusion"]
    assert "(" in lines[2]
    drawn = ElementTree.fromstring(plot({"all": {name: sweep(said) for name in found}}))
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"VAD", "fusion", "all", "cut-offs, %"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
