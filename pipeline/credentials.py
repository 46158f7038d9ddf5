"""Credentials in the configuration (`sinks.credentials`), for who knows the pipeline alone."""

from sinks.credentials import check_credentials, masked

__all__ = ["check_credentials", "masked"]
