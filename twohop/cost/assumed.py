"""What the worst case takes for granted, each with a name, a number and a reason. Any of it may stand in the YAML."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Count = Annotated[int, Meta(ge=0, le=10**9)]


class Assumed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who wants you to pay, and what hop 1 does about them. `REASONS` says why each is what it is."""

    requests_per_second: _Count = 300
    accounts_per_hour: _Count = 1_000
    denied_tries_per_hour: _Count = 60
    reads_of_a_request: _Count = 1
    answer_bytes: _Count = 1_000
    log_bytes: _Count = 1_000


REASONS = {
    "requests_per_second": "what one instance refuses in a second; make bench measures more on a fast machine",
    "accounts_per_hour": "accounts to sign in with; Firebase lets one address make 100 anonymous ones an hour",
    "denied_tries_per_hour": "how often an instance asks the ledger again about an account that it refused",
    "reads_of_a_request": "a signed-in caller's policy, or a job of theirs",
    "answer_bytes": "what a refusal sends, headers included",
    "log_bytes": "what Google's request log keeps of a call",
}
