"""An answer too large for a document is kept elsewhere, and never lost."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from gate.domain.job import RESULT_BYTES_MAX
from gate.errors import ResultStoreError
from gate.steps.results import Link
from tests.gate.doubles import completed
from tests.gate.jobs.acts import TOOK, submitted
from tests.gate.world import ALICE, World
from tests.makers import NOON


class Shelf:
    """A result store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.is_away = False

    async def keep(self, job_id: str, content: bytes) -> Link:
        if self.is_away:
            raise ResultStoreError("away")
        self.kept[job_id] = content
        return await self.link(job_id)

    async def link(self, job_id: str) -> Link:
        return Link(url=f"https://shelf.example/{job_id}/{len(self.kept)}", expires_at=NOON + timedelta(days=6))

    async def close(self) -> None:
        pass


LARGE = ["x" * RESULT_BYTES_MAX]


class TestLargeAnswers:
    @pytest.fixture
    def shelf(self, world: World) -> Shelf:
        world.results = shelf = Shelf()
        world.gate = world.another_gate()
        return shelf

    async def test_one_too_large_for_a_document_is_kept_in_the_store(self, world: World, shelf: Shelf) -> None:
        job = await submitted(world, completed(outputs=LARGE))

        await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert msgspec.json.decode(shelf.kept[job.job_id]) == LARGE
        assert (done.result, done.result_url) == (None, f"https://shelf.example/{job.job_id}/1")

    async def test_while_the_store_is_away_the_job_is_not_settled(self, world: World, shelf: Shelf) -> None:
        """Settling it would lose the answer; the provider still has it."""
        job = await submitted(world, completed(outputs=LARGE))
        shelf.is_away = True
        with pytest.raises(ResultStoreError):
            await world.gate.jobs.ended(job.job_id)
        shelf.is_away = False

        assert await world.gate.jobs.ended(job.job_id)
        assert (await world.the_job()).result_url is not None

    async def test_without_a_store_the_caller_is_told(self, world: World) -> None:
        """The job ran, and is paid at what it took."""
        job = await submitted(world, completed(outputs=LARGE))

        assert await world.gate.jobs.ended(job.job_id)

        done = await world.the_job()
        assert (done.failure_code, done.settled_microdollars) == ("internal", TOOK)
        assert "too large" in (done.failure or "")

    async def test_an_expired_address_is_made_anew_for_who_asks(self, world: World, shelf: Shelf) -> None:
        job = await submitted(world, completed(outputs=LARGE))
        await world.gate.jobs.ended(job.job_id)
        shelf.kept["another"] = b""
        world.clock.advance(days=7)

        asked = await world.gate.jobs.job(ALICE, job.job_id)

        assert asked.result_url == f"https://shelf.example/{job.job_id}/2"
