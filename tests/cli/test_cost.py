"""`twohop cost`, as its owner types it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import re
import sys
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gate.domain.job import JobState, Settlement
from gate.money import Spent, gpu_price
from gate.settings import LedgerKind
from gate.steps import history
from tests.api.world import listening
from tests.cli.conftest import Operator
from tests.emulators import firestore_emulator, fresh_project
from tests.makers import NOON, FakeClock, make_job
from twohop.cli import cli
from twohop.cloud.app import CONTROL_KEY, ENDPOINT_ID, make_cloud_app
from twohop.cloud.cloud import Cloud, Endpoint, Work
from twohop.cloud.worker import LoopTimers
from twohop.cost.book import book_of
from twohop.cost.compare import hardware_names
from twohop.cost.forecast import forecast
from twohop.cost.scenario import Scenario
from twohop.cost.shocks import SHOCKS
from twohop.cost.what_if import shocked

BOOK = book_of("runpod/ADA_24", on=date(2026, 11, 25))
SMALL = "--calls 2000 --seconds 1.5"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with no ledger and no settings in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("LEDGER", "GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT", "SQLITE_PATH", "HARDWARE", "RUNPOD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def types(line: str, *, answers: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["cost", *line.split()], obj=FakeClock(), input=answers, env={"COLUMNS": "80"})


def reads(line: str) -> Any:
    result = types(f"{line} --json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_nothing_typed_asks_four_questions(folder: Path) -> None:
    """In plain words, each with a default."""
    result = types("", answers="5000\n2\n20\nspiky\n")

    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("?") == 4
    assert "5,000 calls on runpod/AMPERE_16" in result.stdout


def test_what_was_answered_is_told_as_lines_of_the_file(folder: Path) -> None:
    """Copied into it, they are the same scenario, and nothing is asked."""
    asked = types("", answers="5000\n2\n20\nspiky\n")
    lines = re.findall(r"^    (\w+: \S+)$", asked.stderr, re.MULTILINE)
    (folder / "twohop-cost.yaml").write_text("\n".join(lines))

    assert types("").stdout == asked.stdout


def test_the_bill_fits_80_columns_and_names_every_line(folder: Path) -> None:
    """With its rate, what was free, when the price was read and where."""
    result = types(SMALL)

    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for words in (
        "GPU idle tails",
        "Firestore writes",
        "TTL",
        "per 1000 calls",
        "a call: 2 invocations; in Firestore 6 writes",
    ):
        assert words in result.stdout
    assert "2026-08-19  cloud.google.com/firestore/pricing" in result.stdout
    assert "Platform fee" in result.stderr


def test_json_csv_and_the_table_say_the_same(folder: Path) -> None:
    """One forecast, three forms; the sum is the lines'."""
    found = reads(SMALL)
    rows = list(csv.DictReader(io.StringIO(types(f"{SMALL} --csv").stdout)))

    assert sum(line["microdollars"] for line in found["lines"]) == found["microdollars"]
    assert [int(row["microdollars"]) for row in rows] == [line["microdollars"] for line in found["lines"]]
    assert f"${found['microdollars'] / 1e6:,.2f}" in types(SMALL).stdout


@pytest.mark.parametrize(
    ("mode", "rows", "column"),
    [
        ("--compare", 200, "wait_p95_seconds"),
        ("--what-if", 20, "microdollars_x_10"),
        ("--worst", 10, "microdollars_per_day"),
        ("--quick", 10, "source"),
    ],
)
def test_every_mode_has_a_table_for_machines(folder: Path, mode: str, rows: int, column: str) -> None:
    """A row a way, a swing, a bound or a line."""
    found = list(csv.DictReader(io.StringIO(types(f"{SMALL} {mode} --csv").stdout)))

    assert len(found) >= rows
    assert all(row[column] for row in found)


def test_what_is_deployed_is_what_is_forecast(folder: Path) -> None:
    """The worker's hardware and timeout stand in functions/.env already; what is typed wins."""
    (folder / "functions").mkdir()
    (folder / "functions" / ".env").write_text("HARDWARE=runpod/ADA_24\nIDLE_SECONDS=7\n")

    assert "on runpod/ADA_24" in types(SMALL).stdout
    assert reads(SMALL)["scenario"]["idle_seconds"] == 7
    assert "on runpod/AMPERE_24" in types(f"{SMALL} --hardware runpod/AMPERE_24").stdout


