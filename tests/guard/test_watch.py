"""What a look tells: pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from gate.control import Capacity
from gate.guard.alerts import Observation, Severity
from gate.guard.spending import Spending
from gate.guard.watch import Bounds, Memory, Sighting, observations, remember
from gate.provider import ProviderHealth
from tests.makers import NOON, make_config

BOUNDS = Bounds(start_seconds_max=60, idle_seconds=5)
CONFIG = make_config(budget_microdollars_per_day=10_000_000, budget_microdollars_per_month=100_000_000)
QUIET = Sighting(
    at=NOON,
    spending=Spending(day_microdollars=0, month_microdollars=0, in_flight=0),
    config=CONFIG,
    overdue=0,
    capacity=Capacity(workers_min=0, workers_max=3),
    health=ProviderHealth(ready=True, workers_running=0, jobs_queued=0, jobs_retried=7),
    balance_microdollars=50_000_000,
)
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
MINUTES = timedelta(minutes=1)


def looks(*sightings: Sighting) -> dict[str, Observation]:
    """Look several times, five minutes apart, and return what the last look tells, by alert."""
    memory: Memory | None = None
    told: list[Observation] = []
    for number, sighting in enumerate(sightings):
        seen = replace(sighting, at=NOON + 5 * number * MINUTES)
        now = remember(seen, memory)
        told, memory = list(observations(seen, memory, now, BOUNDS)), now
    return {one.alert: one for one in told}


def severities(*sightings: Sighting) -> dict[str, Severity]:
    """Return what is not fine after several looks."""
    return {name: one.severity for name, one in looks(*sightings).items() if one.severity is not Severity.FINE}


def workers(**changes: int) -> Sighting:
    return replace(QUIET, capacity=Capacity(**{"workers_min": 0, "workers_max": 3, **changes}))


def spent(day: int, *, in_flight: int = 0, month: int | None = None) -> Sighting:
    money = Spending(day_microdollars=day, month_microdollars=day if month is None else month, in_flight=in_flight)
    return replace(QUIET, spending=money)


def test_a_quiet_endpoint_has_nothing_to_tell() -> None:
    assert severities(*[QUIET] * 20) == {}


@pytest.mark.parametrize(
    ("day", "severity"),
    [
        (7_999_999, None),
        (8_000_000, Severity.WARNING),
        (9_500_000, Severity.CRITICAL),
        (12_000_000, Severity.CRITICAL),
    ],
)
def test_a_budgets_share_is_told_from_the_owners_thresholds_on(day: int, severity: Severity | None) -> None:
    assert severities(spent(day)).get("budget_day") is severity


def test_an_alert_says_when_the_budget_will_end() -> None:
    """Two dollars in the last hour, and two are left."""
    sightings = [spent(6_000_000 + 2_000_000 * number // 12) for number in range(13)]

    told = looks(*sightings)["budget_day"]
    assert told.severity is Severity.WARNING
    assert "At this pace the day's budget ends at 14:00 UTC." in told.text
    assert told.facts["budget_ends_at"] == "2026-11-21T14:00:00+00:00"


def test_after_midnight_the_pace_of_yesterday_says_nothing() -> None:
    evening = datetime.fromisoformat("2026-11-21T23:55:00+00:00")
    before = remember(replace(spent(9_000_000), at=evening), None)
    seen = replace(spent(100_000, month=9_100_000), at=evening + 10 * MINUTES)

    now = remember(seen, before)
    [day] = [one for one in observations(seen, before, now, BOUNDS) if one.alert == "budget_day"]
    assert day.severity is Severity.FINE
    assert day.facts["budget_ends_at"] is not None  # 100 000 in five minutes is 28.8 dollars a day.


def test_a_budget_of_nothing_is_used_up() -> None:
    config = make_config(budget_microdollars_per_day=0, budget_microdollars_per_month=0)
    assert severities(replace(QUIET, config=config))["budget_day"] is Severity.CRITICAL


@pytest.mark.parametrize(
    ("sighting", "alert"),
    [
        (workers(idle=1), "idle_workers"),
        (workers(initializing=1), "long_start"),
        (workers(running=1), "orphans"),
        (replace(QUIET, health=ProviderHealth(ready=True, workers_running=0, jobs_queued=2)), "orphans"),
    ],
    ids=["idle", "starting", "busy with nothing we know", "queued and nobody waits"],
)
def test_what_lasts_is_told_and_gets_worse(sighting: Sighting, alert: str) -> None:
    """A moment of it is normal: a worker is idle for some seconds after each job."""
    assert severities(sighting, sighting) == {}
    assert severities(*[sighting] * 4) == {alert: Severity.WARNING}
    assert severities(*[sighting] * 9) == {alert: Severity.CRITICAL}
    assert severities(*[sighting] * 9, QUIET) == {}


@pytest.mark.parametrize("sighting", [workers(idle=1), workers(running=1)], ids=["idle", "busy"])
def test_workers_are_nobodys_business_while_jobs_are_held(sighting: Sighting) -> None:
    busy = replace(sighting, spending=Spending(day_microdollars=5, month_microdollars=5, in_flight=1))
    assert severities(*[busy] * 20) == {}


def test_the_reason_of_workers_that_never_end_is_named() -> None:
    """The one setting that makes a serverless endpoint cost like a server."""
    assert "its minimum is 1" in looks(*[workers(idle=1, workers_min=1)] * 4)["idle_workers"].text


def test_an_endpoint_that_may_start_no_worker_is_told_unless_we_stopped_it() -> None:
    """RunPod sets the maximum to 0 after a week's rest; so does the kill ladder."""
    cut = workers(workers_max=0)
    assert severities(cut) == {"no_workers": Severity.CRITICAL}
    assert severities(replace(cut, stopped=True)) == {}


def test_retries_are_counted_between_looks() -> None:
    """The provider counts since the endpoint was made."""
    more = replace(QUIET, health=ProviderHealth(ready=True, workers_running=0, jobs_queued=0, jobs_retried=9))
    assert severities(QUIET, more) == {"retries": Severity.WARNING}
    assert severities(more) == {}


@pytest.mark.parametrize(
    ("balance", "severity"),
    [(10_000_000, None), (9_999_999, Severity.WARNING), (1_000_000, Severity.CRITICAL), (0, Severity.CRITICAL)],
)
def test_a_balance_below_a_days_budget_is_told(balance: int, severity: Severity | None) -> None:
    assert severities(replace(QUIET, balance_microdollars=balance)).get("balance") is severity


@pytest.mark.parametrize(("level", "severity"), [(0, None), (1, WARNING), (2, WARNING), (3, CRITICAL), (6, CRITICAL)])
def test_a_switch_that_went_up_is_told(level: int, severity: Severity | None) -> None:
    """By whomever: a threshold, a command, an edit in the console."""
    assert severities(replace(QUIET, config=make_config(kill_level=level))).get("kill_level") is severity


def test_holds_that_the_sweep_cannot_settle_are_told() -> None:
    assert severities(replace(QUIET, overdue=2)) == {"holds_overdue": Severity.CRITICAL}


def test_a_provider_that_cannot_be_asked_ends_no_alert() -> None:
    """Not knowing is not the same as all being well, so nothing is said of it."""
    deaf = replace(QUIET, capacity=None, health=None, balance_microdollars=None)
    assert set(looks(deaf)) == {"budget_day", "budget_month", "kill_level", "holds_overdue"}
