"""What comes in is bounded: by time, and in what the log keeps of it."""

from __future__ import annotations

import asyncio

import pytest

from gate.endpoints import incoming
from gate.endpoints.cors import Origins
from gate.errors import ForbiddenError, InvalidRequestError


def test_a_refused_origin_is_not_logged_in_full() -> None:
    with pytest.raises(ForbiddenError) as refused:
        Origins((), allow_loopback=False).check({"origin": "https://" + "a" * 60_000})

    assert len(str(refused.value)) < 300


async def test_a_body_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_BODY_SECONDS_MAX", 0.05)

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(InvalidRequestError, match=r"did not come within 0\.05 seconds"):
        await incoming.read_body(drip)
