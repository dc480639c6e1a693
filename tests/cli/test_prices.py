"""`twohop prices`, against a local server that speaks RunPod's documented catalogue."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gate import prices
from tests.makers import FakeClock
from twohop.cli import cli

TODAY = FakeClock().now().date()


def _gpu(name: str, pool: str | None, serverless: float | None) -> dict[str, Any]:
    """A GPU as the OpenAPI document's example has it."""
    price = {"secure": 0.44, "community": 0.31} | ({} if serverless is None else {"serverless": serverless})
    return {
        "id": f"NVIDIA {name}",
        "name": name,
        "pool": pool,
        "manufacturer": "NVIDIA",
        "memory": 24,
        "secure": True,
        "community": True,
        "price": price,
        "maxCount": {"secure": 8, "community": 4},
    }


class Catalogue:
    """What the local server answers, and what it was asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.gpus: list[dict[str, Any]] = []
        self.key = ""
        """The key that it wants; empty for none."""
        self.body: bytes | None = None


@pytest.fixture
def catalogue() -> Iterator[Catalogue]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = not known.key or self.headers.get("Authorization") == f"Bearer {known.key}"
            self.send_response((200 if self.path == "/v2/catalog/gpus" else 404) if allowed else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"gpus": known.gpus}).encode() if known.body is None else known.body)

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    known = Catalogue(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a refresh writes in a test."""
    monkeypatch.setattr(prices, "PRICES", tmp_path)
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    return tmp_path


def types(line: str, *, answer: str | None = None, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(
        cli, ["prices", *line.split()], obj=FakeClock(), input=answer, env={"COLUMNS": "80", **(env or {})}
    )


def _written(folder: Path) -> prices.PriceTable:
    return prices.parse((folder / "runpod.json").read_bytes(), name="runpod.json")


def test_a_refresh_shows_the_difference_and_writes_a_new_dated_entry(catalogue: Catalogue, folder: Path) -> None:
    """Nothing old is overwritten, and a price that stayed is only younger."""
    catalogue.gpus = [
        _gpu("RTX 4090", "ADA_24", 1.24),
        _gpu("L4", "AMPERE_24", 0.684),
        _gpu("GTX 1080", None, None),
        _gpu("RTX 5090", "BLACKWELL_32", 1.5),
    ]

    result = types(f"refresh --address {catalogue.address}", answer="y\n")

    assert result.exit_code == 0, result.stderr
    assert "1.1160" in result.stdout
    assert "+11.1%" in result.stdout
    assert "not listed any more" in result.stdout
    known = _written(folder)
    old, new = prices.load("runpod").skus["ADA_24"].history, known.skus["ADA_24"].history
    assert new[:-1] == old
    assert (new[-1].effective, new[-1].as_of, new[-1].nanodollars_per_hour) == (TODAY, TODAY, 1_240_000_000)
    assert [rate.as_of for rate in known.skus["AMPERE_24"].history] == [date(2026, 4, 22), TODAY]
    assert known.skus["BLACKWELL_32"].history[-1].nanodollars_per_hour == 1_500_000_000
    assert known.skus["AMPERE_80"] == prices.load("runpod").skus["AMPERE_80"]


def test_nothing_is_written_without_a_yes(catalogue: Catalogue, folder: Path) -> None:
    """The difference is shown first."""
    catalogue.gpus = [_gpu("RTX 4090", "ADA_24", 9.99)]

    result = types(f"refresh --address {catalogue.address}", answer="n\n")

    assert "9.9900" in result.stdout
    assert not (folder / "runpod.json").exists()


def test_a_pool_whose_gpus_differ_costs_what_its_dearest_costs(catalogue: Catalogue, folder: Path) -> None:
    """A hold has to be a ceiling, whichever GPU the job gets."""
    catalogue.gpus = [_gpu("L4", "AMPERE_24", 0.7), _gpu("3090", "AMPERE_24", 0.8), _gpu("A5000", "AMPERE_24", 0.6)]

    types(f"refresh --yes --address {catalogue.address}")

    assert _written(folder).skus["AMPERE_24"].history[-1].nanodollars_per_hour == 800_000_000


def test_a_key_is_asked_for_by_name_and_never_shown(catalogue: Catalogue, folder: Path) -> None:
    """It comes from the environment."""
    catalogue.key, catalogue.gpus = "rpa_secret", [_gpu("RTX 4090", "ADA_24", 1.2)]

    refused = types(f"refresh --yes --address {catalogue.address}")
    taken = types(f"refresh --yes --address {catalogue.address}", env={"RUNPOD_API_KEY": "rpa_secret"})

    assert refused.exit_code == 2
    assert "set RUNPOD_API_KEY" in refused.stderr
    assert taken.exit_code == 0
    assert "rpa_secret" not in taken.output


@pytest.mark.parametrize(
    "body", [b"<html>", b'{"gpus": [{}]}', b'{"gpus": []}'], ids=["html", "no-fields", "no-gpus"]
)
def test_an_answer_that_is_no_catalogue_writes_nothing(catalogue: Catalogue, folder: Path, body: bytes) -> None:
    """A provider's bad day must not empty the table."""
    catalogue.body = body

    result = types(f"refresh --yes --address {catalogue.address}")

    assert result.exit_code == 2
    assert not (folder / "runpod.json").exists()


def test_a_server_that_is_not_there_is_said_in_a_line(folder: Path) -> None:
    """No traceback for a network that is down."""
    result = types("refresh --yes --address http://127.0.0.1:9")

    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr
    assert "\n" not in result.stderr.strip()


def test_old_prices_are_warned_of_and_fail_where_asked() -> None:
    """For CI there is an exit code."""
    warned, failed, young = types("check"), types("check --fail"), types("check --max-age 100000 --fail")

    assert (warned.exit_code, failed.exit_code, young.exit_code) == (0, 1, 0)
    assert "gce/L4" in warned.stdout
    assert "look again: https://" in warned.stderr


def test_every_price_is_listed_within_80_columns() -> None:
    """With its date and how it is known."""
    result = types("list")

    assert "runpod/ADA_24" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert len(json.loads(types("list --json").stdout)) == len(result.stdout.splitlines()) - 2


@pytest.mark.parametrize(
    ("name", "shown"),
    [("runpod", "Platform fee"), ("modal/H100", "$4.1714 an hour"), ("google/requests", "$0.0000004")],
)
def test_one_price_is_shown_with_its_source(name: str, shown: str) -> None:
    """Whoever reads it can check it."""
    assert shown in types(f"show {name}").output


@pytest.mark.parametrize(("name", "remedy"), [("nobody", "known: beam"), ("runpod/X", "known: AMPERE_16")])
def test_an_unknown_name_is_answered_with_the_known_ones(name: str, remedy: str) -> None:
    """A mistyped name is one line."""
    result = types(f"show {name}")

    assert result.exit_code == 2
    assert remedy in result.stderr
