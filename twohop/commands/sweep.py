"""`twohop sweep`: what the scheduler does every few minutes, now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gate.guard.sweeper import Sweeper
from gate.steps.policy import Policies
from twohop.heard import Heard
from twohop.session import Session
from twohop.show import Column, show, table, warn

if TYPE_CHECKING:
    from gate.parts import Store


@click.command()
@click.pass_obj
def sweep(session: Session) -> None:
    """Settle the holds that nobody finished.

    A hold whose expiry has passed is settled in full, because its job may have run. Sweeping twice does it once.
    """
    heard = Heard()
    swept = session.run(lambda store: _sweeper(store, session, heard).sweep())
    for event in heard.events("policy.malformed"):
        warn(f"{event['reason']}; the last good one stays in force")
    for event in heard.events("policy.not_kept"):
        warn(f"the good plans could not be copied: {event['reason']}")
    if not swept:
        show("nothing to sweep: no hold is past its expiry")
        return
    settled = heard.events("job.swept")
    total = sum(event["settled_microdollars"] for event in settled)
    count = f"{swept} hold" + ("" if swept == 1 else "s")
    made = table(
        Column(name="job", total=count),
        Column(name="caller", may_shrink=True),
        Column(name="settled µ$", number=True, total=f"{total:,}"),
    )
    for event in settled:
        made.add_row(event["job_id"], event["caller"], f"{event['settled_microdollars']:,}")
    show(made)


def _sweeper(store: Store, session: Session, heard: Heard) -> Sweeper:
    policies = Policies(documents=store, notifier=heard.log, clock=session.clock, fresh_seconds=0)
    return Sweeper(ledger=store, policies=policies, clock=session.clock, log=heard.log)
