from pathlib import Path

import pytest

from connectors.media_ws import TwilioConfig
from liveview.api import LiveViewConfig
from tests.trunkline.doctor.found import all_ok, one
from trunkline.config import Config, ServerConfig
from trunkline.doctor.configuration import check_configuration, check_doors
from trunkline.doctor.findings import Level


def test_where_it_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = check_configuration(Config(), None, {"HOME": "/"})
    assert (found.level, found.what) == (Level.OK, "defaults (there is no trunkline.toml)")
    file = tmp_path / "trunkline.toml"
    file.write_text("")
    (found,) = check_configuration(Config(), file, {"TRUNKLINE_SERVER_PORT": "1"})
    assert found.what == f"{file}, 1 variables of the environment"


def test_a_file_of_secrets_that_everybody_may_read(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text('[liveview]\ntoken = "of-liveview"\n')
    config = Config(liveview=LiveViewConfig(token="of-liveview"))
    file.chmod(0o644)
    one(check_configuration(config, file, {}), Level.WARNING, f"chmod o-r {file}")
    file.chmod(0o640)
    assert all_ok(check_configuration(config, file, {}))
    file.write_text("")
    file.chmod(0o644)
    assert all_ok(check_configuration(config, file, {}))


def test_endpoints_that_stand_open() -> None:
    assert all_ok(check_doors(Config()))
    public = Config(server=ServerConfig(host="0.0.0.0"), liveview=LiveViewConfig(token="secret"))
    one(check_doors(public), Level.WARNING, "anybody may stream to /twilio: set [twilio] auth_token")
    closed = Config(server=public.server, liveview=public.liveview, twilio=TwilioConfig(auth_token="0" * 32))
    assert all_ok(check_doors(closed))
