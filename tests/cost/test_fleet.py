"""The simulation against theory, against SimFaaS, and against its own conservation laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simfaas.ServerlessSimulator import ServerlessSimulator

from twohop.cost.closed_form import always_on_wait, erlang_c, one_worker
from twohop.cost.fleet import Lived, Rules, live
from twohop.cost.traffic import Seconds


def _by_chance(*, rate: float, seconds: float, count: int, seed: int = 1) -> tuple[Seconds, Seconds]:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.exponential(1 / rate, count)), rng.exponential(seconds, count)


def _run(arrivals: list[float], times: list[float], until: float = 0, **rules: float) -> Lived:
    fields = {"workers_max": 1, **rules}
    return live(np.array(arrivals, dtype=float), np.array(times, dtype=float), Rules(**fields), until=until)  # type: ignore[arg-type]  # rows name ints as ints


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (4, 3.0), (10, 8.5)])
def test_workers_that_never_end_wait_as_m_m_c_says(servers: int, load: float) -> None:
    """Erlang's formula holds for calls and times by chance and workers that are always there."""
    arrivals, times = _by_chance(rate=load, seconds=1.0, count=4_000_000)

    lived = live(arrivals, times, Rules(workers_max=servers, workers_min=servers), until=float(arrivals[-1]))

    expected = always_on_wait(calls_per_second=load, compute_seconds=1.0, servers=servers)
    assert lived.wait_mean == pytest.approx(expected, rel=0.05)
    assert (lived.waits > 0).mean() == pytest.approx(erlang_c(servers=servers, load=load), rel=0.03)


def test_erlangs_table_is_met() -> None:
    """Two servers at a load of one: a third of the calls wait."""
    assert erlang_c(servers=2, load=1.0) == pytest.approx(1 / 3)
    assert always_on_wait(calls_per_second=3, compute_seconds=1, servers=2) == math.inf


@pytest.mark.parametrize(("rate", "threshold"), [(0.9, 4.0), (0.5, 2.0)])
def test_cold_starts_come_as_often_as_simfaas_says(rate: float, threshold: float) -> None:
    """SimFaaS (Mahmoudi and Khazaei) has no queue: each call that finds no idle instance starts one."""
    theirs = ServerlessSimulator(
        arrival_rate=rate,
        warm_service_rate=0.5,
        cold_service_rate=0.5,
        expiration_threshold=threshold,
        max_time=30_000,
    )
    np.random.seed(1)
    theirs.generate_trace(debug_print=False, progress=False)
    arrivals, times = _by_chance(rate=rate, seconds=2.0, count=300_000)

    ours = live(arrivals, times, Rules(workers_max=500, idle_seconds=threshold), until=float(arrivals[-1]))

    assert ours.cold_share == pytest.approx(theirs.get_cold_start_prob(), rel=0.04)


@pytest.mark.parametrize(("rate", "seconds"), [(1 / 60, 0.01), (0.05, 2.0), (0.3, 2.0)])
def test_one_worker_starts_idles_and_is_waited_for_as_the_formula_says(rate: float, seconds: float) -> None:
    """M/G/1 with exceptional first service is exact for it, seldom used or busy."""
    rules = Rules(workers_max=1, start_seconds=4.0, idle_seconds=10.0)
    arrivals, times = _by_chance(rate=rate, seconds=seconds, count=1_000_000)

    lived = live(arrivals, times, rules, until=float(arrivals[-1]))
    quick = one_worker(calls_per_second=rate, compute_seconds=seconds, compute_cv=1.0, rules=rules)

    assert lived.starts / lived.calls == pytest.approx(quick.cold_share, rel=0.02)
    assert lived.idle_seconds / lived.calls == pytest.approx(quick.idle_seconds, rel=0.02)
    assert lived.wait_mean == pytest.approx(quick.wait_mean_seconds, rel=0.02)


