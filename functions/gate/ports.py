"""What the gate needs from the outside world. Adapters implement these; `gate.bootstrap` chooses among them.

Each port has one contract suite under `tests/contract`, which every adapter passes unchanged.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from gate.domain.job import HandOver, Job, Settlement
from gate.domain.lending import Shards
from gate.domain.meter import Denial, Key, Move
from gate.domain.plan import NO_BUDGET, Budget, Cohort


class Clock(Protocol):
    """The time, so that tests can set it."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a request brought to show who is asking; nothing of it is checked yet."""

    bearer: str | None = None
    app_check: str | None = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, verified."""

    uid: str
    """Names the caller's documents, so it is never empty and never holds a slash."""
    cohort: Cohort
    token_id: str | None = None
    """The API token that was shown, of which `tokens/{token_id}` must still be there when a job is held."""
    token_budget: Budget = NO_BUDGET
    """What that token may spend, within what its owner may."""
    models: tuple[str, ...] = ("*",)
    """The models that the credential opens, `*` for all; none for one that may only read usage."""

    @property
    def cohorts(self) -> tuple[Cohort, ...]:
        """All that the caller is counted or known as."""
        return (self.cohort, Cohort.TOKEN) if self.token_id else (self.cohort,)

    def opens(self, model: str) -> bool:
        """Say whether the credential opens a model. Whether the caller's plan does is another question."""
        return bool({model, "*"} & set(self.models))


class CallerVerifier(Protocol):
    """Says who is asking, or refuses."""

    async def verify(self, credentials: Credentials) -> Caller:
        """Return the caller that these credentials prove.

        Raises:
            UnauthenticatedError: they prove nobody. The reason is for the log alone.
            LedgerError: keys that are needed to decide cannot be had; when in doubt, refuse.
        """
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """What a `CallerVerifier` can do beside if it asks others for what it checks by."""

    async def read_ahead(self, credentials: Credentials) -> Caller:
        """Ask for it before `verify` is called with the same, and return who that will find if it lets anybody in.

        Whatever may be used once stays good for `verify`.

        Raises:
            UnauthenticatedError, LedgerError: as `verify`, which will say it again.
        """
        ...


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The hold stands. `job` carries the version that settling it needs."""

    job: Job
    sums: Mapping[Key, int]
    """Each moved counter after this hold."""


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """The hold does not stand, and no counter keeps anything of it."""

    denial: Denial


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """A job of this id exists already; nothing moved."""

    job: Job


class Ledger(Protocol):
    """Jobs and counters. Each method is atomic, and safe to call again after a failure.

    Whoever may be cancelled makes a future of `hold` and `settle` and shields it: both go on to their end.
    """

    def hold(
        self, job: Job, moves: Sequence[Move], *, require: Sequence[str] = ()
    ) -> Awaitable[Admitted | Denied | Repeated]:
        """Create the job and make all its moves in one commit, if `meter.decide` admits the sums after them.

        Calling it twice with one job id moves the counters once. Each document whose path is in `require` must be
        there in the same commit, and is given the field `last_used_at`: so a token that was deleted a moment ago
        holds nothing, and its owner sees when it was used.

        Raises:
            UnauthenticatedError: a required document is gone; nothing moved, and a repeated job is not told either.
            LedgerError: it is not known to stand. A hold that stands all the same expires and is swept.
        """
        ...

    async def hand_over(self, job: Job, handover: HandOver) -> Job:
        """Note where a job runs that no call is held open for, and return it. No counter moves.

        A job that ended before is returned as it ended. `job` may be what `hold` returned (then one commit does it,
        with no read) or any later copy; a running one may be handed over again, to be looked at later.

        Raises:
            JobNotFoundError: the ledger has no such job.
            LedgerError: it is not known to be noted; call again.
        """
        ...

    async def ask_to_cancel(self, job: Job, *, at: datetime) -> Job:
        """Note in a job that has not ended that its caller wants it stopped. Raises as `hand_over` does."""
        ...

    def settle(self, job: Job, settlement: Settlement, *, at: datetime) -> Awaitable[Job]:
        """End a held or running job, move its counters from the hold to what it took, and return it as it now stands.

        A job that ended before is returned as it ended, and nothing moves. `job` may be what `hold` returned (then
        one commit does it, with no read) or any later copy.

        Raises:
            JobNotFoundError: the ledger has no such job.
            LedgerError: it is not known to have ended; call again.
        """
        ...

    async def rebalance(self, prefix: str, decide: Callable[[Shards], Sequence[Move]]) -> Shards:
        """Read all accounts under a prefix and make the moves that `decide` returns for them, in one commit.

        Those accounts that a move adds to are as they were read when it is made; others may have moved on. So
        `decide` may be called again, with newer counters, and must do nothing but decide.

        Return the counters that it decided on at last, as they were before its moves.

        Raises:
            LedgerError: others came in its way each time, or it is not known whether it was done.
        """
        ...

    async def job(self, job_id: str) -> Job | None:
        """Return a job, or None."""
        ...

    async def jobs(
        self,
        *,
        caller: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Return the newest jobs first, of one caller or of all; those held from `since` on and before `until`."""
        ...

    async def expired(self, *, now: datetime, limit: int = 100) -> list[Job]:
        """Return held and running jobs whose expiry has passed, oldest first."""
        ...

    async def counters(self, account: str) -> Mapping[tuple[str, ...], int]:
        """Return all counters of an account by field path; empty if there is no such account."""
        ...

    async def accounts(self, prefix: str, *, limit: int = 1000) -> list[str]:
        """Return the accounts whose path begins with a collection's name and a slash, in order."""
        ...

    async def close(self) -> None:
        """Let go of connections and files. Closing twice is fine."""
        ...


class Documents(Protocol):
    """The owner's documents: plans, users, the gate's configuration. Kept beside the ledger, by the same adapter."""

    async def read(self, path: str) -> dict[str, Any] | None:
        """Return a document such as `plans/free`, or None if there is none."""
        ...

    async def write(self, path: str, document: Mapping[str, Any]) -> None:
        """Create a document, or replace the whole of it."""
        ...

    async def swap(self, path: str, *, old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        """Replace a document if it still is `old`, atomically; None means that there is none yet.

        Return whether it was done. Of several who swap the same `old`, one is told so; give `new` something of your
        own, such as a random mark, or another's equal document may be taken for yours.

        Raises:
            LedgerError: it is not known whether it was done.
        """
        ...

    async def collection(self, name: str) -> dict[str, dict[str, Any]]:
        """Return all documents of a collection by name."""
        ...
