"""What stands before every door: who may come in, and from where."""

from __future__ import annotations

import msgspec

from gate.endpoints.cors import Origins
from gate.log import EventLog
from gate.ports import CallerVerifier


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """What every door needs before it lets anybody in."""

    verifier: CallerVerifier
    """For doors that hold a job: the commit of the hold finds out whether an API token still lives."""
    live_verifier: CallerVerifier
    """For doors that hold none: it finds that out itself."""
    origins: Origins
    log: EventLog
