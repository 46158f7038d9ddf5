"""SIP and SIPREC: calls from trunks and session border controllers (RFC 3261 and its kin)."""

from connectors.sip.config import Credential, PeerLimits, SipConfig
from connectors.sip.connector import SipConnector, SipUnavailable
from connectors.sip.stats import SipStats

__all__ = ["Credential", "PeerLimits", "SipConfig", "SipConnector", "SipStats", "SipUnavailable"]
