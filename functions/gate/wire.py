"""Messages between the two hops, and the signature that proves hop 1 sent them.

Hop 2's image carries this very file, so it needs the standard library alone.

A request's body is JSON (`WorkBody`); what is signed is `version, job id, issued, expires, body`, so nothing of it
can be changed, kept for later or sent twice. It travels in one of two ways:

- over HTTP: the body as it is, the rest in headers (`to_headers`, `from_headers`);
- over a provider's queue, which knows JSON only: all of it in one object (`to_envelope`, `from_envelope`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
JOB_HEADER = "x-twohop-job"
ISSUED_HEADER = "x-twohop-issued-ms"
EXPIRES_HEADER = "x-twohop-expires-ms"
SIGNATURE_HEADER = "x-twohop-signature"
WEBHOOK_HEADER = "x-twohop-webhook"
"""Of a worker behind plain HTTP: who is told of the end of a job that outlives its request."""

SECRET_BYTES_MIN = 32
_CLOCK_SKEW_MS = 5_000
_USAGE_COUNTS = (
    *("execution_ms", "start_ms", "gap_ms", "share_ms", "life_ms"),
    *("tokens", "queue_ms", "batch_items", "memory_peak_mib"),
)
_USAGE_MAX = 10**10
"""In milliseconds some months: no job takes so long, and no counter overflows by it."""


_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class WireError(Exception):
    """A message between the hops that cannot be read."""


class SignatureError(WireError):
    """A request whose signature is missing, wrong, stale or of another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """One job's request to the worker, with the proof of where it comes from."""

    job_id: str
    issued_ms: int
    """When hop 1 signed it, in milliseconds since 1970 UTC."""
    expires_ms: int
    """When it is worth nothing any more; a worker drops it unrun from then on."""
    body: bytes
    signature: str

    def to_headers(self) -> dict[str, str]:
        """Return the HTTP headers that go with the body."""
        return {
            JOB_HEADER: self.job_id,
            ISSUED_HEADER: str(self.issued_ms),
            EXPIRES_HEADER: str(self.expires_ms),
            SIGNATURE_HEADER: self.signature,
        }

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], body: bytes) -> SignedRequest:
        """Read what `to_headers` wrote; the mapping's keys are lower case.

        Raises:
            SignatureError: a header is missing or not what it should be.
        """
        try:
            return cls(
                job_id=headers[JOB_HEADER],
                issued_ms=int(headers[ISSUED_HEADER]),
                expires_ms=int(headers[EXPIRES_HEADER]),
                body=body,
                signature=headers[SIGNATURE_HEADER],
            )
        except (KeyError, ValueError) as exc:
            raise SignatureError(f"the request is not signed: {exc}") from exc

    def to_envelope(self) -> dict[str, Any]:
        """Return one JSON-ready object for a provider's queue."""
        return {
            "version": VERSION,
            "job_id": self.job_id,
            "issued_ms": self.issued_ms,
            "expires_ms": self.expires_ms,
            "signature": self.signature,
            "body": self.body.decode(),
        }

    @classmethod
    def from_envelope(cls, envelope: Any) -> SignedRequest:
        """Read what `to_envelope` wrote.

        Raises:
            SignatureError: it is no object, or a field is missing, of another type, or of another version.
        """
        if not isinstance(envelope, Mapping):
            raise SignatureError("not a signed request: it is no object")
        wanted = {"version": int, "job_id": str, "issued_ms": int, "expires_ms": int, "signature": str, "body": str}
        wrong = [name for name, kind in wanted.items() if type(envelope.get(name)) is not kind]
        if wrong or envelope["version"] != VERSION:
            raise SignatureError(f"not a signed request of version {VERSION}; missing or wrong: {wrong}")
        return cls(
            job_id=envelope["job_id"],
            issued_ms=envelope["issued_ms"],
            expires_ms=envelope["expires_ms"],
            signature=envelope["signature"],
            body=_utf8(envelope["body"]),
        )


def sign(*, secret: bytes, job_id: str, body: bytes, issued_ms: int, expires_ms: int) -> SignedRequest:
    """Sign a request to the worker.

    Raises:
        ValueError: the secret is too short to be one.
    """
    signature = _signature(check_secret(secret), job_id, issued_ms, expires_ms, body)
    return SignedRequest(job_id=job_id, issued_ms=issued_ms, expires_ms=expires_ms, body=body, signature=signature)


def verify(request: SignedRequest, *, secrets: Sequence[bytes], now_ms: int) -> None:
    """Check that one of the secrets signed this request and that its time has not passed.

    Two secrets are valid at once while one is rotated out. Each is compared in constant time. One that is too short
    to be a secret proves nothing.

    Raises:
        SignatureError: it does not hold. That it came before is for the caller to remember.
    """
    signed = (request.job_id, request.issued_ms, request.expires_ms, request.body)
    given = request.signature.encode("utf-8", "replace")
    proving = [secret for secret in secrets if len(secret) >= SECRET_BYTES_MIN]
    matches = [hmac.compare_digest(_signature(secret, *signed).encode(), given) for secret in proving]
    if not any(matches):
        raise SignatureError("the signature is wrong")
    if now_ms >= request.expires_ms:
        raise SignatureError(f"the request is stale: it expired {now_ms - request.expires_ms} ms ago")
    if request.issued_ms > now_ms + _CLOCK_SKEW_MS:
        raise SignatureError("the request was signed in the future; check both clocks")


