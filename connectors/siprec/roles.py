"""Who of a recorded call is the agent and who the customer: the configurable rule, and its state over one call.

Sits beside `connectors.siprec.recording_session`: metadata names participants, but not their part in the conversation.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from connectors.siprec.metadata import RsParticipant
from pipeline.records import SpeakerRole

MAX_KNOWN = 512
"""Participants of one call whose role is remembered; the oldest is forgotten first."""

_OPPOSITE = {
    SpeakerRole.AGENT: SpeakerRole.CUSTOMER,
    SpeakerRole.CUSTOMER: SpeakerRole.AGENT,
    SpeakerRole.UNKNOWN: SpeakerRole.UNKNOWN,
}


_SAYS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PARTY = {"calling": True, "caller": True, "called": False, "callee": False}


class RoleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In this order, the first that says something counts:

    1. `role_element`: a vendor's element in the participant, with the text 'agent' or 'customer'.
    2. `agent_aor`, `customer_aor`: regular expressions searched in the address (`sip:4711@example.com`). With one of
       them given, whoever does not match it is the other.
    3. The party that called has the role `caller`, everybody else the opposite one. It is the one whose
       `caller_element` says 'true' (Oracle's) or whose `role_element` says 'calling', or else the first participant of
       the call's first metadata.

    The default fits a number that customers call. `caller = "agent"` is for calls that agents place, "unknown" leaves
    undecided what no pattern decides. A role once given stays for the call.
    """

    agent_aor: str | None = None
    customer_aor: str | None = None
    caller: Literal["agent", "customer", "unknown"] = "customer"
    role_element: str = "role"
    caller_element: str = "callingParty"

    def __post_init__(self) -> None:
        for name in ("agent_aor", "customer_aor"):
            try:
                re.compile(getattr(self, name) or "")
            except re.error as error:
                raise ValueError(f"{name} is no regular expression: {error}") from error

    def stated(self, participant: RsParticipant) -> SpeakerRole | None:
        """The role that steps 1 and 2 give, or None."""
        text = participant.extensions.get(self.role_element, "").strip().lower()
        if text in {"agent", "customer"}:
            return SpeakerRole(text)
        for pattern, role in ((self.agent_aor, SpeakerRole.AGENT), (self.customer_aor, SpeakerRole.CUSTOMER)):
            if pattern is not None and re.search(pattern, participant.aor):
                return role
        if self.agent_aor is not None and self.customer_aor is None:
            return SpeakerRole.CUSTOMER
        if self.customer_aor is not None and self.agent_aor is None:
            return SpeakerRole.AGENT
        return None

    def called(self, participant: RsParticipant) -> bool | None:
        """Whether the participant placed the call, where the peer says so."""
        text = participant.extensions.get(self.caller_element, "").strip().lower()
        role = participant.extensions.get(self.role_element, "").strip().lower()
        return _SAYS.get(text, _PARTY.get(role))


class CallRoles:
    """The roles of one call's participants, over all updates of its metadata."""

    def __init__(self, rule: RoleRule) -> None:
        self._rule = rule
        self._known: dict[str, tuple[str, SpeakerRole]] = {}
        self._caller_known = False

    def learn(self, participants: Sequence[RsParticipant]) -> None:
        """Give a role to those who have none, in the order of the document."""
        rule, caller = self._rule, SpeakerRole(self._rule.caller)
        present = {participant.id for participant in participants}
        undecided: list[RsParticipant] = []
        for participant in participants:
            if participant.id in self._known:
                continue
            role = rule.stated(participant) or self._renamed(participant, present)
            if role is None:
                undecided.append(participant)
            else:
                self._give(participant, role)
                self._caller_known = self._caller_known or role is caller
        self._caller_known = self._caller_known or any(rule.called(participant) for participant in undecided)
        for participant in undecided:
            called = rule.called(participant)
            if called is None:
                called, self._caller_known = not self._caller_known, True
            self._give(participant, caller if called else _OPPOSITE[caller])

    def of(self, participants: Sequence[RsParticipant]) -> SpeakerRole:
        """The role that all of them have, UNKNOWN where they differ or nobody is known."""
        known = (self._known.get(participant.id) for participant in participants)
        roles = {SpeakerRole.UNKNOWN if entry is None else entry[1] for entry in known}
        return roles.pop() if len(roles) == 1 else SpeakerRole.UNKNOWN

    def _renamed(self, participant: RsParticipant, present: set[str]) -> SpeakerRole | None:
        """The role of somebody with the same address who is not there any more: some peers give a participant a new
        identifier with each update. Two that are there at once may share an address, such as an anonymous one."""
        for identifier, (aor, role) in self._known.items():
            if aor and aor == participant.aor.lower() and identifier not in present:
                return role
        return None

    def _give(self, participant: RsParticipant, role: SpeakerRole) -> None:
        self._known[participant.id] = participant.aor.lower(), role
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
