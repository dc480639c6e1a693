"""Rounds of servers under load, without the servers."""

from __future__ import annotations

import sys
from typing import cast

import pytest

from bench import served
from bench.corpus import Mix
from bench.live import Live
from bench.processes import Process
from bench.served import Case, Load, Results, Served
from bench.servers import Device, make_servers

CASE = Case(Mix.QUERIES, 32)
LIVES = [
    Live(server=server, process=cast("Process", None), port=1, start_seconds=0.0)
    for server in make_servers(Device.CPU)[:2]
]


def measured(monkeypatch: pytest.MonkeyPatch, *, runs: int) -> tuple[Results, list[str]]:
    """Return what is reported of a run of five rounds that is ended behind so many runs of a server."""
    ran = 0

    def run(_one: Live, _mixed: object, *, clients: int, seconds: float, served: Served) -> None:
        nonlocal ran
        if ran == runs:
            sys.exit(1)
        ran += 1
        served.add(Served(texts_per_second=[ran], texts_per_cpu_second=[ran], latencies_ms=[1.0], checked=1))

    monkeypatch.setattr(served, "_run", run)
    said: list[str] = []
    load = Load(rounds=5, seconds=1, seconds_max=60)
    return served.measure(LIVES, {CASE.mix: []}, {CASE.mix: {}}, cases=[CASE], load=load, say=said.append), said


def test_a_run_that_is_ended_reports_its_whole_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is paid by the minute goes when its time is over, and what it gave is not lost."""
    results, said = measured(monkeypatch, runs=5)

    assert [one.texts_per_second for one in results[CASE].values()] == [[1, 3], [2, 4]]
    assert [len(one.latencies_ms) for one in results[CASE].values()] == [2, 2]
    assert said[-1] == "stopped; 2 rounds were whole"


def test_a_run_that_is_ended_in_its_first_round_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing that could be compared."""
    with pytest.raises(SystemExit):
        measured(monkeypatch, runs=1)


def test_a_run_that_is_not_ended_reports_all_of_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each server once in a round."""
    results, _ = measured(monkeypatch, runs=100)

    assert [one.texts_per_second for one in results[CASE].values()] == [[1, 3, 5, 7, 9], [2, 4, 6, 8, 10]]
