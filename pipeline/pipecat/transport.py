"""`TrunklineTransport`: an unmodified Pipecat pipeline on a leg of a running call, by Twilio, SIP or WebRTC.

leg -> input() -> the pipeline -> output() -> leg
"""

from collections.abc import Collection
from typing import Any

from pipecat.transports.base_transport import BaseTransport, TransportParams

from pipeline.bots import AttendedCall
from pipeline.pipecat.input import TrunklineInput
from pipeline.pipecat.output import TrunklineOutput
from pipeline.playback import Heard

LONGEST_HOLD_S = 24 * 3600.0
"""While its peer holds, a leg takes no audio: that is no fault of the peer."""


def default_params(**changes: Any) -> TransportParams:
    """Audio both ways; after an `EndFrame` no silence is added, as what was said is heard before it hangs up."""
    values: dict[str, Any] = {
        "audio_in_enabled": True,
        "audio_out_enabled": True,
        "audio_out_end_silence_secs": 0,
        "audio_out_write_timeout_secs": LONGEST_HOLD_S,
    }
    return TransportParams(**(values | changes))


class TrunklineTransport(BaseTransport):
    """`call`: the one attended by a bot (`pipeline.bots`); `leg`: who is listened and spoken to. `mute`: legs that
    would carry the bot's voice back, this or others: they are not transcribed while it speaks.

    Events, by `event_handler`: `on_client_connected(transport, call)` when the pipeline has started;
    `on_client_disconnected(transport, call)` when the call has ended, but for an `EndFrame`;
    `on_interrupted(transport, heard)`, a `pipeline.playback.Heard`, of what was heard of what was interrupted.

    An `EndFrame` hangs up; a `CancelFrame` only stops speaking.
    """

    def __init__(
        self,
        call: AttendedCall,
        leg: str,
        params: TransportParams | None = None,
        *,
        mute: Collection[str] = (),
        input_name: str | None = None,
        output_name: str | None = None,
    ) -> None:
        super().__init__(input_name=input_name, output_name=output_name)
        self.call, self.leg = call, leg
        params = params or default_params()
        self._input = TrunklineInput(call, leg, params, self._connected, self._disconnected, input_name)
        self._output = TrunklineOutput(call, leg, params, mute, self._interrupted, output_name)
        for event in ("on_client_connected", "on_client_disconnected", "on_interrupted"):
            self._register_event_handler(event)

    def input(self) -> TrunklineInput:
        return self._input

    def output(self) -> TrunklineOutput:
        return self._output

    def get_client_id(self, client: Any) -> str:  # noqa: ARG002 - of Pipecat's signature: there is one
        return self.leg

    async def _connected(self) -> None:
        await self._call_event_handler("on_client_connected", self.call)

    async def _disconnected(self) -> None:
        if not self._output.hung_up:
            await self._call_event_handler("on_client_disconnected", self.call)

    async def _interrupted(self, heard: Heard) -> None:
        await self._call_event_handler("on_interrupted", heard)
