"""What hop 1 costs at most whoever calls it: every instance busy around the clock, with callers that are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from twohop.cost.assumed import Assumed
from twohop.cost.book import Book
from twohop.cost.bound import Bound, hourly_bound
from twohop.cost.deployed import Function
from twohop.cost.operations import OF_A_DENIAL

_SECONDS_PER_HOUR = 3600
_BYTES_PER_GIB = 1 << 30
_NANODOLLARS_PER_MICRODOLLAR = 1000


def refused(functions: Iterable[Function], *, book: Book, gate_vcpus: float, assumed: Assumed) -> Iterator[Bound]:
    """Yield a bound for each thing that costs. Free amounts are taken as used up."""
    price = {name: priced.rate.nanodollars for name, priced in book.items.items()}
    every = list(functions)
    public, own = [one for one in every if one.public], [one for one in every if not one.public]
    instances = sum(one.instances_max for one in public)
    calls = instances * assumed.requests_per_second * _SECONDS_PER_HOUR
    busy = f"{instances} instances of {len(public)} public functions (main.py), busy all the time"
    yield _bound("instances that refuse", _instances(public, price, gate_vcpus), busy)
    of_calls = f"{calls:,} calls an hour, {assumed.requests_per_second} a second at each of {instances} instances"
    yield _bound("invocations", calls * price["requests"], of_calls)
    yield _bound(
        "egress",
        calls * assumed.answer_bytes * price["egress"] / _BYTES_PER_GIB,
        f"so many calls, {assumed.answer_bytes:,} bytes each",
    )
    yield _bound(
        "logs",
        calls * assumed.log_bytes * price["logging"] / _BYTES_PER_GIB,
        f"so many calls, {assumed.log_bytes:,} bytes each",
    )
    reads = f"so many calls by signed-in callers, {assumed.reads_of_a_request} each"
    yield _bound("Firestore reads", calls * assumed.reads_of_a_request * price["firestore_reads"], reads)
    tries = min(assumed.accounts_per_hour * assumed.denied_tries_per_hour * instances, calls)
    writes, deletes = OF_A_DENIAL.writes, OF_A_DENIAL.deletes
    yield _bound(
        "Firestore writes",
        tries * (writes * price["firestore_writes"] + deletes * price["firestore_deletes"]),
        f"{assumed.accounts_per_hour:,} accounts, {assumed.denied_tries_per_hour} tries at each instance, "
        f"{writes} writes and {deletes} deletion a try",
    )
    yield _bound(
        "scheduled functions",
        _instances(own, price, gate_vcpus),
        f"{sum(one.instances_max for one in own)} instances of {len(own)} that only Google calls, busy all the time",
    )


def _instances(functions: Iterable[Function], price: dict[str, int], vcpus: float) -> float:
    """Return nano-dollars an hour. How long a call may last changes nothing: they are busy anyway."""
    return sum(
        one.instances_max
        * _SECONDS_PER_HOUR
        * (vcpus * price["vcpu_seconds"] + one.memory_gib * price["gib_seconds"])
        for one in functions
    )


def _bound(name: str, nanodollars_per_hour: float, because: str) -> Bound:
    return hourly_bound(name, -(-int(nanodollars_per_hour) // _NANODOLLARS_PER_MICRODOLLAR), because)
