"""Our queue loop against RunPod's own, on the same fake queue: `python -m bench.queue`, from `gpu_worker`.

The handler only sleeps, so what is measured is the loop. Runs take turns, because a shared machine is never the same
twice; trust the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import quantile
from worker.batching.request import Sink
from worker.log import EventLog
from worker.queue import QueueSettings, run_queue
from worker.queue.fake.server import FakeQueue

_PLACE = Path(__file__).resolve().parents[1]
_HANDLER_MS = 5
_TOKENS = 300
_TOKEN_SECONDS = 0.002
_SECONDS_MAX = 300
_NO_CHECKS = {"RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true", "RUNPOD_LOG_LEVEL": "ERROR"}
"""The SDK's checks of its surroundings want a network and a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row of the table."""

    name: str
    run: Callable[[str], Awaitable[float]]
    """Takes the loop, `own` or `sdk`, and returns the figure."""
    more_is_better: bool = True


def measures(*, poisson_jobs: int = 200) -> list[Measure]:
    """Return all that is compared."""
    return [
        Measure(name="jobs/s, backlog, concurrency 1", run=lambda loop: _backlog(loop, 1, own=300, sdk=6)),
        Measure(name="jobs/s, backlog, concurrency 8", run=lambda loop: _backlog(loop, 8, own=1_200, sdk=48)),
        Measure(
            name="ms over the handler's, p50", run=lambda loop: _over(loop, 0.5, poisson_jobs), more_is_better=False
        ),
        Measure(
            name="ms over the handler's, p99", run=lambda loop: _over(loop, 0.99, poisson_jobs), more_is_better=False
        ),
        Measure(name="streamed tokens/s at 30 ms", run=_stream),
    ]


async def _backlog(loop: str, concurrency: int, *, own: int, sdk: int) -> float:
    async with _against(loop, concurrency) as queue:
        await queue.until(lambda ledger: ledger.count("polled") > 0)
        count = own if loop == "own" else sdk
        for _ in range(count):
            await queue.ledger.submit({"ms": _HANDLER_MS})
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=_SECONDS_MAX)
        jobs = queue.ledger.jobs.values()
        return count / (max(job.done_at or 0 for job in jobs) - min(job.delivered_at[0] for job in jobs))


async def _over(loop: str, part: float, count: int) -> float:
    """Return a quantile of what jobs take over their handler, when they come by chance, 20 a second."""
    rng = random.Random(11)  # noqa: S311 - the same arrivals for both
    async with _against(loop, 32) as queue:
        await queue.until(lambda ledger: ledger.count("polled") > 0)
        for _ in range(count):
            await asyncio.sleep(rng.expovariate(20))
            await queue.ledger.submit({"ms": _HANDLER_MS})
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=_SECONDS_MAX)
        jobs = queue.ledger.jobs.values()
        return quantile([((job.done_at or 0) - job.submitted_at) * 1_000 - _HANDLER_MS for job in jobs], part)


async def _stream(loop: str) -> float:
    """Return how fast tokens arrive that a model makes at 500 a second, over a link of 30 ms."""
    async with _against(loop, 1, stream=True, rtt_seconds=0.03) as queue:
        await queue.until(lambda ledger: ledger.count("polled") > 0)
        await queue.ledger.submit({"tokens": _TOKENS})
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=_SECONDS_MAX)
        [job] = queue.ledger.jobs.values()
        last = [event.at for event in queue.ledger.events if event.what == "stream"][-1]
        assert "".join(job.parts) == "token " * _TOKENS
        return _TOKENS / (last - job.delivered_at[0])


@asynccontextmanager
async def _against(
    loop: str, concurrency: int, *, stream: bool = False, rtt_seconds: float = 0
) -> AsyncIterator[FakeQueue]:
    """Run a worker process against a queue for as long as the context lasts."""
    queue = FakeQueue(rtt_seconds=rtt_seconds)
    await queue.start()
    env = {**os.environ, **_NO_CHECKS, **queue.env(), "JOBS_MAX": str(concurrency)}
    command = [sys.executable, "-m", "bench.queue", "--work", f"{loop}-stream" if stream else loop]
    worker = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=_PLACE, stdout=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield queue
    finally:
        # The SDK's heartbeat is a process of its own, which outlives a mere kill.
        os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()
        await queue.close()


async def _sleep(job: dict[str, Any]) -> Any:
    await asyncio.sleep(job["input"]["ms"] / 1_000)
    return {"done": True}


async def _tokens(job: dict[str, Any]) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(job["input"]["tokens"]):
        await asyncio.sleep(max(0, began + number * _TOKEN_SECONDS - loop.time()))
        yield "token "


def _work(kind: str) -> int:
    """Be a worker."""
    jobs_max = int(os.environ["JOBS_MAX"])
    if kind.startswith("sdk"):
        import runpod

        handler: Any = _tokens if kind.endswith("stream") else _sleep
        runpod.serverless.start({"handler": handler, "concurrency_modifier": lambda _: jobs_max})
        return 0
    settings = QueueSettings.from_env(os.environ, jobs_max=jobs_max, stop_seconds_max=1)
    return asyncio.run(_work_own(settings, is_stream=kind.endswith("stream")))


async def _work_own(settings: QueueSettings, *, is_stream: bool) -> int:
    async def work(job: dict[str, Any], sink: Sink) -> Any:
        if not is_stream:
            return await _sleep(job)
        tokens = []
        async for token in _tokens(job):
            sink.part(token)
            tokens.append(token)
        return tokens

    return await run_queue(work, settings, log=EventLog())


async def compare(rounds: int) -> None:
    """Print the table: each figure's median over the rounds, and what ours is of theirs."""
    _say(f"{'':<34}{'own':>10}{'sdk':>10}{'ratio':>9}")
    for measure in measures():
        figures: dict[str, list[float]] = {"own": [], "sdk": []}
        for _ in range(rounds):
            for loop, found in figures.items():
                found.append(await measure.run(loop))
        own, sdk = (quantile(found, 0.5) for found in figures.values())
        ratio = own / sdk if measure.more_is_better else sdk / own
        _say(f"{measure.name:<34}{own:>10.1f}{sdk:>10.1f}{ratio:>8.1f}x")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare both loops, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="how often each figure is taken (1)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        return _work(options.work)
    asyncio.run(compare(options.rounds))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
