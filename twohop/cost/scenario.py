"""What the owner says about their traffic and settings: the four questions, and everything else with a default."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from gate.domain.plan import STARTER_CONFIG
from twohop.cost.assumed import Assumed
from twohop.errors import BadInputError

Positive = Annotated[float, Meta(gt=0, le=1e9)]
NotNegative = Annotated[float, Meta(ge=0, le=1e9)]
Whole = Annotated[int, Meta(ge=0, le=10**9)]


class Shape(StrEnum):
    """How spiky the traffic is."""

    STEADY = "steady"
    """Calls come by chance, at the same rate day and night (Poisson)."""
    DAILY = "daily"
    """By chance, with a busy afternoon, a quiet night and a quieter weekend."""
    SPIKY = "spiky"
    """The same rhythm, and calls come in clusters: gaps of variation 4."""
    BURSTY = "bursty"
    """The same rhythm, and most calls come in bursts: gaps of variation 13, as in Azure's code-completion trace."""


class Design(StrEnum):
    """How a client gets its answer."""

    HOLD = "hold"
    """The function holds the call until the answer is there."""
    POLL = "poll"
    """The client asks a function every few seconds."""
    WEBHOOK = "webhook"
    """The provider calls a function at the end, and the client listens to its job's document."""
    DIRECT = "direct"
    """FastAPI on the GPU's own machine: no hop 1, so nobody signs in, and nothing is held or counted."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One month of one gate. Times in seconds."""

    calls_per_month: Annotated[int, Meta(ge=1, le=100_000_000)]
    compute_seconds: Positive
    """Mean GPU time of a call."""
    cold_start_seconds: NotNegative = 15
    """Starting the container and loading the model."""
    shape: Shape = Shape.DAILY
    gap_cv: Annotated[float, Meta(ge=0, le=50)] | None = None
    """Variation of the gaps between calls, when you know it; else as the shape has it. 1 is chance."""
    compute_cv: Annotated[float, Meta(ge=0, le=20)] = 0.5
    """Variation of the compute time; 0 if every call takes as long."""
    trace: str | None = None
    """A CSV file of arrivals to replay: a column of times, and one of seconds if there is one; or azure-code or
    azure-conv, an hour of Azure's own each."""
    hardware: str = "runpod/AMPERE_16"
    design: Design = Design.HOLD
    pull_seconds: NotNegative = 0
    """Time before the container starts: finding a machine, downloading the image."""
    idle_seconds: NotNegative = 5
    workers_max: Annotated[int, Meta(ge=1, le=1000)] = 3
    workers_min: Annotated[int, Meta(ge=0, le=1000)] = 0
    jobs_at_once: Annotated[int, Meta(ge=1, le=64)] = 1
    """How many jobs one worker computes together."""
    wait_seconds_max: Positive = 120
    """A call that would wait longer for a worker is given up."""
    denied_per_call: NotNegative = 0
    """Calls that a limit refuses in the ledger, for each one that runs."""
    gate_vcpus: Positive = 1
    gate_gib: Positive = 0.5
    gate_concurrency: Annotated[int, Meta(ge=1, le=1000)] = 200
    """How many calls share an instance of hop 1."""
    gate_seconds: Positive = 0.2
    """Hop 1's own time in a call."""
    budget_shards: Annotated[int, Meta(ge=1, le=64)] = STARTER_CONFIG.budget_shards
    """Of `gate/config`: the scheduled functions read each."""
    poll_seconds: Positive = 2
    answer_kib: NotNegative = 20
    job_kib: NotNegative = 2
    """A job's document, with its indexes."""
    log_bytes: Whole = 1000
    """Log lines of a call."""
    secrets: Whole = 3
    disk_gb: Whole = 10
    """Container disk of a worker, as its endpoint asks for it, where the provider bills it."""
    days: Annotated[int, Meta(ge=1, le=31)] = 30
    seed: Whole = 1
    worst: Assumed = Assumed()
    """What `--worst` takes for granted."""

    @property
    def seconds(self) -> float:
        """The length of the month."""
        return self.days * 86_400.0

    @property
    def calls_per_second(self) -> float:
        """The mean rate."""
        return self.calls_per_month / self.seconds

    @property
    def cv(self) -> float:
        """The variation of the gaps."""
        if self.gap_cv is not None:
            return self.gap_cv
        return {Shape.SPIKY: 4.0, Shape.BURSTY: 13.0}.get(self.shape, 1.0)


def read_scenario(path: Path, *, deployed: Mapping[str, object], **given: object) -> Scenario:
    """Return the scenario of a YAML file, with what was typed in place of what it says.

    Args:
        path: the file.
        deployed: stands where neither says anything.
        given: what was typed.

    Raises:
        BadInputError: it is malformed; the reason names the field.
    """
    try:
        fields = msgspec.yaml.decode(path.read_bytes())
    except OSError as exc:
        raise BadInputError(f"{path} cannot be read: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        reason = " ".join(str(exc).replace('in "<byte string>", ', "at ").split())
        raise BadInputError(f"{path} is no YAML: {reason}; write lines like calls_per_month: 100000") from exc
    if not isinstance(fields, dict):
        raise BadInputError(f"{path} holds no fields; write a line like calls_per_month: 100000")
    return scenario_of({**deployed, **fields, **given}, name=str(path))


def scenario_of(fields: dict[str, object], *, name: str = "the scenario") -> Scenario:
    """Return a scenario of its fields.

    Raises:
        BadInputError: as above.
    """
    for field, choices in (("shape", Shape), ("design", Design)):
        if field in fields and fields[field] not in list(choices):
            raise BadInputError(f"{name}: {field}={fields[field]!r} is not one of: {', '.join(choices)}")
    try:
        return msgspec.convert(fields, Scenario, strict=False)
    except msgspec.ValidationError as exc:
        unknown = fields.keys() - set(Scenario.__struct_fields__)
        known = f"; fields: {', '.join(Scenario.__struct_fields__)}" if unknown else ""
        raise BadInputError(f"{name} is malformed: {exc}{known}") from exc
