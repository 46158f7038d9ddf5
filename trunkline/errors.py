"""Errors of the program itself.

TrunklineError
├── ConfigError     the configuration file or environment says something that cannot be
├── AddressInUse    another program has the port
├── DemoImpossible  something is missing on this machine that the demo needs
├── LoadTestBroken  the load test itself has failed: its figures would say nothing
└── OutputFailed    standard output takes nothing more
"""


class TrunklineError(Exception):
    """Base. The message is one line that says what to do."""

    retryable: bool = False


class ConfigError(TrunklineError):
    pass


class AddressInUse(TrunklineError):
    pass


class DemoImpossible(TrunklineError):
    pass


class LoadTestBroken(TrunklineError):
    pass


class OutputFailed(TrunklineError):
    pass