def check_secret(secret: bytes) -> bytes:
    """Return the secret, or refuse one that is too short to be a secret.

    Raises:
        ValueError: fewer than `SECRET_BYTES_MIN` bytes.
    """
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(
            f"WORKER_SECRET has {len(secret)} bytes, and needs {SECRET_BYTES_MIN} or more; "
            'make one with: python3 -c "import secrets; print(secrets.token_hex(32))"'
        )
    return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBody:
    """What the worker is asked to do."""

    model: str
    inputs: Any
    """A text, a list of texts, or an object, as the model's task takes it."""
    parameters: Mapping[str, Any]
    stream: bool = False
    """Whether what the job makes is wanted as it is made, and not only at its end."""

    def encode(self) -> bytes:
        """Return the JSON that is signed and sent."""
        fields = {"model": self.model, "inputs": self.inputs, "parameters": self.parameters}
        if self.stream:
            fields["stream"] = True
        return _as_json(fields).encode()

    @classmethod
    def decode(cls, body: bytes) -> WorkBody:
        """Read what `encode` wrote.

        Raises:
            WireError: it is not such an object.
        """
        fields = _object(body)
        if not isinstance(fields.get("model"), str) or not isinstance(fields.get("parameters"), dict):
            raise WireError("the body needs a model (string), inputs, and parameters (object)")
        stream = fields.get("stream", False)
        if not isinstance(stream, bool):
            raise WireError("the body's stream is neither true nor false")
        return cls(model=fields["model"], inputs=fields.get("inputs"), parameters=fields["parameters"], stream=stream)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkUsage:
    """What one job took on the worker, in milliseconds and tokens."""

    execution_ms: int
    """The job's share of the time that the engine was busy with it and with others."""
    start_ms: int = 0
    """The worker's own start, told with the first job after it; 0 from then on."""
    gap_ms: int = 0
    """How long the worker stood idle before this job, if no other job has paid that."""
    share_ms: int = 0
    """The job's share of the time that the worker had jobs: 1/k of it while there were k."""
    life_ms: int = 0
    """All that the worker's jobs were told of its life, this one's part included; 0 if it does not measure it."""
    tokens: int = 0
    """That went through the model: the inputs' and, where a model writes, those that it wrote."""
    queue_ms: int = 0
    """From the request's reading to its first batch."""
    batch_items: int = 0
    """Of the largest batch that it was in, its own and others'."""
    memory_peak_mib: int = 0
    """The most that the device has had in use since the worker began; of the process, on a CPU."""
    phases_ms: Mapping[str, int] = field(default_factory=dict)
    """What `start_ms` was spent on, by the name of the phase; told with it."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON-ready object; `dataclasses.asdict` would copy each number with care, which takes longer."""
        return {**{name: getattr(self, name) for name in _USAGE_COUNTS}, "phases_ms": dict(self.phases_ms)}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFailure:
    """Why the worker did not answer with outputs."""

    code: str
    """`invalid-argument` when the input is at fault, `unavailable` when another try may do, `internal` when the model
    failed; `unauthenticated`, `already-exists` or `deadline-exceeded` when the request was not let in."""
    message: str
    """One line that may be shown to the caller: no path, no traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkResult:
    """The worker's answer: outputs, or a failure, and what it took."""

    outputs: Any = None
    failure: WorkFailure | None = None
    usage: WorkUsage | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON-ready object that goes back to hop 1."""
        usage = self.usage and self.usage.to_json()
        if self.failure:
            return {"error": {"code": self.failure.code, "message": self.failure.message}, "usage": usage}
        return {"outputs": self.outputs, "usage": usage}

    @classmethod
    def from_json(cls, fields: Any) -> WorkResult:
        """Read what `to_json` wrote.

        Raises:
            WireError: it is no such object; a container that is not Twohop's worker may answer anything.
        """
        if not isinstance(fields, dict):
            raise WireError("the worker's answer is not an object")
        usage = _usage(fields.get("usage"))
        error = fields.get("error")
        if error is not None:
            return cls(failure=_failure(error), usage=usage)
        if "outputs" not in fields:
            raise WireError("the worker's answer has neither outputs nor error")
        return cls(outputs=fields["outputs"], usage=usage)


def _failure(error: Any) -> WorkFailure:
    if isinstance(error, dict) and isinstance(error.get("code"), str) and isinstance(error.get("message"), str):
        return WorkFailure(code=error["code"], message=error["message"])
    raise WireError("the worker's error has no code and message")


def _usage(fields: Any) -> WorkUsage | None:
    """Read a usage; one that is absent or absurd is none at all, and the job is then settled at its hold."""
    if not isinstance(fields, dict) or "execution_ms" not in fields:
        return None
    counts = {name: fields.get(name, 0) for name in _USAGE_COUNTS}
    phases = fields.get("phases_ms", {})
    if not isinstance(phases, dict) or not all(map(_is_count, [*counts.values(), *phases.values()])):
        return None
    return WorkUsage(**counts, phases_ms=phases)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _USAGE_MAX


def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise WireError("the body is not JSON") from exc
    if not isinstance(fields, dict):
        raise WireError("the body is not a JSON object")
    return fields


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise SignatureError("the body is not Unicode text") from exc


def _signature(secret: bytes, job_id: str, issued_ms: int, expires_ms: int, body: bytes) -> str:
    """Return the HMAC-SHA256 of all that must not change, as hex. The id's length goes first: no field can bleed."""
    job = job_id.encode("utf-8", "surrogatepass")
    head = f"twohop/{VERSION}\n{len(job)}\n".encode() + job + f"\n{issued_ms}\n{expires_ms}\n".encode()
    return hmac.digest(secret, head + body, hashlib.sha256).hex()
