"""What another thread ends reaches whoever waits in the loop: each once, its own, whatever it is."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from worker.jobs.handover import Handover


async def test_a_thousand_waiters_each_get_their_own_from_several_threads() -> None:
    """One waking serves many, and none is left lying."""
    handover = Handover()
    futures: list[Future[int]] = [Future() for _ in range(1_000)]
    waiting = asyncio.gather(*(handover.wait(future) for future in futures))
    await asyncio.sleep(0)

    def end(part: int) -> None:
        for number in range(part, len(futures), 4):
            futures[number].set_result(number)

    threads = [threading.Thread(target=end, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()

    assert await waiting == list(range(1_000))


async def test_an_error_reaches_the_one_whose_it_is() -> None:
    """The others of a batch are answered."""
    handover = Handover()
    good: Future[int] = Future()
    bad: Future[int] = Future()
    waiting = asyncio.gather(handover.wait(good), handover.wait(bad), return_exceptions=True)
    await asyncio.sleep(0)
    good.set_result(1)
    bad.set_exception(ValueError("bad"))

    one, other = await waiting
    assert one == 1
    assert isinstance(other, ValueError)


async def test_who_stops_waiting_cancels_what_has_not_begun() -> None:
    """A job whose client is gone is not computed."""
    handover = Handover()
    future: Future[int] = Future()
    waiting = asyncio.create_task(handover.wait(future))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert future.cancelled()


async def test_a_future_that_has_ended_already_is_answered() -> None:
    """Nobody wakes the loop a second time for it."""
    future: Future[int] = Future()
    future.set_result(3)

    assert await Handover().wait(future) == 3
