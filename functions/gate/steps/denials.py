"""Remembers who was refused and until when, so that a flood of refused calls writes nothing.

The memory is this instance's own and only ever says no; it forgets on its own, at the latest when the limit resets.
"""

from __future__ import annotations

from collections import OrderedDict

from gate.domain.meter import Denial
from gate.ports import Clock

_REMEMBERED_MAX = 10_000


class DenialMemory:
    """Denials by account, each valid while its rules are what they were."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._denials: OrderedDict[str, tuple[Denial, object]] = OrderedDict()

    def recall(self, account: str, rules: object) -> Denial | None:
        """Return the denial that still stands. One made under other rules, or whose time has come, does not."""
        if account not in self._denials:
            return None
        denial, made_under = self._denials[account]
        if self._clock.now() < denial.retry_at and made_under == rules:
            return denial
        self.forget(account)
        return None

    def remember(self, account: str, denial: Denial, rules: object) -> None:
        """Keep a denial. The oldest gives way when there are too many: it costs a commit to be refused again."""
        self._denials[account] = (denial, rules)
        self._denials.move_to_end(account)
        if len(self._denials) > _REMEMBERED_MAX:
            self._denials.popitem(last=False)

    def forget(self, account: str) -> None:
        """Drop what is remembered; something of this account came free."""
        self._denials.pop(account, None)

    def forget_under(self, prefix: str) -> None:
        """Drop what is remembered of accounts whose names begin so."""
        for account in [name for name in self._denials if name.startswith(prefix)]:
            del self._denials[account]

    def clear(self) -> None:
        """Drop everything."""
        self._denials.clear()
