"""What comes in is bounded: by time, and in what the log keeps of it."""

from __future__ import annotations

import asyncio

import pytest

from gate.endpoints.cors import Origins
from gate.endpoints.incoming import Bodies
from gate.errors import ForbiddenError, InvalidRequestError


def test_a_refused_origin_is_not_logged_in_full() -> None:
    with pytest.raises(ForbiddenError) as refused:
        Origins((), allow_loopback=False).check({"origin": "https://" + "a" * 60_000})

    assert len(str(refused.value)) < 300


async def test_a_body_that_drips_is_given_up() -> None:
    """And gives its place back."""
    bodies = Bodies(seconds_max=0.05)

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    with pytest.raises(InvalidRequestError, match=r"did not come within 0\.05 seconds"):
        await bodies.read(drip)
    for _ in range(20):
        assert await bodies.read(whole) == b"{}"


async def test_no_more_bodies_are_read_at_once_than_fit() -> None:
    """Who comes when all places are taken waits for one."""
    bodies, go_on, reading = Bodies(), asyncio.Event(), 0

    async def slow() -> dict[str, object]:
        nonlocal reading
        reading += 1
        await go_on.wait()
        return await whole()

    asking = [asyncio.ensure_future(bodies.read(slow)) for _ in range(40)]
    await asyncio.sleep(0.01)

    assert reading == 16
    go_on.set()
    assert await asyncio.gather(*asking) == [b"{}"] * 40


async def whole() -> dict[str, object]:
    return {"type": "http.request", "body": b"{}", "more_body": False}
