"""What a caller may do: plans, personal overrides, and the gate's own configuration.

These are the documents that the owner edits in the Firebase console, so they are read strictly: an unknown field, a
missing one or a wrong type makes the whole document invalid, and the last good one stays in force (`steps.policy`).
There is no default for a limit: a plan that does not say it, is no plan.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gate.errors import PolicyError

_Document = TypeVar("_Document", bound=msgspec.Struct)

TOKEN_SECONDS_MOST = 10 * 366 * 86_400
"""No plan lets an API token live longer."""
Positive = Annotated[int, Meta(ge=1, le=10**12)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Percent = Annotated[int, Meta(ge=1, le=100)]
KillStep = Annotated[str, Meta(pattern=r"^[1-6]$")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.\-]{0,63}$")]


class Cohort(StrEnum):
    """Kinds of callers that may get different plans without anybody naming them one by one."""

    ANONYMOUS = "anonymous"
    NEW = "new"
    """Signed in, and first seen less than `GateConfig.new_hours` ago."""
    VERIFIED = "verified"
    TOKEN = "token"  # noqa: S105 - a word, no password
    """Calls with an API token."""


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one scope may spend in a period. A period that is not said is not limited by this scope."""

    microdollars_per_hour: Count | None = None
    microdollars_per_day: Count | None = None
    microdollars_per_month: Count | None = None


