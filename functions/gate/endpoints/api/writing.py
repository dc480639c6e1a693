"""Answers `/v1/completions` and `/v1/chat/completions`: they differ in what is asked and in how an answer looks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol, TypedDict

import msgspec

from gate.domain.answer import Answer
from gate.domain.request import InferRequest
from gate.endpoints.api.answered import check_model, outputs_of, task_told
from gate.endpoints.api.generation import (
    NO_TEXTS,
    FinishReason,
    WritingRequest,
    WritingUsage,
    Written,
    check_writing,
    written,
)
from gate.endpoints.api.routes import Asked, Events, Reply
from gate.ports import Clock
from gate.provider import Part
from gate.service import Gate

_DONE = b"[DONE]"


class Head(TypedDict):
    """What each answer begins with, and each event of a stream."""

    id: str
    created: int
    model: str


class Style(Protocol):
    """How a route asks the model to write, and how it tells what was written."""

    prefix: str
    """What the ids of its answers begin with."""

    def asked(self, payload: Any) -> tuple[Any, dict[str, Any]]:
        """Return inputs and parameters in the worker's words.

        Raises:
            InvalidRequestError: the payload asks for what cannot be.
        """
        ...

    def whole(self, head: Head, texts: list[Written]) -> msgspec.Struct:
        """Return the answer."""
        ...

    def opening(self, head: Head) -> msgspec.Struct | None:
        """Return what a stream begins with, if it begins with anything but text."""
        ...

    def piece(self, head: Head, text: str, reason: FinishReason | None = None) -> msgspec.Struct:
        """Return the next piece of a stream; the last one is empty, and says why it ends."""
        ...

    def usage(self, head: Head, usage: WritingUsage) -> msgspec.Struct:
        """Return what was used, as a stream tells it."""
        ...


class WritingEndpoint:
    """Lets the model write, at once or as a stream."""

    def __init__(self, gate: Gate, style: Style, *, clock: Clock) -> None:
        self._gate = gate
        self._style = style
        self._clock = clock

    async def __call__(self, asked: Asked) -> Reply | Events:
        """Answer one request."""
        payload: WritingRequest = asked.payload
        check_model(payload.model, self._gate)
        check_writing(payload)
        inputs, parameters = self._style.asked(payload)
        request = InferRequest(inputs=inputs, parameters=parameters, idempotency_key=asked.idempotency_key)
        if payload.stream:
            return self._events(asked, request)
        answer = await self._answered(asked, request)
        # The job's own id, by which it is found in the ledger.
        return Reply(
            body=self._style.whole(self._head(answer.job.job_id), written(outputs_of(answer, asked))),
            quota=answer.quota,
        )

    async def _answered(self, asked: Asked, request: InferRequest) -> Answer:
        with task_told("return_full_text", NO_TEXTS):
            return await self._gate.infer(asked.caller, request, size_bytes=asked.size_bytes)

    async def _events(self, asked: Asked, request: InferRequest) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._chunks(asked, request)) as chunks:
            async for chunk in chunks:
                yield msgspec.json.encode(chunk)
        yield _DONE

    async def _chunks(self, asked: Asked, request: InferRequest) -> AsyncGenerator[msgspec.Struct, None]:
        head, style = self._head(asked.request_id), self._style
        opening = style.opening(head)
        async with aclosing(self._pieces(asked, request)) as pieces:
            async for piece in pieces:
                if opening:
                    yield opening
                    opening = None
                if isinstance(piece, str):
                    yield style.piece(head, piece)
                    continue
                yield style.piece(head, "", piece.finish_reason)
                if asked.payload.wants_usage:
                    yield style.usage(head, piece.usage)

    async def _pieces(self, asked: Asked, request: InferRequest) -> AsyncGenerator[str | Written, None]:
        """Yield the text of one prompt as it is written, and at last what it was and why it ended."""
        told = ""
        with task_told("return_full_text", NO_TEXTS):
            async with aclosing(self._gate.stream(asked.caller, request, size_bytes=asked.size_bytes)) as steps:
                async for step in steps:
                    if isinstance(step, Part):
                        told += step.text
                        yield step.text
                    else:
                        [end] = written(outputs_of(step, asked))
                        # A job that was answered before, or whose provider cannot stream, has told nothing until now.
                        yield end.text.removeprefix(told)
                        yield end

    def _head(self, identity: str) -> Head:
        return Head(
            id=f"{self._style.prefix}-{identity}",
            created=int(self._clock.now().timestamp()),
            model=self._gate.model_name,
        )
