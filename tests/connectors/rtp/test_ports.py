import socket

import pytest

from connectors.rtp.errors import NoFreePort
from connectors.rtp.ports import PortPool


def test_ports_are_even_and_given_out_once() -> None:
    pool = PortPool(10_001, 10_009)
    ports = [pool.allocate() for _ in range(4)]
    assert ports == [10_002, 10_004, 10_006, 10_008]
    assert (pool.free, pool.taken) == (0, 4)
    with pytest.raises(NoFreePort, match="all 4 pairs") as refused:
        pool.allocate()
    assert refused.value.retryable


def test_a_port_that_was_released_is_given_out_last() -> None:
    pool = PortPool(10_000, 10_005)
    first = pool.allocate()
    pool.release(first)
    pool.release(first)
    pool.release(77)
    assert [pool.allocate() for _ in range(3)] == [10_002, 10_004, first]


@pytest.mark.parametrize(("first", "last"), [(10_000, 10_000), (10_001, 10_002), (5, 1), (0, 10), (65_000, 65_536)])
def test_ranges_without_a_pair_are_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="no pair of ports"):
        PortPool(first, last)


def test_ports_that_others_have_are_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        taken = other.getsockname()[1] & ~1
        pool = PortPool(taken, taken + 5)
        rtp, rtcp = pool.bind("127.0.0.1")
        with rtp, rtcp:
            assert rtp.getsockname()[1] > taken
            assert rtcp.getsockname()[1] == rtp.getsockname()[1] + 1
        pool = PortPool(taken, taken + 1)
        with pytest.raises(NoFreePort):
            pool.bind("127.0.0.1")
        assert pool.free == 1


def test_an_address_of_another_machine_is_an_error() -> None:
    pool = PortPool(10_000, 10_009)
    with pytest.raises(OSError, match="assign"):
        pool.bind("192.0.2.1")
    assert pool.taken == 0
