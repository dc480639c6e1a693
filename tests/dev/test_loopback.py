"""A port that was chosen is still free when the server that it was chosen for begins to listen."""

from __future__ import annotations

import socket
import sys

import pytest

from twohop import loopback
from twohop.loopback import free_port


def test_a_server_may_listen_on_a_free_port() -> None:
    port = free_port()

    with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: elsewhere a port cannot be kept for a server")
def test_a_free_port_is_given_to_nobody_else_meanwhile() -> None:
    """Several suites start at once, and take a while from choosing their ports to listening on them."""
    port = free_port()

    with socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind(("127.0.0.1", port))


@pytest.mark.skipif(sys.platform != "linux", reason="LEFT OUT: elsewhere a port cannot be kept for a server")
def test_ports_without_end_use_up_no_descriptors() -> None:
    """`twohop prove` starts servers for as long as one likes."""
    for _ in range(1_000):
        free_port()

    assert len(loopback._kept) < 100
