"""Addresses that a provider calls when a job has ended: one a job, which nobody can guess.

RunPod does not sign what it sends. The address is the proof that somebody who was told of this job is calling, and
a nudge is all that it is good for: how the job ended is then asked of the provider itself.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

_CONTEXT = b"twohop/webhook/1\n"
"""Keeps these proofs apart from everything else that is signed with the same secret."""


class Webhooks:
    """Makes the addresses, and knows them again."""

    def __init__(self, *, url: str, secret: bytes) -> None:
        self._url = url
        self._secret = secret

    def address(self, job_id: str) -> str:
        """Return the address that tells of this job's end."""
        return f"{self._url}?job={quote(job_id, safe='')}&proof={self._proof(job_id)}"

    def proves(self, job_id: str, proof: str) -> bool:
        """Return whether the proof is this job's. Takes as long for a wrong one as for the right one."""
        return hmac.compare_digest(self._proof(job_id).encode(), proof.encode("utf-8", "replace"))

    def _proof(self, job_id: str) -> str:
        message = _CONTEXT + job_id.encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, message, hashlib.sha256).hex()
