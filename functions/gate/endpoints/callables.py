"""The callables of hop 1: what each takes, who answers it, and how it finds out who is asking."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from msgspec.json import Decoder
from starlette.types import ASGIApp

from gate.domain.request import InferRequest
from gate.endpoints.answers import answer_json, job_json, part_json, quota_json
from gate.endpoints.callable import Call, CallableDoor, Envelope
from gate.endpoints.entrance import Entrance
from gate.endpoints.tokens import TokensEndpoint, TokensRequest
from gate.ports import Clock
from gate.provider import Part
from gate.service import Gate
from gate.tokens import Tokens


class Callables(msgspec.Struct, frozen=True, kw_only=True):
    """The doors by their names."""

    infer: ASGIApp
    submit: ASGIApp
    job: ASGIApp
    cancel: ASGIApp
    quota: ASGIApp
    tokens: ASGIApp


class JobName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a callable about one job."""

    job_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class NoPayload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of a callable that takes none."""


def make_callables(gate: Gate, tokens: Tokens, entrance: Entrance, *, clock: Clock) -> Callables:
    """Return the doors around what answers them."""

    async def infer(call: Call[InferRequest]) -> dict[str, Any]:
        return answer_json(await gate.infer(call.caller, call.payload, size_bytes=call.size_bytes))

    async def stream(call: Call[InferRequest]) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(gate.stream(call.caller, call.payload, size_bytes=call.size_bytes)) as steps:
            async for step in steps:
                yield {"message": part_json(step)} if isinstance(step, Part) else {"result": answer_json(step)}

    async def submit(call: Call[InferRequest]) -> dict[str, Any]:
        return answer_json(await gate.jobs.submit(call.caller, call.payload, size_bytes=call.size_bytes))

    async def job(call: Call[JobName]) -> dict[str, Any]:
        return job_json(await gate.jobs.job(call.caller, call.payload.job_id))

    async def cancel(call: Call[JobName]) -> dict[str, Any]:
        return job_json(await gate.jobs.cancel(call.caller, call.payload.job_id))

    async def quota(call: Call[NoPayload | None]) -> dict[str, Any]:
        return {"quota": quota_json(await gate.quota(call.caller))}

    verifier, live = entrance.verifier, entrance.live_verifier
    origins, log = entrance.origins, entrance.log
    return Callables(
        infer=CallableDoor(
            infer,
            Decoder(Envelope[InferRequest]),
            verifier=verifier,
            origins=origins,
            log=log,
            streamer=stream,
        ),
        submit=CallableDoor(submit, Decoder(Envelope[InferRequest]), verifier=verifier, origins=origins, log=log),
        job=CallableDoor(job, Decoder(Envelope[JobName]), verifier=live, origins=origins, log=log),
        cancel=CallableDoor(cancel, Decoder(Envelope[JobName]), verifier=live, origins=origins, log=log),
        quota=CallableDoor(quota, Decoder(Envelope[NoPayload | None]), verifier=live, origins=origins, log=log),
        tokens=CallableDoor(
            TokensEndpoint(tokens, clock=clock),
            Decoder(Envelope[TokensRequest]),
            verifier=live,
            origins=origins,
            log=log,
        ),
    )
