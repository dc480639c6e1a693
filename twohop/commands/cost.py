"""`twohop cost`: the bill before it comes, what could change it, the most that can be lost, and what really came."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twohop.errors import BadInputError
from twohop.given import json_option
from twohop.given import microdollars as money
from twohop.session import Session
from twohop.show import hint, warn

if TYPE_CHECKING:
    from twohop.cost.scenario import Scenario

_FILE = Path("twohop-cost.yaml")
_QUESTIONS = (
    ("calls_per_month", "How many calls a month do you expect?", 10_000),
    ("compute_seconds", "How many seconds does the GPU compute for one call?", 1.0),
    ("cold_start_seconds", "How many seconds does a worker take to start and load the model?", 15.0),
    ("shape", "How spiky is it: steady, daily, spiky or bursty?", "daily"),
)


@click.command()
@click.option("--file", "file", type=click.Path(path_type=Path), help=f"A YAML file; {_FILE} is read if it is there.")
@click.option("--calls", "calls_per_month", type=int, help="Calls a month.")
@click.option("--seconds", "compute_seconds", type=float, help="Seconds of GPU for a call.")
@click.option("--cold", "cold_start_seconds", type=float, help="Seconds until a new worker computes.")
@click.option("--shape", help="steady, daily, spiky or bursty.")
@click.option("--hardware", help="provider/sku, as `twohop prices` lists them.")
@click.option("--design", help="hold, poll, webhook or direct.")
@click.option("--idle", "idle_seconds", type=float, help="The worker's idle timeout in seconds.")
@click.option("--workers", "workers_max", type=int, help="Max workers.")
@click.option("--trace", help="A CSV file of arrivals to replay.")
@click.option("--set", "also", multiple=True, metavar="FIELD=VALUE", help="Any other field of the file.")
@click.option("--quick", is_flag=True, help="By formula, at once, instead of by simulation.")
@click.option("--compare", is_flag=True, help="Every provider, GPU and design, and the best settings for --wait.")
@click.option("--all", "everything", is_flag=True, help="All that was compared, not the best alone.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(0, 86_400),
    default=20.0,
    show_default=True,
    help="Seconds at most, for 95 %.",
)
@click.option("--what-if", "what_if", is_flag=True, help="Every price and assumption halved, doubled, ten times.")
@click.option("--worst", is_flag=True, help="The most that can be lost with what is configured.")
@click.option("--fail-above", metavar="DOLLARS", help="Exit 1 above this, a day for --worst.")
@click.option("--actual", type=click.Choice(["day", "month"]), help="What the ledger says that it really cost.")
@click.option("--explain", metavar="LINE", help="The arithmetic of one line, or of a limit.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a report with charts.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the bill as CSV.")
@json_option
@click.pass_obj
def cost(session: Session, /, **given: Any) -> None:
    """Forecast the month's bill, line by line.

    Without options four questions are asked. Every number is simulated from a seed, so the same answers give the
    same bill.
    """
    from twohop.cost import modes

    fields = ("calls_per_month", "compute_seconds", "cold_start_seconds", "shape", "hardware", "design")
    typed = {name: given.pop(name) for name in (*fields, "idle_seconds", "workers_max", "trace")}
    typed = {name: value for name, value in typed.items() if value is not None}
    typed |= dict(_pair(text) for text in given.pop("also"))
    file, limit = given.pop("file"), given.pop("fail_above")
    most = None if limit is None else money("--fail-above", limit)
    modes.check(given)
    if given["worst"]:
        planned = _settings(file, typed, ask=False)
        meant = modes.Typed(
            hardware=typed.get("hardware"),
            planned_hardware=planned.hardware,
            workers_max=planned.workers_max if "workers_max" in typed else None,
            assumed=planned.worst,
        )
        microdollars = modes.worst(session, meant, **given)
    elif given["actual"]:
        microdollars = modes.actual(session, _settings(file, typed, ask=False), **given)
    elif given["quick"]:
        microdollars = modes.quick(session, _settings(file, typed, ask=True), **given)
    else:
        microdollars = modes.forecast(session, _settings(file, typed, ask=True), **given)
    if most is not None and microdollars > most:
        warn(f"${microdollars / 1e6:,.2f} is above ${most / 1e6:,.2f}")
        click.get_current_context().exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInputError(f"{text!r} is not FIELD=VALUE")
    return name, value


def _settings(file: Path | None, typed: dict[str, Any], *, ask: bool) -> Scenario:
    """Return what is typed, else what the file says, else what is answered or functions/.env says of the worker."""
    from twohop.cost.scenario import read_scenario, scenario_of

    path = file or (_FILE if _FILE.exists() else None)
    if path:
        return read_scenario(path, deployed=_deployed(), **typed)
    needed = {"compute_seconds"} if typed.get("trace") else {"calls_per_month", "compute_seconds"}
    if ask and not needed <= set(typed):
        typed = {**_asked(typed), **typed}
        hint(f"with these lines in {_FILE} you are asked no more; every field is in docs/cost.md")
        hint("".join(f"    {name}: {value}\n" for name, value in typed.items()))
    return scenario_of({"calls_per_month": 10_000, "compute_seconds": 1.0, **_deployed(), **typed})


def _deployed() -> dict[str, object]:
    """Return what functions/.env says of the worker."""
    from twohop.configured import read_env_file

    env = read_env_file(Path("functions/.env"))
    names = {"HARDWARE": "hardware", "IDLE_SECONDS": "idle_seconds", "PULL_SECONDS": "pull_seconds"}
    return {name: env[key] for key, name in names.items() if env.get(key, "own") != "own"}


def _asked(typed: dict[str, Any]) -> dict[str, Any]:
    try:
        return {
            name: click.prompt(question, default=default, type=type(default), err=True)
            for name, question, default in _QUESTIONS
            if name not in typed
        }
    except click.Abort as exc:
        if sys.stdin.isatty():
            raise
        raise BadInputError(f"nobody answers: give --calls and --seconds, or write {_FILE}") from exc
