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
    """What they ever said, holds included."""
    jobs: int
    settled: int
    """What the jobs' own documents add up to: another sum than the budget's is a job that was billed twice."""
    holds_left: int
    differences: tuple[str, ...] = ()
    """Counters, of a caller or of the budget, that are not what the jobs add up to."""
    run: int = 0
    """Jobs that the cloud was given, if they were counted."""
    refused_early: int = 0
    """Refusals for the budget's sake while more than a hundredth of it was free all the time."""
    hold_commits: int = 0
    """The most that any job took for its hold; of jobs for which there was room at once."""
    settle_commits: int = 0
    hot_reads: int = 0
    """The most of any request, until it was answered."""
    looks: int = 0
    """The most reads of any such job's document while it ran."""
    is_repeated: bool = False
    """Whether what goes wrong has writes made again, so that more than one commit is as it should be."""

    @property
    def complaints(self) -> list[str]:
        """Return what does not hold; empty if all does."""
        found = {
            "spent above the budget": max(self.billed, self.ledger, self.most) > self.budget,
            "the bill is above the ledger": self.billed > self.ledger,
            "a job was billed twice": self.settled != self.ledger,
            "a job was run twice": self.run > self.jobs,
            "a hold was left behind": self.holds_left > 0,
            "an honest caller was refused": self.refused_early > 0,
            "nothing was spent": self.billed == 0,
            "a hold took more than one commit": self.hold_commits > 1 and not self.is_repeated,
            "a settlement took more than one commit": self.settle_commits > 1 and not self.is_repeated,
            "the hot path reads": self.hot_reads > 0 and not self.is_repeated,
        }
        counters = [f"{WRONG_COUNTER}: {one}" for one in self.differences[:_DIFFERENCES_TOLD]]
        return [complaint for complaint, holds in found.items() if holds] + counters
