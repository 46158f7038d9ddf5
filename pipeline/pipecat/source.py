"""What Trunkline tells a pipeline beside audio: the records of its call, as frames."""

from dataclasses import dataclass

from pipecat.frames.frames import SystemFrame

from sinks.record import AnyRecord


@dataclass
class TrunklineRecordFrame(SystemFrame):
    """A record of the call, of whatever leg, from the input of a `TrunklineTransport`. No interruption drops it."""

    record: AnyRecord
