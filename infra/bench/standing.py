"""Gates that are up: around them nginx, Redis and a sign-in, each on its core, all gone with the context."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.live import BenchError, base_environment
from bench.machine import this_machine
from bench.processes import Process, can_keep, running
from gate.domain.plan import STARTER_CONFIG, STARTER_PLANS, Cohort, Plan
from gate.ledgers.sqlite import SqliteLedger
from gate.steps.policy import CONFIG_PATH
from infra.bench import parts
from infra.bench.gates import Around, Gate
from infra.bench.identity import SignIn
from infra.bench.load import Answered, send
from twohop.loopback import free_port

_START_SECONDS_MAX = 90.0
_MOST = 10**12

OPEN_PLAN = msgspec.structs.replace(
    STARTER_PLANS["free"],
    requests_per_minute=600_000,
    burst=100_000,
    requests_per_day=_MOST,
    requests_per_month=_MOST,
    concurrency=_MOST,
    gpu_seconds_per_day=_MOST,
    microdollars_per_day=_MOST,
    microdollars_per_month=_MOST,
)
"""A plan whose every limit is asked about at each call, and none is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where things run: a gate has a core for itself, all else shares the other."""

    gate: int | None
    rest: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Return both cores; none if there is only one, or nothing can be kept on it."""
        machine = this_machine()
        return cls(gate=machine.server_core, rest=machine.client_core) if can_keep() else cls(gate=None, rest=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A gate that answers."""

    gate: Gate
    port: int
    process: Process
    around: Around
    cores: Cores
    start_seconds: float

    def load(self, *, clients: int, seconds: float, expected: int = 200) -> Answered:
        """Send calls for some seconds."""
        return send(
            self.gate.load(self.around, self.port),
            clients=clients,
            seconds=seconds,
            core=self.cores.rest,
            folder=self.around.folder,
            expected=expected,
        )


@contextmanager
def surroundings(folder: Path, *, callers: int, cores: Cores) -> Iterator[Around]:
    """Start nginx and Redis, and sign in callers."""
    folder.mkdir(parents=True, exist_ok=True)
    sign_in = SignIn.new()
    public_key = folder / "public.pem"
    public_key.write_text(sign_in.public_pem(), "utf-8")
    tokens = [sign_in.token(f"caller-{number}") for number in range(callers)]
    with (
        parts.upstream(folder, sign_in=sign_in, core=cores.rest) as upstream,
        parts.redis(folder, core=cores.rest) as redis,
    ):
        yield Around(upstream=upstream, redis=redis, folder=folder, public_key=public_key, tokens=tokens)


@contextmanager
def standing(gate: Gate, around: Around, *, home: Path, cores: Cores, core: int | None) -> Iterator[Standing]:
    """Start a gate and wait for its first answer.

    Raises:
        BenchError: it does not answer; the message ends with its log.
    """
    port = free_port()
    log_path = around.folder / f"{gate.name.split(' ')[0].lower()}.log"
    env = {**base_environment(), **gate.env(around, port)}
    began = time.perf_counter()
    with running(gate.command(home, port), env=env, log_path=log_path, core=core) as process:
        first = _first_answer(gate, around, port, process, began)
        yield Standing(gate=gate, port=port, process=process, around=around, cores=cores, start_seconds=first - began)


def _first_answer(gate: Gate, around: Around, port: int, process: Process, began: float) -> float:
    from bench.clients import ProtocolError, ask

    request = gate.load(around, port).request()
    said = "nothing"
    while time.perf_counter() - began < _START_SECONDS_MAX and not process.ended:
        try:
            status, body = ask(port, request)
        except (OSError, ProtocolError):
            time.sleep(0.003)
            continue
        if status == 200:
            return time.perf_counter()
        said = f"{status}: {body[:200]!r}"
        time.sleep(0.05)
    raise BenchError(f"{gate.name} does not start, it said {said}; its log ends:\n{process.last_words()}")


def write_policies(path: Path, *, plan: Plan = OPEN_PLAN, shards: int = 1) -> None:
    """Make a ledger of hop 1 that admits what the plan admits."""
    config = msgspec.structs.replace(
        STARTER_CONFIG,
        budget_microdollars_per_day=_MOST,
        budget_microdollars_per_month=_MOST,
        budget_shards=shards,
        plans={Cohort.VERIFIED: "bench"},
    )
    asyncio.run(_write(path, {"plans/bench": plan, CONFIG_PATH: config}))


async def _write(path: Path, documents: Mapping[str, msgspec.Struct]) -> None:
    ledger = SqliteLedger(str(path))
    for name, document in documents.items():
        await ledger.write(name, msgspec.to_builtins(document))
    await ledger.close()


def fresh_ledger(around: Around, **given: object) -> Path:
    """Put an empty ledger where hop 1 will look for it."""
    path = around.folder / "ledger.sqlite3"
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    write_policies(path, **given)  # type: ignore[arg-type]  # as `write_policies` takes them
    return path
