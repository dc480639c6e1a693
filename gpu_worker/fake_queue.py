"""A queue to try a worker against, on this machine: `python gpu_worker/fake_queue.py --help`.

    python gpu_worker/fake_queue.py --jobs 100 --model all-minilm-l6-v2 -- python gpu_worker/handler.py
    python gpu_worker/fake_queue.py --jobs 100 --fault done:lost=0.1 --fault take:twice=0.1 -- python my_worker.py

It starts the worker with the addresses that RunPod would set, or prints them if no command is given; it hands out
the jobs, lets go wrong what it is told to, and says at the end what became of them. The exit code is 0 if all were
answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

# The gate's wire.py lies beside this folder, in the repository and in the image alike.
sys.path.append(str(Path(__file__).resolve().parent.parent / "functions"))

from gate import wire
from worker.clock import SystemClock
from worker.queue.fake.faults import Call, Fault, Faults, parse_chance
from worker.queue.fake.ledger import Ledger
from worker.queue.fake.server import FakeQueue

_VALID_MS = 600_000
_STOP_SECONDS_MAX = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the queue until all jobs are answered or the time is over, and return the exit code."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    secret = os.environ.get("WORKER_SECRET") or secrets.token_hex(32)
    faults = Faults(chances=_chances(options.fault), seed=options.seed)
    queue = FakeQueue(faults, rtt_seconds=options.rtt_ms / 1_000, silence_seconds=options.silence_seconds)
    await queue.start(port=options.port)
    worker = await _start(options.command, {**queue.env(), "WORKER_SECRET": secret})
    code = 0
    try:
        for job_input in _inputs(options, secret.encode()):
            await queue.ledger.submit(job_input)
        await queue.until(lambda ledger: not ledger.unanswered, seconds_max=options.seconds_max)
    except TimeoutError:
        code = 1
        _say(f"{len(queue.ledger.unanswered)} jobs were not answered within {options.seconds_max:g} seconds")
    finally:
        await _stop(worker)
        await queue.close()
    _report(queue.ledger, events=options.events)
    return code


async def _start(command: Sequence[str], env: dict[str, str]) -> asyncio.subprocess.Process | None:
    if not command:
        _say("Start a worker with:")
        for name, value in env.items():
            _say(f"export {name}='{value}'")
        return None
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **env}, start_new_session=True)


async def _stop(worker: asyncio.subprocess.Process | None) -> None:
    if worker is None or worker.returncode is not None:
        return
    worker.terminate()
    try:
        await asyncio.wait_for(worker.wait(), _STOP_SECONDS_MAX)
    except TimeoutError:
        os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()


def _inputs(options: argparse.Namespace, secret: bytes) -> Iterator[Any]:
    """Yield what the jobs are given: a file's lines, or numbered texts; signed if a model is named."""
    if options.file:
        told = [json.loads(line) for line in Path(options.file).read_text("utf-8").splitlines() if line.strip()]
    else:
        told = [f"text number {number}" for number in range(options.jobs)]
    for number, job_input in enumerate(told):
        yield _signed(options.model, job_input, secret, f"job-{number}") if options.model else job_input


def _signed(model: str, job_input: Any, secret: bytes, job_id: str) -> dict[str, Any]:
    now_ms = SystemClock().now_ms()
    body = wire.WorkBody(model=model, inputs=job_input, parameters={}).encode()
    times = {"issued_ms": now_ms, "expires_ms": now_ms + _VALID_MS}
    return wire.sign(secret=secret, job_id=job_id, body=body, **times).to_envelope()


def _chances(told: Sequence[tuple[Call, Fault, float]]) -> dict[Call, dict[Fault, float]]:
    chances: dict[Call, dict[Fault, float]] = {}
    for call, fault, chance in told:
        chances.setdefault(call, {})[fault] = chance
    return chances


def _report(ledger: Ledger, *, events: bool) -> None:
    began = ledger.events[0].at if ledger.events else 0
    for event in ledger.events if events else []:
        _say(f"{event.at - began:9.3f} s  {event.what:<12} {event.worker_id} {event.job_id} {event.detail}")
    for what, count in sorted(Counter(event.what for event in ledger.events).items()):
        _say(f"{count:>7} {what}")
    jobs = list(ledger.jobs.values())
    failed = [job for job in jobs if job.results and "error" in job.results[-1]]
    waits = sorted((job.done_at - job.submitted_at) * 1_000 for job in jobs if job.done_at is not None)
    _say(f"{len(waits)} of {len(jobs)} jobs answered, {len(failed)} of them with an error")
    if waits:
        half, most = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        _say(f"from submission to answer: p50 {half:.0f} ms, p99 {most:.0f} ms")
    for job in failed[:5]:
        _say(f"  {job.job_id}: {job.results[-1]['error'][:200]}")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10, help="how many to generate (10)")
    parser.add_argument("--file", help="one job's input as JSON a line, instead")
    parser.add_argument("--model", help="sign each job for a Twohop worker of this model, with WORKER_SECRET")
    parser.add_argument(
        "--fault", action="append", default=[], type=parse_chance, metavar="CALL:FAULT=CHANCE", help=_faults_help()
    )
    parser.add_argument("--seed", type=int, default=0, help="of the faults' chance (0)")
    parser.add_argument("--rtt-ms", type=int, default=0, help="round trip of the link (0)")
    parser.add_argument("--silence-seconds", type=float, default=30, help="until an unnamed job comes again (30)")
    parser.add_argument("--seconds-max", type=float, default=120, help="how long all may take (120)")
    parser.add_argument("--port", type=int, default=0, help="to listen on (any)")
    parser.add_argument("--events", action="store_true", help="list everything that happened")
    parser.add_argument("command", nargs="*", help="the worker, after --")
    return parser.parse_args(arguments)


def _faults_help() -> str:
    return f"such as done:lost=0.1; calls: {', '.join(Call)}; faults: {', '.join(Fault)}"


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command's output


if __name__ == "__main__":
    sys.exit(main())
