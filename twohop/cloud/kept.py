"""The bill in a file, so that a cloud that is switched off and on again goes on with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from twohop.cloud.bill import Life, ms_since
from twohop.cloud.cloud import Cloud


def keep_bill(cloud: Cloud, path: Path, *, epoch: datetime) -> None:
    """Write every worker's life. One that goes on is written as if it ended now."""
    now_ms = cloud.timers.now_ms()
    lives = [{**asdict(life), "ended_ms": life.end_by(now_ms)} for life in cloud.bill.lives]
    written = path.with_suffix(".new")
    written.write_text(json.dumps({"epoch": epoch.isoformat(), "lives": lives}), "utf-8")
    written.replace(path)


def take_up_bill(cloud: Cloud, path: Path, *, epoch: datetime) -> None:
    """Add the lives of an earlier cloud, if there was one; they lie before this one's beginning."""
    if not path.exists():
        return
    kept = json.loads(path.read_text("utf-8"))
    later_ms = ms_since(datetime.fromisoformat(kept["epoch"]), epoch)
    cloud.bill.lives[:0] = [_moved(Life(**fields), later_ms) for fields in kept["lives"]]


def _moved(life: Life, by_ms: float) -> Life:
    assert life.ended_ms is not None, "a kept life has ended"
    return Life(
        pulled_ms=life.pulled_ms - by_ms,
        booted_ms=life.booted_ms - by_ms,
        ready_ms=life.ready_ms - by_ms,
        ended_ms=life.ended_ms - by_ms,
        jobs=life.jobs,
        busy=[(begin - by_ms, end - by_ms) for begin, end in life.busy],
    )