def test_a_file_is_read_and_what_is_typed_wins(folder: Path) -> None:
    """So a repository keeps its scenario."""
    (folder / "twohop-cost.yaml").write_text("calls_per_month: 700\ncompute_seconds: 2\nshape: steady\n")

    assert reads("")["scenario"]["calls_per_month"] == 700
    assert reads("--calls 900 --set gate_gib=1")["scenario"]["calls_per_month"] == 900


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--calls 10 --seconds 1 --shape wild", "shape='wild' is not one of: steady, daily, spiky, bursty"),
        ("--calls 10 --seconds 1 --set colour=red", "colour"),
        ("--calls 10 --seconds 1 --set colour", "FIELD=VALUE"),
        ("--calls 0 --seconds 1", "calls_per_month"),
        ("--calls 10 --seconds 1 --explain nothing", "lines: gpu_useful"),
        ("--file nowhere.yaml", "nowhere.yaml cannot be read: No such file"),
        ("--file broken.yaml", "broken.yaml is no YAML"),
        ("--calls 10 --seconds 1 --trace nowhere.csv", "nowhere.csv"),
        ("--calls 10 --seconds 1 --fail-above abc", "--fail-above"),
        ("--calls 10 --seconds 1 --fail-above -1", "--fail-above"),
        ("--calls 10 --seconds 1 --wait -3", "--wait"),
        ("--calls 10 --seconds 1 --wait nan", "--wait"),
        ("--calls 10 --seconds 1 --html nowhere/report.html", "cannot be written to nowhere/report.html"),
        ("--calls 10 --seconds 1 --compare --worst", "--worst and --compare"),
        ("--calls 10 --seconds 1 --json --csv", "--json and --csv"),
        ("--calls 10 --seconds 1 --quick --html report.html", "--quick cannot be had with --html"),
        ("--calls 10 --seconds 1 --compare --explain requests", "--compare cannot be had with --explain"),
        ("", "nobody answers"),
    ],
)
def test_bad_input_names_what_is_wrong(folder: Path, line: str, words: str) -> None:
    """One line, and exit 2."""
    (folder / "broken.yaml").write_text("calls_per_month: [1\n")

    result = types(line)

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2


def test_hardware_without_a_price_says_what_to_add(folder: Path) -> None:
    """Nothing is guessed."""
    result = types(f"{SMALL} --hardware runpod/H900")

    assert result.exit_code == 1
    assert "gate/prices/runpod.json" in result.stderr


def test_a_line_is_explained_by_its_arithmetic(folder: Path) -> None:
    """Quantity, free amount, rate, date and source."""
    text = " ".join(types("--calls 1000000 --seconds 0.1 --explain firestore_writes").stdout.split())

    assert re.search(r"6,010,080 write - [\d,]+ free = [\d,]+; x \$0\.0000009 a write = \$", text)
    assert "2026-08-19: cloud.google.com/firestore/pricing" in text


def test_a_bill_above_the_limit_fails(folder: Path) -> None:
    """For CI."""
    assert types(f"{SMALL} --fail-above 0.01").exit_code == 1
    assert types(f"{SMALL} --fail-above 100000").exit_code == 0


def test_every_way_is_compared(folder: Path) -> None:
    """Every provider and GPU with a price, serverless, kept on or a machine, in every design that fits it."""
    found = reads(f"{SMALL} --compare --wait 20")

    ways = {(one["hardware"], one["kind"], one["always_on"], one["design"]) for one in found["options"]}
    assert {hardware for hardware, *_ in ways} == set(hardware_names())
    for design in ("hold", "poll", "webhook"):
        assert ("runpod/ADA_24", "serverless", False, design) in ways
        assert ("runpod/ADA_24", "serverless", True, design) in ways
        assert any(one[0] == "gce/L4" and one[1] == "machine" and one[3] == design for one in ways)
    # FastAPI on the GPU itself is only compared where the GPU is always there.
    assert ("runpod/ADA_24", "serverless", True, "direct") in ways
    assert ("runpod/ADA_24", "serverless", False, "direct") not in ways


