from connectors.sip.config import SipConfig
from trunkline.config import Config
from trunkline.doctor.tables import tables


def test_every_table_has_its_name() -> None:
    names = [name for name, _ in tables(Config(sip=SipConfig()))]
    assert {"server", "sip", "sip.rtp", "sip.limits", "twilio.roles", "jsonl"} <= set(names)
    assert names.index("sip") < names.index("sip.rtp")
    assert "kafka" not in names
