"""User turns of a Pipecat pipeline as Trunkline's turn detection has them.

`TrunklineTranscripts` proposes what `turn` records say, and Pipecat's own strategies for turns that are detected
elsewhere decide: the start of a turn interrupts, its end lets the bot answer. These wait half a second for more text
after a transcript that comes later than the end of its turn; ours do not where the transcript says that it is the last
one (`finalized`).
"""

from pipecat.frames.frames import Frame, TranscriptionFrame
from pipecat.turns.types import ProcessFrameResult
from pipecat.turns.user_stop import EagerUserTurnStopStrategy, ExternalUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import (
    EagerUserTurnStrategies,
    ExternalUserTurnStrategies,
    UserTurnStrategies,
)


class TurnStop(ExternalUserTurnStopStrategy):
    """The turn ends once its end was proposed and its last transcript is there, whichever comes first."""

    async def process_frame(self, frame: Frame) -> ProcessFrameResult:
        result = await super().process_frame(frame)
        if isinstance(frame, TranscriptionFrame) and frame.finalized and self._turn_open:
            await self._maybe_trigger_user_turn_stopped()
        return result


class EagerTurnStop(TurnStop, EagerUserTurnStopStrategy):
    """As `TurnStop`, and EagerEndOfTurn has the answer made ready before."""


def user_turn_strategies(*, eager: bool = False, interruptions: bool = True) -> UserTurnStrategies:
    """For `LLMUserAggregatorParams(user_turn_strategies=...)`; applied by themselves where a pipeline names none.
    `eager`: answers are begun at EagerEndOfTurn, and thrown away at TurnResumed. `interruptions`: a turn that starts
    interrupts the bot."""
    if eager:
        strategies: UserTurnStrategies = EagerUserTurnStrategies(enable_interruptions=interruptions)
        strategies.stop = [EagerTurnStop()]
    else:
        strategies = ExternalUserTurnStrategies(enable_interruptions=interruptions)
        strategies.stop = [TurnStop()]
    return strategies
