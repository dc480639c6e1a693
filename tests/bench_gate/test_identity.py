"""The benchmark's sign-in is one that hop 1 really verifies: what is measured must not be a shortcut."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gate.callers.firebase import FirebaseCallerVerifier
from gate.callers.key_set import read_key_set
from gate.errors import UnauthenticatedError
from gate.ports import Credentials
from infra.bench.identity import PROJECT, SignIn, forged


class KeptKeys:
    def __init__(self, document: str) -> None:
        self._keys = read_key_set(document.encode())

    async def key(self, kid: str) -> object:
        return self._keys[kid]


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def test_its_tokens_are_verified_and_forged_ones_refused() -> None:
    sign_in = SignIn.new()
    verifier = FirebaseCallerVerifier(project=PROJECT, keys=KeptKeys(sign_in.key_set()), clock=SystemClock())  # type: ignore[arg-type]  # its key is the one in the document
    token = sign_in.token("alice")

    assert (await verifier.verify(Credentials(bearer=token))).uid == "alice"
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(Credentials(bearer=forged(token)))
