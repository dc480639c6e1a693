"""Tokens of the Firebase Auth emulator, which nobody signed: for one machine, never for the cloud."""

from __future__ import annotations

from gate.callers.claims import check_claims, session_of
from gate.callers.firebase import ISSUER
from gate.callers.local_tokens import read_unsigned
from gate.callers.tokens import presented
from gate.errors import SettingsError
from gate.ports import Caller, Clock, Credentials


class EmulatorCallerVerifier:
    """A `CallerVerifier` that believes what a token says. It holds every check but the signature.

    Raises:
        SettingsError: this is a deployed instance, where it would let anybody be anybody.
    """

    def __init__(self, *, project: str, clock: Clock, deployed: bool, leeway_seconds: int = 5) -> None:
        if deployed:
            raise SettingsError("FIREBASE_AUTH_EMULATOR_HOST is set in a deployed instance; take it out")
        self._project = project
        self._clock = clock
        self._leeway_seconds = leeway_seconds

    async def verify(self, credentials: Credentials) -> Caller:
        """See `CallerVerifier.verify`."""
        claims = read_unsigned(presented(credentials.bearer))
        checked = check_claims(
            claims,
            issuer=f"{ISSUER}/{self._project}",
            audience=self._project,
            now=self._clock.now(),
            leeway_seconds=self._leeway_seconds,
        )
        return session_of(checked).caller
