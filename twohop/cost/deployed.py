"""What is really configured: the functions of `main.py`, as firebase-tools would be told of them."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gate

_MAIN = Path(gate.__file__).parents[1] / "main.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One deployed function."""

    name: str
    instances_max: int
    memory_gib: float
    concurrency: int
    timeout_seconds: int
    public: bool
    """Anybody may invoke it; others only Google's own scheduler or queue."""
    minutes_between: int | None = None
    """Of a schedule."""


def functions() -> list[Function]:
    """Return the functions that `firebase deploy` would deploy."""
    importlib.import_module("firebase_functions.options")  # main.py declares its endpoints only if this is there
    spec = importlib.util.spec_from_file_location("_twohop_deployed_main", _MAIN)
    assert spec is not None
    assert spec.loader is not None
    main = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(_MAIN.parent))
    try:
        spec.loader.exec_module(main)
    finally:
        sys.path.remove(str(_MAIN.parent))
    declared = {name: getattr(value, "__firebase_endpoint__", None) for name, value in vars(main).items()}
    return [_function(name, endpoint) for name, endpoint in declared.items() if endpoint is not None]


def _function(name: str, endpoint: Any) -> Function:
    return Function(
        name=name,
        instances_max=int(endpoint.maxInstances),
        memory_gib=int(endpoint.availableMemoryMb) / 1024,
        concurrency=_int(endpoint.concurrency, 80),
        timeout_seconds=_int(endpoint.timeoutSeconds, 60),
        public=endpoint.scheduleTrigger is None and endpoint.eventTrigger is None,
        minutes_between=_minutes(endpoint.scheduleTrigger),
    )


def _minutes(trigger: Any) -> int | None:
    """Read `every N minutes`, or a time of each hour as cron has it."""
    if trigger is None:
        return None
    schedule = str(trigger["schedule"])
    if re.fullmatch(r"\d+ \* \* \* \*", schedule):
        return 60
    return int(schedule.removeprefix("every ").removesuffix(" minutes"))


def _int(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
