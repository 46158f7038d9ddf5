"""Installs what the tests use besides Python packages: `python -m tests.services.install`.

Debian packages with apt-get, as root on Debian and its kin; elsewhere it says what to install. It never fails the
caller: tests whose service is missing say so themselves, and fail in CI.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testing.services.kafka_broker import JARS, fetch_jars
from testing.services.missing import ServiceMissing

SOUNDS = Path("/usr/share/asterisk/sounds")

SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
"""Servers are not on everybody's path."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's packages whether their services may be started (deb-systemd-invoke(1p), invoke-rc.d(8))."""

# Debian package -> what shows that it, or its like, is there: a program on the path, or a file.
PACKAGES: dict[str, str | Path] = {
    "redis-server": "redis-server",
    "espeak-ng": "espeak-ng",
    "chromium": "chromium",
    "default-jre-headless": "java",
    "maven": "mvn",
    "sip-tester": "sipp",
    "baresip-core": "baresip",
    "rtpengine-daemon": "rtpengine",
    "kamailio": "kamailio",
    "openssl": "openssl",
    "logrotate": "logrotate",
    "kcat": "kcat",
    "prometheus": "prometheus",
    "systemd": "systemd-analyze",
    "gcc": "cc",
    "libc6-dev": Path("/usr/include/stdio.h"),
    "asterisk-core-sounds-en-wav": SOUNDS / "en_US_f_Allison" / "vm-goodbye.wav",
    "asterisk-core-sounds-es-wav": SOUNDS / "es_MX_f_Allison" / "vm-goodbye.wav",
}


def is_there(sign: str | Path) -> bool:
    return sign.exists() if isinstance(sign, Path) else shutil.which(sign, path=SEARCHED) is not None


@contextmanager
def services_stay_stopped() -> Iterator[None]:
    """The tests start what they need themselves, on ports of their own. A policy that is there is left as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def install_packages() -> None:
    """Install the Debian packages that are missing; their services are not started."""
    wanted = [package for package, sign in PACKAGES.items() if not is_there(sign)]
    if not wanted:
        print("test services: all Debian packages are there")
        return
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        print(f"test services: please install {' '.join(wanted)}; tests that need them are skipped until then")
        return
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *wanted]):
        print(f"test services: apt-get {' '.join(arguments)}", flush=True)
        command = ["env", "DEBIAN_FRONTEND=noninteractive", apt, "-q", *arguments]
        with services_stay_stopped():
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            print(f"test services: apt-get {arguments[0]} failed: {' '.join(last)}")


def install_kafka() -> None:
    """Fetch the Kafka broker's jars."""
    if JARS.is_dir():
        print("test services: the Kafka jars are there")
        return
    print("test services: fetching the Kafka jars with Maven", flush=True)
    try:
        fetch_jars()
    except ServiceMissing as error:
        print(f"test services: {error}")


def main() -> None:
    install_packages()
    install_kafka()


if __name__ == "__main__":
    main()
