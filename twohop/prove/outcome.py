"""What one drive left, and what of it does not hold."""

from __future__ import annotations

from dataclasses import dataclass

WRONG_COUNTER = "a counter is not what its jobs add up to"
_DIFFERENCES_TOLD = 3
"""Of one outcome: where there is one mistake, there are often hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one drive left, in micro-dollars, jobs and operations."""

    case: str
    budget: int
    billed: int
    """The most that was ever spent, by the cloud's own bill."""
    ledger: int
    """What the budget's documents say was spent."""
    most: int
    """What they ever said, holds included; of what no hold was admitted for, nothing."""
    jobs: int
    settled: int
    """What the jobs' own documents add up to: another sum than the budget's is a job that was billed twice."""
    holds_left: int
    differences: tuple[str, ...] = ()
    """Counters, of a caller or of the budget, that are not what the jobs add up to."""
    run_twice: int = 0
    """Jobs that the cloud was given more than once."""
    run_unheld: int = 0
    """Jobs that the cloud was given, and of which the ledger has nothing."""
    refused_early: int = 0
    """Refusals for the budget's sake while more than a hundredth of it was free all the time."""
    hold_commits: int = 0
    """The most that any job took for its hold; of jobs for which there was room at once."""
    settle_commits: int = 0
    settled_again: int = 0
    """Such jobs that took more than one commit to settle."""
    hot_reads: int = 0
    """The most of any request, until it was answered."""
    looks: int = 0
    """The most reads of any such job's document while it ran."""
    may_rest: bool = False
    """Whether the cloud may have billed nothing, because hop 1 died before it asked for anything."""
    is_repeated: bool = False
    """Whether what goes wrong has writes made again, so that more than one commit is as it should be."""

    @property
    def complaints(self) -> list[str]:
        """Return what does not hold; empty if all does."""
        found = {
            "spent above the budget": max(self.billed, self.most) > self.budget,
            "the bill is above the ledger": self.billed > self.ledger,
            "a job was billed twice": self.settled != self.ledger,
            "a job was run twice": self.run_twice > 0,
            "a job was run that nobody holds": self.run_unheld > 0,
            "a hold was left behind": self.holds_left > 0,
            "an honest caller was refused": self.refused_early > 0,
            "nothing was spent": self.billed == 0 and not self.may_rest,
            "a hold took more than one commit": self.hold_commits > 1 and not self.is_repeated,
            "settlements took more than one commit": self._settles_again_often and not self.is_repeated,
            "the hot path reads": self.hot_reads > 0 and not self.is_repeated,
        }
        counters = [f"{WRONG_COUNTER}: {one}" for one in self.differences[:_DIFFERENCES_TOLD]]
        return [complaint for complaint, holds in found.items() if holds] + counters

    @property
    def _settles_again_often(self) -> bool:
        """A call and a webhook may tell of one end in the same second; the second finds it told. That is rare."""
        return self.settled_again * 100 > self.jobs
