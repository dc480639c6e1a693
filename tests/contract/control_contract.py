"""What every `ProviderControl` promises. An implementation inherits the suite and brings an account to control."""

from __future__ import annotations

import itertools
from datetime import timedelta

from gate.control import Capacity, ProviderControl
from tests.makers import NOON


class ControlContract:
    """Fixtures give a `control` of an endpoint with 0 to 3 workers, of which one is idle, and two jobs queued."""

    async def test_the_workers_are_counted(self, control: ProviderControl) -> None:
        capacity = await control.capacity()

        assert (capacity.workers_min, capacity.workers_max) == (0, 3)
        assert capacity.alive == 1

    async def test_what_is_set_is_read_back(self, control: ProviderControl) -> None:
        """A kill believes only what it reads back."""
        await control.set_capacity(workers_min=0, workers_max=0)
        await control.set_capacity(workers_min=0, workers_max=0)

        capacity = await control.capacity()
        assert (capacity.workers_min, capacity.workers_max) == (0, 0)

    async def test_a_purge_says_how_many_jobs_it_dropped(self, control: ProviderControl) -> None:
        assert await control.purge_queue() == 2
        assert await control.purge_queue() == 0

    async def test_the_bill_covers_the_time_that_is_asked_for(self, control: ProviderControl) -> None:
        records = await control.billing(since=NOON - timedelta(minutes=90), until=NOON)

        assert records
        assert records[0].begins <= NOON - timedelta(minutes=90)
        assert records[-1].ends >= NOON
        assert all(earlier.ends <= later.begins for earlier, later in itertools.pairwise(records))
        assert sum(record.microdollars for record in records) > 0

    async def test_a_balance_is_an_amount_or_none(self, control: ProviderControl) -> None:
        balance = await control.balance_microdollars()

        assert balance is None or isinstance(balance, int)

    async def test_closing_twice_is_fine(self, control: ProviderControl) -> None:
        assert isinstance(await control.capacity(), Capacity)

        await control.close()
        await control.close()
