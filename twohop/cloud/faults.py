"""What can go wrong in a GPU cloud, and how often. Everything is drawn from one seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from twohop.errors import BadInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFaults:
    """Probabilities, of one request or of one job each."""

    throttled: float = 0.0
    """A request is answered 429, and nothing is taken."""
    answer_lost: float = 0.0
    """A request is taken, and its answer is a 502 of some proxy."""
    crashed: float = 0.0
    """A worker dies in the middle of a job; its jobs are queued again, as often as the cloud retries."""
    looping: float = 0.0
    """A job ends its worker at every try, as often as the cloud tries it."""
    timed_out: float = 0.0
    """A job runs until its execution timeout."""
    usage_missing: float = 0.0
    """A finished job says neither what the provider measured nor what the worker did."""
    usage_late: float = 0.0
    """A finished job says what it took only from a second question on."""
    forgotten: float = 0.0
    """A finished job is unknown when it is asked for."""
    webhook_lost: float = 0.0
    webhook_doubled: float = 0.0
    start_slow: float = 0.0
    """A start takes three times as long."""

    def __add__(self, other: CloudFaults) -> CloudFaults:
        """Have both go wrong."""
        names = self.__slots__
        return CloudFaults(**{name: max(getattr(self, name), getattr(other, name)) for name in names})


def cloud_faults(given: Iterable[str]) -> CloudFaults:
    """Read faults as they are typed, each as `name=chance`.

    Raises:
        BadInputError: no such fault, or no chance from 0 to 1.
    """
    known, chances = CloudFaults.__slots__, {}
    for one in given:
        name, _, chance = one.partition("=")
        try:
            chances[name] = float(chance)
        except ValueError:
            raise BadInputError(f"--fault {one}: say it as {name or 'crashed'}=0.1") from None
        if name not in known or not 0 <= chances[name] <= 1:
            raise BadInputError(f"--fault {one}: a chance from 0 to 1 of one of {', '.join(known)}")
    return CloudFaults(**chances)


class Dice:
    """Draws by kind, so that one kind's draws do not shift another's."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kinds: dict[str, random.Random] = {}

    def hit(self, kind: str, probability: float) -> bool:
        """Return whether it happens this time."""
        return probability > 0 and self.of(kind).random() < probability

    def of(self, kind: str) -> random.Random:
        """Return the kind's own generator."""
        if kind not in self._kinds:
            self._kinds[kind] = random.Random(f"{self._seed}:{kind}")  # noqa: S311 - a simulation's
        return self._kinds[kind]
