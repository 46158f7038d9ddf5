"""File descriptors: every socket and file takes one, and a process without any left takes no calls."""

import logging
import resource

logger = logging.getLogger(__name__)

ENOUGH = 4_096
"""With fewer, the log says so: some thousand calls need as many, and RTP two a leg."""

_MOST = 1 << 20
"""More are not asked for where there is no limit at all."""


def raise_descriptor_limit() -> int:
    """As many as the hard limit allows. Returns how many there are; says so where they are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            logger.warning("the limit of %d file descriptors cannot be raised: %s", soft, error)
    count = descriptor_limit()
    if count < ENOUGH:
        logger.warning(
            "only %d file descriptors: some %d calls; raise the hard limit (ulimit -Hn, or LimitNOFILE of the service)",
            *(count, count // 4),
        )
    return count


def descriptor_limit() -> int:
    """How many this process may have now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(soft, _MOST)
