"""What a service says that cannot be started."""


class ServiceMissing(Exception):
    """The service cannot be started; the message says what to install."""
