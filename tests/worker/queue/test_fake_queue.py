"""The fake queue as a person uses it: it starts a worker, lets things go wrong, and says what became of the jobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.processes import WORKER, environment
from tests.worker.queue.workers import STUB
from worker.queue.fake.faults import Call, Fault, Faults, parse_chance


def run(*arguments: str, spool: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(WORKER / "fake_queue.py"), *arguments, "--", sys.executable, str(STUB), "own"],
        env=environment(QUEUE_SPOOL=str(spool), QUEUE_RETRY_MS="10", STOP_SECONDS_MAX="0.1"),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_says_how_many_jobs_were_answered_and_how(tmp_path: Path) -> None:
    told = run("--jobs", "30", "--fault", "done:lost=0.3", "--seed", "3", "--rtt-ms", "1", spool=tmp_path)

    assert told.returncode == 0, told.stderr
    assert "30 of 30 jobs answered, 0 of them with an error" in told.stdout
    assert "30 submitted" in told.stdout
    assert "p99" in told.stdout


def test_jobs_come_from_a_file_and_errors_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"error": "no such thing"}\n"a text"\n')
    told = run("--file", str(file), "--events", spool=tmp_path)

    assert "2 of 2 jobs answered, 1 of them with an error" in told.stdout
    assert "fake-1: no such thing" in told.stdout
    assert "delivered" in told.stdout


def test_a_job_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "jobs.jsonl"
    file.write_text('{"ms": 60000}\n')
    told = run("--file", str(file), "--seconds-max", "1", spool=tmp_path)

    assert told.returncode == 1
    assert "1 jobs were not answered" in told.stdout


def test_chance_is_repeatable_and_a_script_goes_first() -> None:
    def drawn(seed: int) -> list[Fault]:
        faults = Faults({Call.DONE: [Fault.LOST]}, chances={Call.DONE: {Fault.BROKEN: 0.5}}, seed=seed)
        return [faults.next(Call.DONE) for _ in range(50)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1)[0] is Fault.LOST
    assert set(drawn(1)[1:]) == {Fault.BROKEN, Fault.NONE}


def test_a_chance_is_read_or_refused() -> None:
    assert parse_chance("take:429=0.25") == (Call.TAKE, Fault.TOO_MANY, 0.25)
    for wrong in ("take=1", "take:429", "make:429=1", "take:418=1"):
        with pytest.raises(ValueError, match=r"."):
            parse_chance(wrong)