@pytest.mark.parametrize(
    ("lived", "useful", "start", "idle", "rounding", "waits"),
    [
        # One call: 10 s start, 2 s useful, 5 s tail.
        pytest.param(_run([0], [2], start_seconds=10, idle_seconds=5), 2, 10, 5, 0, [10], id="alone"),
        # The second comes 3 s after the first ended, within the tail: 3 s between, then 5 s.
        pytest.param(_run([0, 15], [2, 2], start_seconds=10, idle_seconds=5), 4, 10, 8, 0, [10, 0], id="warm"),
        # The second comes 6 s after the end: another start.
        pytest.param(_run([0, 18], [2, 2], start_seconds=10, idle_seconds=5), 4, 20, 10, 0, [10, 10], id="too-late"),
        # 2.3 s + 5 s = 7.3 s, billed as 8 s.
        pytest.param(_run([0], [2.3], idle_seconds=5, granularity_ms=1000), 2.3, 0, 5, 0.7, [0], id="rounded"),
        # 7.3 s, at least a minute.
        pytest.param(_run([0], [2.3], idle_seconds=5, min_charge_ms=60_000), 2.3, 0, 5, 52.7, [0], id="minimum"),
        # Two calls side by side in one worker: 3 s in which it has a job.
        pytest.param(_run([0, 1], [2, 2], jobs_at_once=2), 3, 0, 0, 0, [0, 0], id="batched"),
        # The only worker is busy: the second waits for it.
        pytest.param(_run([0, 1], [2, 2]), 4, 0, 0, 0, [0, 1], id="queued"),
        # Finding a machine takes 20 s, which this provider does not bill.
        pytest.param(_run([0], [1], pull_seconds=20, start_seconds=3), 1, 3, 0, 0, [23], id="pull-unbilled"),
        pytest.param(_run([0], [1], pull_seconds=20, start_seconds=3, bills_pull=True), 1, 23, 0, 0, [23], id="pull"),
        # Kept on for 100 s, 2 of them useful.
        pytest.param(_run([0], [2], until=100, workers_min=1), 2, 0, 98, 0, [0], id="always-on"),
        pytest.param(_run([0], [2], idle_seconds=5, bills_idle=False), 2, 0, 0, 0, [0], id="idle-is-free"),
    ],
)
def test_a_few_calls_are_billed_as_by_hand(
    lived: Lived, useful: float, start: float, idle: float, rounding: float, waits: list[float]
) -> None:
    """The arithmetic is in the comments."""
    found = (lived.useful_seconds, lived.start_seconds, lived.idle_seconds, lived.rounding_seconds)
    assert found == pytest.approx((useful, start, idle, rounding))
    assert list(lived.waits) == pytest.approx(waits)


def test_a_disk_is_billed_by_five_minutes_of_each_workers_life() -> None:
    """Two lives of 11 s are two blocks; one of 309 s is two as well."""
    short = _run([0, 100], [10, 10], idle_seconds=1)
    long = _run([0], [308], idle_seconds=1)

    assert (short.blocks, long.blocks) == (2, 2)


def test_a_call_that_would_wait_too_long_is_given_up_and_costs_no_worker() -> None:
    """The limit is the gate's own wait."""
    lived = _run([0, 1], [100, 2], wait_seconds_max=10)

    assert (lived.refused, lived.useful_seconds) == (1, 100)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0.001, 20)), min_size=1, max_size=60),
    st.integers(1, 5),
    st.floats(0, 30),
    st.floats(0, 60),
)
def test_every_call_is_served_once_and_workers_bill_no_less_than_their_work(
    jobs: list[tuple[float, float]], workers: int, start: float, idle: float
) -> None:
    """Whatever comes: useful time is the calls' own, and never are more workers busy than there are."""
    arrivals = np.sort(np.array([job[0] for job in jobs]))
    times = np.array([job[1] for job in jobs])
    rules = Rules(workers_max=workers, start_seconds=start, idle_seconds=idle, granularity_ms=1000)

    lived = live(arrivals, times, rules, until=1000)

    assert len(lived.waits) == len(jobs)
    assert lived.useful_seconds == pytest.approx(times.sum())
    assert lived.billed_seconds >= lived.useful_seconds
    events = sorted([(at, 1) for at in lived.arrivals + lived.waits] + [(end - 1e-6, -1) for end in lived.ends])
    assert max(np.cumsum([change for _, change in events])) <= workers


def test_the_same_seed_is_the_same_month() -> None:
    """So a bill can be talked about."""
    one, two = (live(*_by_chance(rate=1, seconds=1, count=1000), Rules(workers_max=3), until=0) for _ in range(2))

    assert np.array_equal(one.waits, two.waits)
