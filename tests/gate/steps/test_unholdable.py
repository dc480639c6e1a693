"""A limit below one hold refuses everybody for ever and says to come back tomorrow: its owner is told."""

from __future__ import annotations

from typing import Any

import pytest

from gate.domain.plan import Budget, Cohort
from gate.domain.request import InferRequest
from gate.errors import QuotaExceededError
from gate.ports import Caller
from gate.steps import unholdable
from tests.gate.doubles import fill
from tests.gate.world import HELD, World
from tests.makers import make_config, make_documents, make_model, make_plan

CALLER = Caller(uid="alice", cohort=Cohort.VERIFIED)
_PERIODS = ("hour", "day", "month")
_TOKEN_ID = "0" * 32


async def told(world: World, caller: Caller = CALLER, times: int = 3) -> list[tuple[str, int, int]]:
    """Be refused several times, and return what the log says of it."""
    for _ in range(times):
        with pytest.raises(QuotaExceededError):
            await world.gate.infer(caller, InferRequest(inputs="a"))
    return [(line["limit"], line["value"], line["held"]) for line in world.log.lines("limit.below_one_hold")]


@pytest.mark.parametrize("period", [f"microdollars_per_{period}" for period in _PERIODS])
@pytest.mark.parametrize("scope", ["plan", "all", "cohort", "model", "token"])
async def test_each_limit_of_money_is_told_once_by_the_name_it_is_edited_by(
    world: World, scope: str, period: str
) -> None:
    """In every scope that a hold is counted in, and every period."""
    little: dict[str, Any] = {period: HELD - 1}
    plan, config, caller, name = make_plan(), make_config(), CALLER, ""
    match scope:
        case "plan":
            plan, name = make_plan(**little), f"plans/free.{period}"
        case "all":
            config, name = make_config(**{f"budget_{period}": HELD - 1}), f"gate/config.budget_{period}"
        case "cohort":
            config = make_config(cohort_budgets={Cohort.VERIFIED: Budget(**little)})
            name = f"gate/config.cohort_budgets.verified.{period}"
        case "model":
            config = make_config(model_budgets={"all-minilm-l6-v2": Budget(**little)})
            name = f"gate/config.model_budgets.all-minilm-l6-v2.{period}"
        case "token":
            caller = Caller(
                uid="alice", cohort=Cohort.VERIFIED, token_id=_TOKEN_ID, token_budget=Budget(**little), models=("*",)
            )
            await fill(world.ledger, {f"tokens/{_TOKEN_ID}": {"owner": "alice"}})
            name = f"tokens/{_TOKEN_ID}.budget.{period}"
    await fill(world.ledger, make_documents(plan, config))

    assert await told(world, caller) == [(name, HELD - 1, HELD)]


async def test_gpu_seconds_below_one_hold_are_told_of(world: World) -> None:
    held = -(-make_model().worst_case_gpu_ms // 1000)
    await fill(world.ledger, make_documents(make_plan(gpu_seconds_per_day=held - 1)))

    assert await told(world) == [("plans/free.gpu_seconds_per_day", held - 1, held)]


async def test_all_of_them_are_told_at_once(world: World) -> None:
    """Whoever mends one would else learn of the next by the next refusal."""
    plan = make_plan(microdollars_per_day=1, microdollars_per_month=2)
    await fill(world.ledger, make_documents(plan, make_config(budget_microdollars_per_day=3)))

    assert [value for _, value, _ in await told(world)] == [1, 2, 3]


@pytest.mark.parametrize("value", [0, HELD], ids=["nothing", "one hold"])
async def test_a_limit_that_is_meant_so_is_not_told(world: World, value: int) -> None:
    """Zero is how an owner says no; one hold is enough for one job."""
    await fill(world.ledger, make_documents(make_plan(microdollars_per_day=value, requests_per_day=0)))

    assert await told(world) == []


async def test_what_callers_choose_does_not_fill_the_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They choose their tokens' budgets."""
    monkeypatch.setattr(unholdable, "_TOLD_MAX", 2)
    plan = make_plan(microdollars_per_day=1, microdollars_per_month=2)
    await fill(world.ledger, make_documents(plan, make_config(budget_microdollars_per_day=3)))

    assert len(await told(world)) == 2