def test_the_frontier_waits_less_for_more_money(folder: Path) -> None:
    """Each of its ways costs more than the one before, and makes callers wait less."""
    found = reads(f"{SMALL} --compare")["frontier"]

    costs, waits = ([one[name] for one in found] for name in ("microdollars", "wait_mean_seconds"))
    assert len(found) > 2
    assert costs == sorted(costs)
    assert waits == sorted(waits, reverse=True)


def test_the_comparison_fits_80_columns(folder: Path) -> None:
    """The best few, and all of them when asked."""
    few, everything = types(f"{SMALL} --compare"), types(f"{SMALL} --compare --all")

    assert len(few.stdout.splitlines()) < 65 < 200 < len(everything.stdout.splitlines())
    for shown in (few, everything):
        assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    for words in ("from calls a month", "FastAPI on the GPU itself", "VM", "always on", "webhook"):
        assert words in few.stdout


def test_a_quick_answer_is_near_the_simulated_one(folder: Path) -> None:
    """By formula, in the same table; exact for one worker and calls by chance."""
    seldom = "--calls 3000 --seconds 1.5 --shape steady --workers 1"
    quick, simulated = reads(f"{seldom} --quick"), reads(seldom)

    assert quick["microdollars"] == pytest.approx(simulated["microdollars"], rel=0.03)
    assert [line["line"] for line in quick["lines"]] == [line["line"] for line in simulated["lines"]]
    assert "by formula" in types(f"{seldom} --quick").stdout
    assert "leave --quick out" in types(f"{seldom} --quick --shape bursty").stderr


def test_a_trace_has_no_formula(folder: Path) -> None:
    """So the quick answer is refused, not made up."""
    result = types(f"{SMALL} --quick --trace azure-code")

    assert result.exit_code == 2
    assert "leave --quick out" in result.stderr


def test_what_if_multiplies_every_price_and_names_what_happened(folder: Path) -> None:
    """With dates and sources, and what leaving takes."""
    found, shown = reads(f"{SMALL} --what-if"), types(f"{SMALL} --what-if")

    gpu = next(swing for swing in found["swings"] if swing["name"] == "gpu")
    assert gpu["microdollars"]["0.5"] < found["base_microdollars"] < gpu["microdollars"]["2"]
    assert sum(found["exposure"].values()) == found["base_microdollars"]
    assert "2026-05-13" in shown.stdout
    assert "https://github.com/runpod/docs/commit/d1accc4b" in "".join(shown.stdout.split())
    assert [(shock["name"], shock["source"]["on"]) for shock in found["shocks"]] == [
        (shock.name, f"{shock.source.on}") for shock in SHOCKS
    ]
    assert found["leaving"].keys() == found["exposure"].keys()
    assert "leaving" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80


def test_the_worst_case_names_its_limit_and_its_remedy(folder: Path) -> None:
    """From what is configured; the starter's budget where there is no ledger yet."""
    found, shown = reads("--worst"), types("--worst")

    assert "the most that you can lose is" in shown.stdout
    assert "what lowers it most" in " ".join(shown.stdout.split())
    assert found["gpu_bounds"][0]["microdollars_per_day"] == 5_000_000
    assert types("--worst --fail-above 1").exit_code == 1
    assert types("--worst --fail-above 1000000").exit_code == 0


def test_the_worst_case_is_that_of_the_ledgers_own_budget_and_plans(folder: Path) -> None:
    """An edit of either is in it at once."""
    (folder / ".twohop").mkdir()
    operator = Operator("--ledger", "sqlite", "--sqlite-path", ".twohop/ledger.sqlite3", kind=LedgerKind.SQLITE)
    operator.types("init")
    operator.types("budget set day=2")
    assert operator.reads("cost --worst")["binding"] == "the day's budget"
    for plan in ("free", "anonymous"):
        operator.types(f"plan set {plan} microdollars_per_day=100")

    found = operator.reads("cost --worst")

    by_name = {bound["name"]: bound for bound in found["gpu_bounds"]}
    assert by_name["the day's budget"]["microdollars_per_day"] == 2_000_000
    assert by_name["the callers' plans"]["microdollars_per_hour"] == 1_000 * 100


