"""How the shards of a budget lend to each other. Pure: takes counters, returns moves.

Lending moves a counter up in one shard and down in another by the same amount, so the sum over all shards stays what
was spent. The first shard may count up to the whole budget, every other up to zero. While no shard is above its
ceiling, the sum is within the budget, whatever was lent and however many shards there are.

    shard 0    spent 300, lent 200    counter  500    ceiling 1000
    shard 1    borrowed 200, spent 50 counter -150    ceiling    0     together 350 spent, 650 free
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gate.domain.limits import Limit, Move
from gate.domain.scopes import budget_account

Counters = Mapping[tuple[str, ...], int]
Shards = Mapping[str, Counters]
"""The counters of every shard's account, by account."""

_BANK = budget_account(0)


def short_of(needs: Sequence[Move], shards: Shards) -> list[Limit]:
    """Return the limits of which all shards together have not enough left for what a job needs of them."""
    return [limit for need, limit in _limited(needs) if _free(need, limit, shards) < need.amount]


def moves_to_lend(needs: Sequence[Move], shards: Shards) -> list[Move]:
    """Return the moves after which the shard of `needs` has room for each of them; nothing if that cannot be.

    It borrows from the richest first, half of what that one has if that is more than is needed: so what is left is
    spread in proportion to the traffic, and the next jobs need not borrow.
    """
    if short_of(needs, shards):
        return []
    return [move for need, limit in _limited(needs) for move in _loan(need, limit, shards)]


def moves_to_settle_loans(limits: Sequence[Move], shards: Shards) -> list[Move]:
    """Return the moves that bring a budget home to the first shard where lending alone cannot keep it true.

    That is where the first shard is above a ceiling that was lowered, while others may still spend what it lent
    them; and where another is above zero, because it counted before there was a limit or a job took more than its
    hold.
    """
    return [move for each, limit in _limited(limits) for move in _homecoming(each, limit, shards)]


def spent(counter: tuple[str, ...], shards: Shards) -> int:
    """Return what all shards have spent together. Money that is held counts as spent."""
    return sum(counters.get(counter, 0) for counters in shards.values())


def _limited(moves: Sequence[Move]) -> list[tuple[Move, Limit]]:
    return [(move, move.limit) for move in moves if move.limit and move.limit.name.is_budget]


def _free(need: Move, limit: Limit, shards: Shards) -> int:
    return limit.value - spent(need.counter, shards)


def _room(account: str, need: Move, limit: Limit, shards: Shards) -> int:
    ceiling = limit.value if account == _BANK else 0
    return ceiling - shards.get(account, {}).get(need.counter, 0)


def _loan(need: Move, limit: Limit, shards: Shards) -> list[Move]:
    missing = need.amount - _room(need.account, need, limit, shards)
    others = {account: _room(account, need, limit, shards) for account in {_BANK, *shards} - {need.account}}
    moves = []
    for account, room in sorted(others.items(), key=lambda item: item[1], reverse=True):
        if missing <= 0:
            break
        lent = min(room, max(missing, room // 2))
        moves += _transfer(need.counter, lent, lender=account, borrower=need.account)
        missing -= lent
    return moves


def _homecoming(each: Move, limit: Limit, shards: Shards) -> list[Move]:
    values = {account: counters.get(each.counter, 0) for account, counters in shards.items() if account != _BANK}
    above = {account: value for account, value in values.items() if value > 0}
    lent = {account: value for account, value in values.items() if value < 0}
    is_over = _room(_BANK, each, limit, shards) < sum(above.values())
    home = above | lent if is_over else above
    return [
        move
        for account, value in home.items()
        for move in _transfer(each.counter, value, lender=_BANK, borrower=account)
    ]


def _transfer(counter: tuple[str, ...], amount: int, *, lender: str, borrower: str) -> list[Move]:
    """A negative amount goes the other way."""
    return [
        Move(account=lender, counter=counter, amount=amount),
        Move(account=borrower, counter=counter, amount=-amount),
    ]
