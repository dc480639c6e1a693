"""Firestore for a benchmark: the official emulator, and a project with hop 1's documents in it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bench.live import BenchError
from gate.domain.plan import STARTER_CONFIG, Cohort
from gate.ledgers.firestore import FirestoreLedger
from gate.steps.policy import CONFIG_PATH
from infra.bench.standing import OPEN_PLAN
from tests import emulators


def emulator() -> str:
    """Return the `host:port` of the official emulator, started if none runs.

    Raises:
        BenchError: there is none here; the message says how to get it.
    """
    host, reason = emulators._firestore()
    if host is None:
        raise BenchError(
            f"the Firestore emulator is missing ({reason}): npx firebase-tools setup:emulators:firestore"
        )
    return host


async def write_policies(project: str, *, limits: Mapping[str, int] | None = None) -> None:
    """Write a plan that admits everything, or what the limits say, for every signed-in caller."""
    ledger = FirestoreLedger(project=project)
    plan = msgspec.structs.replace(OPEN_PLAN, **(limits or {}))
    config = msgspec.structs.replace(
        STARTER_CONFIG,
        budget_microdollars_per_day=10**12,
        budget_microdollars_per_month=10**12,
        budget_shards=1,
        plans={Cohort.VERIFIED: "bench"},
    )
    await ledger.write("plans/bench", msgspec.to_builtins(plan))
    await ledger.write(CONFIG_PATH, msgspec.to_builtins(config))
    await ledger.close()
