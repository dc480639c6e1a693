"""The callables of hop 1: what each takes, who answers it, and how it finds out who is asking."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.json import Decoder
from starlette.types import ASGIApp

from gate.endpoints.answers import answer_json, part_json, quota_json
from gate.endpoints.callable import Call, CallableDoor, Envelope
from gate.endpoints.cors import Origins
from gate.endpoints.tokens import TokensEndpoint, TokensRequest
from gate.log import EventLog
from gate.ports import CallerVerifier, Clock, Part
from gate.request import InferRequest
from gate.service import Gate
from gate.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """What every door needs before it lets anybody in."""

    verifier: CallerVerifier
    """For doors that hold a job: the commit of the hold finds out whether an API token still lives."""
    live_verifier: CallerVerifier
    """For doors that hold none: it finds that out itself."""
    origins: Origins
    log: EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Callables:
    """The doors by their names."""

    infer: ASGIApp
    quota: ASGIApp
    tokens: ASGIApp


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

    async def quota(call: Call[NoPayload | None]) -> dict[str, Any]:
        return {"quota": quota_json(await gate.quota(call.caller))}

    origins, log, live = entrance.origins, entrance.log, entrance.live_verifier
    return Callables(
        infer=CallableDoor(
            infer,
            Decoder(Envelope[InferRequest]),
            verifier=entrance.verifier,
            origins=origins,
            log=log,
            streamer=stream,
        ),
        quota=CallableDoor(quota, Decoder(Envelope[NoPayload | None]), verifier=live, origins=origins, log=log),
        tokens=CallableDoor(
            TokensEndpoint(tokens, clock=clock),
            Decoder(Envelope[TokensRequest]),
            verifier=live,
            origins=origins,
            log=log,
        ),
    )