NO_BUDGET = Budget()


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one plan. Zero means none at all, not unlimited."""

    requests_per_minute: Annotated[int, Meta(ge=1, le=600_000)]
    burst: Annotated[int, Meta(ge=1, le=100_000)]
    """How many requests may come at the same instant, before the rate per minute counts."""
    requests_per_day: Count
    requests_per_month: Count
    concurrency: Count
    """Jobs in flight at once."""
    gpu_seconds_per_day: Count
    microdollars_per_day: Count
    microdollars_per_month: Count
    input_bytes_max: Positive
    input_items_max: Positive
    input_characters_max: Positive
    """Of all items together."""
    models: tuple[str, ...]
    """Names of the models this plan may use. Empty means none."""
    tokens_max: Annotated[int, Meta(ge=0, le=100)]
    """API tokens that a caller may have at once."""
    token_seconds_max: Annotated[int, Meta(ge=0, le=TOKEN_SECONDS_MOST)]
    """The longest lifetime of one."""
    microdollars_per_hour: Count | None = None
    """The one limit that a plan may leave out: without it an hour may take the whole of the day's."""

    @property
    def budget(self) -> Budget:
        """What its caller may spend."""
        return Budget(
            microdollars_per_hour=self.microdollars_per_hour,
            microdollars_per_day=self.microdollars_per_day,
            microdollars_per_month=self.microdollars_per_month,
        )

    @property
    def emission_us(self) -> int:
        """Microseconds between two requests at the plan's rate, rounded up so that the rate is never exceeded."""
        return -(-60_000_000 // self.requests_per_minute)


class UserPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the owner decided about one user; absent means nothing special."""

    plan: Name | None = None
    disabled: bool = False
    overrides: dict[str, Any] = {}
    """Limits that replace the plan's for this user, by the plan's field names."""


class AlertThresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which share of a budget on the owner is told."""

    warn_percent: Annotated[int, Meta(ge=1, le=100)] = 80
    critical_percent: Annotated[int, Meta(ge=1, le=100)] = 95


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document `gate/config`: what may be spent, and which plan a cohort gets."""

    budget_microdollars_per_day: Count
    budget_microdollars_per_month: Count
    budget_shards: Annotated[int, Meta(ge=1, le=512)]
    """Documents that the spending is counted in; one is good for about one job a second."""
    plans: dict[Cohort, Name]
    """The plan of a caller who has none of their own, by cohort. A cohort that is not here is refused."""
    alerts: AlertThresholds = AlertThresholds()
    cache_seconds: dict[str, Annotated[int, Meta(ge=1, le=2_592_000)]] = {}
    """How long an answer of a model is given again to the caller who got it, by the model's name as callers give it.
    A model that is not here is asked each time."""
    budget_microdollars_per_hour: Count | None = None
    cohort_budgets: dict[Cohort, Budget] = {}
    """What all callers of a cohort may spend together, within the budget above."""
    model_budgets: dict[str, Budget] = {}
    """What all jobs of a model may spend together, by the name that callers give it."""
    kill_level: Annotated[int, Meta(ge=0, le=6)] = 0
    """How much of the service is switched off: see `gate.domain.kill`."""
    kill_at_percent_of_hour: dict[KillStep, Percent] = {}
    """The kill level that is set by itself when so much of the hour's budget is used: {"1": 80, "5": 100}."""
    kill_at_percent_of_day: dict[KillStep, Percent] = {}
    """The same for the day's budget."""
    kill_at_percent_of_overhead: dict[KillStep, Percent] = msgspec.field(default_factory=lambda: {"1": 20})
    """The same for what the provider billed and no job accounts for, as a share of all that the day has cost."""
    count_overhead: bool = True
    """Count what the provider billed and no job accounts for against the day's and the month's budget."""
    paying_plans: tuple[Name, ...] = ()
    """Plans whose callers go on at the kill levels 3 and 4."""
    paying_cohorts: tuple[Cohort, ...] = ()
    """Cohorts who do. Anonymous callers never do."""
    new_hours: Annotated[int, Meta(ge=1, le=8_784)] = 72
    """How long a caller is new, from their first job on."""

    @property
    def tells_newcomers(self) -> bool:
        """Whether anything is another for them: their plan, or what they may spend together."""
        return Cohort.NEW in self.plans or Cohort.NEW in self.cohort_budgets

    def plan_of(self, cohort: Cohort) -> str | None:
        """Return the plan of a cohort; a newcomer for whom none is named has that of everybody who signed in."""
        name = self.plans.get(cohort)
        return self.plans.get(Cohort.VERIFIED) if name is None and cohort is Cohort.NEW else name

    @property
    def budget(self) -> Budget:
        """What all callers may spend together."""
        return Budget(
            microdollars_per_hour=self.budget_microdollars_per_hour,
            microdollars_per_day=self.budget_microdollars_per_day,
            microdollars_per_month=self.budget_microdollars_per_month,
        )


STARTER_PLANS = {
    "free": Plan(
        requests_per_minute=20,
        burst=5,
        requests_per_day=200,
        requests_per_month=2_000,
        concurrency=2,
        gpu_seconds_per_day=3_600,
        microdollars_per_day=250_000,
        microdollars_per_month=2_500_000,
        input_bytes_max=100_000,
        input_items_max=64,
        input_characters_max=50_000,
        models=("*",),
        tokens_max=10,
        token_seconds_max=366 * 86_400,
    ),
    "anonymous": Plan(
        requests_per_minute=6,
        burst=3,
        requests_per_day=20,
        requests_per_month=200,
        concurrency=1,
        gpu_seconds_per_day=600,
        microdollars_per_day=50_000,
        microdollars_per_month=500_000,
        input_bytes_max=20_000,
        input_items_max=16,
        input_characters_max=10_000,
        models=("*",),
        tokens_max=0,
        token_seconds_max=0,
    ),
}
"""Plans that `twohop init` writes where there are none. The names are free; these two are what a newcomer sees."""

STARTER_CONFIG = GateConfig(
    budget_microdollars_per_day=5_000_000,
    budget_microdollars_per_month=50_000_000,
    budget_shards=1,
    plans={Cohort.ANONYMOUS: "anonymous", Cohort.VERIFIED: "free"},
)


def parse(kind: type[_Document], document: dict[str, Any], path: str) -> _Document:
    """Read a document strictly.

    Raises:
        PolicyError: it is malformed; the reason names the document and the field.
    """
    fields = {name: value for name, value in document.items() if name != "schema_version"}
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as exc:
        raise PolicyError(f"{path} is malformed: {exc}") from exc


def with_overrides(plan: Plan, overrides: dict[str, Any], path: str) -> Plan:
    """Return a plan with one user's own limits in it.

    Raises:
        PolicyError: an override is no field of a plan, or not a value it may have.
    """
    return parse(Plan, {**msgspec.structs.asdict(plan), **overrides}, path) if overrides else plan


def check_overrides(document: msgspec.Struct, path: str) -> None:
    """Check that a user's overrides fit a plan; whichever it is, its fields are the same.

    Raises:
        PolicyError: as `with_overrides`.
    """
    if isinstance(document, UserPolicy):
        with_overrides(STARTER_PLANS["free"], document.overrides, f"{path}.overrides")