async def test_the_worst_case_asks_the_provider_for_its_max_workers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of RunPod's management API, with the key that may read it; one that it does not know is a hint, not an end."""
    price = gpu_price("runpod/ADA_24", on=date(2026, 11, 25))
    cloud = Cloud(
        timers=LoopTimers(),
        prices=[(0.0, price)],
        work=lambda _: Work(execution_ms=1),
        endpoint=Endpoint(workers_max=7),
    )
    async with listening(make_cloud_app(cloud, epoch=NOON)) as url:
        settings = {"RUNPOD_ENDPOINT_ID": ENDPOINT_ID, "RUNPOD_CONTROL_URL": url, "RUNPOD_CONTROL_KEY": CONTROL_KEY}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        asked = await asyncio.to_thread(types, "--worst --hardware runpod/ADA_24")
        read = await asyncio.to_thread(reads, "--worst --hardware runpod/ADA_24")
        monkeypatch.setenv("RUNPOD_CONTROL_KEY", "rpa_UNKNOWN")
        refused = await asyncio.to_thread(types, "--worst --hardware runpod/ADA_24")

    by_name = {bound["name"]: bound for bound in read["gpu_bounds"]}
    # 7 x $1.116
    assert by_name["the workers"]["microdollars_per_hour"] == 7_812_000
    # An hour of seven workers is less than the starter's $5 a day; 72 minutes of them are more than 24 h are less.
    assert read["without_jobs"]["microdollars_per_day"] == 7_812_000 * 72 // 60
    assert "max workers: 7, as the provider says now" in asked.stderr
    assert "7 of runpod/ADA_24 at $1.1160 an hour" in " ".join(asked.stdout.split())
    assert "the provider does not say its max workers: runpod: HTTP 401" in refused.stderr
    assert "max workers: 5, a new account's at runpod" in refused.stderr
    assert "rpa_" not in refused.stderr + asked.stderr + asked.stdout


def test_what_the_worst_case_takes_for_granted_is_shown_and_can_be_changed(folder: Path) -> None:
    """Named, with a reason, and overridden in the file."""
    shown = types("--worst --explain assumptions")
    assert "denied_tries_per_hour" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    (folder / "twohop-cost.yaml").write_text("calls_per_month: 1\ncompute_seconds: 1\nworst:\n  answer_bytes: 0\n")

    refused = {one["name"]: one["microdollars_per_hour"] for one in reads("--worst")["refused"]}
    with (folder / "twohop-cost.yaml").open("a") as file:
        file.write("hardware: runpod/ADA_24\n")
    assert "of runpod/ADA_24" in types("--worst").stdout
    assert "2 of runpod/ADA_24" in types("--worst --set workers_max=2").stdout
    assert refused["egress"] == 0
    assert refused["logs"] > 0
    assert "0 bytes each = $0.000000 an hour" in " ".join(types("--worst --explain egress").stdout.split())
    assert "there is no limit" in types("--worst --explain nothing").stderr


def test_the_report_needs_no_network_and_has_four_charts(folder: Path) -> None:
    """One file, that a browser opens from a disk."""
    result = types(f"{SMALL} --html report.html")

    page = (folder / "report.html").read_text("utf-8")
    assert result.exit_code == 0, result.stderr
    assert page.count("<svg") == 4
    assert not re.search(r"(src|href)=[\"']https?://", page)
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "{{" not in page
    for words in ("x 10", "What happened to others", "what leaving takes", "https://github.com/runpod/docs/commit/"):
        assert words in page


def test_a_trace_is_replayed(folder: Path) -> None:
    """Times as seconds or as ISO 8601, seven decimals included."""
    rows = [f"2023-11-16 18:17:{second:02d}.9799600,2" for second in range(0, 60, 10)]
    (folder / "trace.csv").write_text("TIMESTAMP,seconds\n" + "\n".join(rows) + "\n")

    found = reads("--calls 1 --seconds 1 --trace trace.csv --set days=1")

    assert found["calls"] == 86_400 // 10


