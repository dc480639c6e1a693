"""`twohop jobs`: the ledger, a line a job."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from gate.domain.job import Job
from twohop.given import json_option, uid_argument
from twohop.session import Session
from twohop.show import hint, jobs_table, short_dollars, show, show_json

_INTERNAL = ("attempt", "payload_digest", "result", "version")
"""Not for `--json`: the ledger's own marks, and the answer, which is the caller's and nobody else's."""


@click.command()
@uid_argument(required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="The newest so many.")
@json_option
@click.pass_obj
def jobs(session: Session, uid: str | None, *, limit: int, as_json: bool) -> None:
    """Show the newest jobs, of one user or of all."""
    found = session.run(lambda store: store.jobs(caller=uid, limit=limit))
    if as_json:
        show_json([_json(job) for job in found])
        return
    if not found:
        hint(f"no jobs of {uid}" if uid else "no jobs yet")
        return
    show(jobs_table(found, now=session.now(), of_one_caller=uid is not None))
    settled = sum(job.settled_microdollars or 0 for job in found)
    hint(f"settled in all: {short_dollars(settled)}")
    if len(found) == limit:
        hint(f"older ones are not shown; see more with --limit {limit * 10}")


def _json(job: Job) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(job)
    return {name: value for name, value in fields.items() if name not in _INTERNAL}
