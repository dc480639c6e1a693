"""Twenty callers at once on two shared documents: hop 1's one commit, and the transaction that the SDK teaches."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import msgspec

from gate.domain import meter
from gate.domain.job import Job
from gate.domain.plan import STARTER_CONFIG
from gate.ledgers.firestore import FirestoreLedger
from gate.ports import Admitted, Denied
from infra.bench import firestore
from infra.bench.findings import Finding, Goal, number, spread_text, table, times
from infra.bench.gates import say
from infra.bench.run import Run
from infra.bench.standing import OPEN_PLAN
from tests.emulators import fresh_project

_CALLERS = 20
_PLACES = 10
_LEAST_TIMES = 50.0


def measure(run: Run) -> Finding:
    """Race both designs in turns."""
    os.environ["FIRESTORE_EMULATOR_HOST"] = firestore.emulator()
    ours: list[tuple[float, int, int]] = []
    theirs: list[tuple[float, int, int]] = []
    for _ in range(min(run.rounds, 3)):
        ours.append(asyncio.run(_one_commit()))
        theirs.append(_transactions())
        say(f"one commit {ours[-1]}, transactions {theirs[-1]} (seconds, admitted, errors)")
    by = [t[0] / o[0] for o, t in zip(ours, theirs, strict=True)]
    exact = all(admitted == _PLACES and not errors for _, admitted, errors in ours)
    median = sorted(by)[len(by) // 2]
    goal = Goal(
        what=f"{_CALLERS} callers racing on two shared documents, beside `@firestore.transactional`",
        goal="≥ 50 x faster, and exact",
        measured=f"{spread_text(by, times)}; {'exact' if exact else 'not exact'}",
        met=exact and median >= _LEAST_TIMES,
    )
    head = ("design", "seconds to decide all: median (min to max)", "admitted", "errors")
    rows = [
        [
            name,
            spread_text([one[0] for one in rounds], number),
            ", ".join(str(one[1]) for one in rounds),
            ", ".join(str(one[2]) for one in rounds),
        ]
        for name, rounds in (("hop 1's one commit", ours), ("`@firestore.transactional`, as it comes", theirs))
    ]
    text = (
        f"{_CALLERS} callers at once, {_PLACES} places, the official emulator, whose locks are not production's: "
        f"this ranks the designs and shows that they count right.\n\n{table(head, rows)}"
    )
    return Finding(part="racing", title="A race on two documents", day=run.day, text=text, goals=[goal])


async def _one_commit() -> tuple[float, int, int]:
    """Return the seconds, who was admitted, and the errors."""
    ledger = FirestoreLedger(project=fresh_project())
    plan = msgspec.structs.replace(OPEN_PLAN, requests_per_day=_PLACES)
    config = msgspec.structs.replace(
        STARTER_CONFIG, budget_microdollars_per_day=10**12, budget_microdollars_per_month=10**12, budget_shards=1
    )
    await ledger.read("plans/none")  # connects
    now = datetime.now(UTC)
    jobs = [_job(number_, now) for number_ in range(_CALLERS)]
    began = time.perf_counter()
    outcomes = await asyncio.gather(
        *(ledger.hold(job, meter.moves_to_hold(job, plan, config)) for job in jobs), return_exceptions=True
    )
    seconds = time.perf_counter() - began
    await ledger.close()
    admitted = sum(isinstance(outcome, Admitted) for outcome in outcomes)
    return seconds, admitted, sum(not isinstance(outcome, Admitted | Denied) for outcome in outcomes)


def _job(number_: int, now: datetime) -> Job:
    return Job(
        job_id=f"race-{number_}",
        caller="shared",
        cohort="verified",
        model="m",
        payload_digest="",
        attempt=f"{number_}",
        held_microdollars=1,
        held_gpu_ms=1,
        emission_us=100,
        shard=0,
        held_at=now,
        expires_at=now + timedelta(minutes=5),
    )


def _transactions() -> tuple[float, int, int]:
    """Do as `_one_commit`, by the SDK's transaction in as many threads."""
    from google.cloud import firestore as sdk

    client = sdk.Client(project=fresh_project())
    usage, budget = client.document("usage/shared"), client.document("budget/0")
    for document in (usage, budget):
        document.set({"requests": 0, "microdollars": 0})

    @sdk.transactional
    def hold(transaction: sdk.Transaction) -> bool:
        used = usage.get(transaction=transaction).get("requests")
        spent = budget.get(transaction=transaction).get("microdollars")
        if used >= _PLACES:
            return False
        transaction.update(usage, {"requests": used + 1})
        transaction.update(budget, {"microdollars": spent + 1})
        return True

    def one(_: int) -> bool | None:
        try:
            return bool(hold(client.transaction()))
        except Exception:
            return None

    with ThreadPoolExecutor(_CALLERS) as pool:
        began = time.perf_counter()
        outcomes = list(pool.map(one, range(_CALLERS)))
        seconds = time.perf_counter() - began
    client.close()  # type: ignore[no-untyped-call]  # the SDK's
    return seconds, sum(outcome is True for outcome in outcomes), outcomes.count(None)
