"""Two processes of hop 1 on one ledger: both obey the switch, whichever way it was set."""

from __future__ import annotations

import time
from pathlib import Path

from tests.dev.running import Dev, dev_running
from tests.dev.test_cloud import QUICK, twohop

POLICY_SECONDS = 1
"""As `twohop dev` sets it; 10 in the cloud, unless its owner says otherwise."""


def asks(dev: Dev, *, token: str) -> int:
    return dev.call("submit", {"inputs": "a text"}, token=token).status_code


def test_every_instance_obeys_within_the_stated_time_up_and_down(tmp_path: Path) -> None:
    """Both have just used the old level, so neither may have read the new one by chance."""
    with dev_running(tmp_path, **QUICK) as one, dev_running(tmp_path, **QUICK) as other:
        tokens = [one.token("alice"), one.token("bob")]
        seen = []
        for command in (["kill", "5"], ["revive", "0"]):
            before = [asks(dev, token=token) for dev, token in zip((one, other), tokens, strict=True)]
            twohop(one, *command, "--reason", "a test")
            time.sleep(POLICY_SECONDS)
            after = [asks(dev, token=token) for dev, token in zip((one, other), tokens, strict=True)]
            seen.append((before, after))

    assert seen == [([200, 200], [503, 503]), ([503, 503], [200, 200])]
