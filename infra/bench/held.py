"""A thousand calls at once that wait five seconds for the GPU, on one hop 1."""

from __future__ import annotations

from bench import fixed
from bench.clients import run_round
from bench.live import base_environment
from bench.machine import kept_on
from bench.processes import running
from infra.bench.findings import Finding, Goal, table
from infra.bench.gates import CHECKOUT, hop1, say
from infra.bench.run import Run
from infra.bench.standing import fresh_ledger, standing, surroundings
from twohop.loopback import free_port

_CALLS = 1_000
_WAIT_SECONDS = 5.0
_SECONDS_MAX = 6.0
_MEMORY_MB_MAX = 200
_ANSWER = '{"outputs":[1],"usage":{"execution_ms":20}}'


def measure(run: Run) -> Finding:
    """Hold the calls, and look how long it takes and how much memory."""
    slow = free_port()
    env = {**base_environment(), "PYTHONPATH": str(CHECKOUT / "gpu_worker")}
    work = run.work("held")
    with (
        surroundings(work, callers=_CALLS, cores=run.cores) as around,
        running(
            fixed.command(slow, _ANSWER, seconds=_WAIT_SECONDS),
            env=env,
            log_path=work / "slow.log",
            core=run.cores.rest,
        ),
    ):
        fresh_ledger(around)
        gate = hop1(CONTAINER_URL=f"http://127.0.0.1:{slow}/infer")
        with standing(gate, around, home=run.home(gate), cores=run.cores, core=run.cores.gate) as one:
            load = gate.load(around, one.port)
            first = load.tokens[0]
            requests = [load.request().replace(first.encode(), token.encode()) for token in load.tokens]
            with kept_on(run.cores.rest):
                done = run_round(
                    one.port,
                    lambda n: requests[n % _CALLS],
                    clients=_CALLS,
                    seconds=_WAIT_SECONDS / 2,
                    first=0,
                    keep=(),
                )
            memory = one.process.peak_mb()
    answered = len(done.latencies_ms)
    say(f"{answered} answered within {done.seconds:.2f} s, {memory:.0f} MB, failures {done.failures[:2]}")
    goal = Goal(
        what=f"{_CALLS:,} calls at once that wait {_WAIT_SECONDS:g} s",
        goal=f"all done within {_SECONDS_MAX:g} s, under {_MEMORY_MB_MAX} MiB",
        measured=f"{answered:,} done within {done.seconds:.2f} s, {memory:.0f} MiB at most",
        met=answered == _CALLS and done.seconds <= _SECONDS_MAX and memory < _MEMORY_MB_MAX,
    )
    rows = [
        ["answered well", f"{answered:,} of {_CALLS:,}"],
        ["until the last", f"{done.seconds:.2f} s"],
        ["most memory, all processes (VmHWM)", f"{memory:.0f} MiB"],
    ]
    text = f"Each of {_CALLS:,} callers has a token of its own, never seen before.\n\n"
    text += table(("what", "measured"), rows)
    return Finding(part="held", title="Calls that wait for a GPU", day=run.day, text=text, goals=[goal])