def test_the_ledger_is_set_beside_the_forecast(folder: Path) -> None:
    """And its own arrivals say which settings were best."""
    operator = Operator("--ledger", "sqlite", "--sqlite-path", ".twohop/ledger.sqlite3", kind=LedgerKind.SQLITE)
    (folder / ".twohop").mkdir()
    for number in reversed(range(20)):
        held_at = operator.clock.now() - timedelta(minutes=number + 1)
        job = make_job(held_at=held_at)
        spent = Spent(execution_ms=2_000, start_ms=10_000, idle_ms=5_000)
        operator.holds(job, Settlement(state=JobState.SETTLED, microdollars=3_000, gpu_ms=12_000, spent=spent))

    shown = operator.types("cost --actual day")
    found = operator.reads("cost --actual day")

    assert "20 jobs in 1.0 days settled $0.06" in shown.stdout
    assert (found["useful_seconds"], found["start_seconds"], found["cold_jobs"]) == (40, 200, 20)
    assert found["recommended"]["workers_max"] >= 1


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("firestore", marks=pytest.mark.emulator)])
def test_all_jobs_of_the_span_are_read_page_by_page(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A month may have more than one answer of the ledger holds."""
    monkeypatch.setattr(history, "_PAGE", 3)
    if kind == "firestore":
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator())
        project = fresh_project()
        operator = Operator("--project", project, kind=LedgerKind.FIRESTORE, project=project)
    else:
        (folder / ".twohop").mkdir()
        operator = Operator("--ledger", "sqlite", "--sqlite-path", ".twohop/ledger.sqlite3", kind=LedgerKind.SQLITE)
    for number in range(11):
        job = make_job(held_at=operator.clock.now() - timedelta(minutes=1 + number // 2))
        spent = Spent(execution_ms=2_000, start_ms=10_000, idle_ms=5_000)
        operator.holds(job, Settlement(state=JobState.SETTLED, microdollars=3_000, gpu_ms=12_000, spent=spent))

    found = operator.reads("cost --actual month")

    assert (found["jobs"], found["settled_microdollars"]) == (11, 33_000)
    assert found["recommended"] is not None


@pytest.mark.parametrize("design", ["hold", "poll", "webhook", "direct"])
def test_every_line_can_be_explained(folder: Path, design: str) -> None:
    """What the quantity is made of, and times the rate it is what the bill says; with the date and the source."""
    scenario = f"{SMALL} --design {design} --set disk_gb=5"
    for line in reads(scenario)["lines"]:
        text = " ".join(types(f"{scenario} --explain {line['line']}").stdout.split())

        assert f"= ${line['microdollars'] / 1e6:,.6f}, rounded up" in text
        assert "the quantity is" in text
        assert f"price read on {line['as_of']}: {line['source']}" in text


def test_what_happened_to_others_has_its_date_and_source(folder: Path) -> None:
    """A start that becomes billed is simulated again; what is not on this bill is said to be none of it."""
    base = forecast(Scenario(calls_per_month=500, compute_seconds=1, pull_seconds=30), BOOK)
    by_name = {shock.name.split()[0]: shock for shock in SHOCKS}

    assert all(shock.source.name and shock.source.on.year >= shock.on.year >= 2024 for shock in SHOCKS)
    assert all(shock.source.link.startswith("https://") for shock in SHOCKS if shock.source.confidence == "primary")
    dearer = shocked(base, by_name["AWS"])
    assert dearer is not None
    assert dearer > base.microdollars
    assert shocked(base, by_name["Hetzner"]) is None
    machine = forecast(base.scenario, book_of("gce/L4", on=date(2026, 11, 25)))
    assert (shocked(machine, by_name["Hetzner"]) or 0) > machine.microdollars


def test_on_a_terminal_four_questions_are_asked_and_a_bar_shows_the_simulation(folder: Path) -> None:
    """As somebody types it, on 80 columns; the bar is on the terminal and in no output."""
    shown = on_a_terminal("import twohop.cli; twohop.cli.main()", "cost", answers="5000\n2\n20\nsteady\n")

    assert shown.count("? [") == 4
    assert "5,000 calls on runpod/AMPERE_16" in shown
    assert "0:00:0" in shown


def on_a_terminal(code: str, *arguments: str, answers: str) -> str:
    """Return all that a program writes to a terminal on which somebody types."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["COLUMNS"], os.environ["TERM"] = "80", "xterm"
        os.execv(sys.executable, [sys.executable, "-c", code, *arguments])
    os.write(terminal, answers.encode())
    written = b""
    with suppress(OSError):  # Linux says that a terminal has ended by an error
        while read := os.read(terminal, 65_536):
            written += read
    os.waitpid(pid, 0)
    return written.decode()
