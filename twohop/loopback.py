"""Ports of this machine, for servers that are about to start."""

from __future__ import annotations

import os
import socket
import sys
from collections import deque

_KEPT_MAX = 64
"""A run that starts servers without end keeps the ports of its last ones."""
_kept: deque[int] = deque()


def free_port() -> int:
    """Return a port that nobody listens on, for a server that starts soon.

    On Linux a socket of this process stays bound to it, so that the system gives it to nobody else meanwhile. The
    server gets in because it sets SO_REUSEADDR, as servers do.
    """
    chosen = socket.socket()
    chosen.bind(("127.0.0.1", 0))
    port = int(chosen.getsockname()[1])
    if sys.platform == "linux":
        # Set after the choice: before it, the system might choose a port that is kept already.
        chosen.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _keep(chosen.detach())
    chosen.close()
    return port


def _keep(bound: int) -> None:
    _kept.append(bound)
    if len(_kept) > _KEPT_MAX:
        os.close(_kept.popleft())
