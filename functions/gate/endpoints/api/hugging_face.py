"""`POST /models/{model}`, as Hugging Face's clients send it: inputs and parameters in, the pipeline's outputs out."""

from __future__ import annotations

from typing import Any

import msgspec

from gate.domain.request import InferRequest, Inputs
from gate.endpoints.api.answered import check_model, outputs_of
from gate.endpoints.api.routes import Asked, Reply
from gate.errors import InvalidRequestError
from gate.service import Gate


class PipelineRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a pipeline is given."""

    inputs: Inputs
    """A text or an object, or a list of them, as the model's task takes it."""
    parameters: dict[str, Any] = {}
    options: dict[str, Any] = {}
    """Taken for compatibility: an answer is never from a cache, and a model that is cold is waited for."""
    stream: bool = False
    normalize: bool | None = None
    """Of embeddings, where Hugging Face's client has it; the same as in `parameters`. So is the next."""
    truncate: bool | None = None


class HuggingFaceEndpoint:
    """Asks the model, and answers its outputs as they are."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, asked: Asked) -> Reply:
        """Answer one request."""
        payload: PipelineRequest = asked.payload
        check_model(asked.path["model"], self._gate)
        if payload.stream:
            raise InvalidRequestError("stream is not taken here; /v1/completions and /v1/chat/completions stream")
        beside = {"normalize": payload.normalize, "truncate": payload.truncate}
        parameters = {**payload.parameters, **{name: value for name, value in beside.items() if value is not None}}
        request = InferRequest(inputs=payload.inputs, parameters=parameters, idempotency_key=asked.idempotency_key)
        answer = await self._gate.infer(asked.caller, request, size_bytes=asked.size_bytes)
        outputs = outputs_of(answer, asked)
        return Reply(body=_outputs(outputs, single=isinstance(payload.inputs, str)), quota=answer.quota)


def _outputs(outputs: Any, *, single: bool) -> Any:
    """Return a pipeline's outputs as Hugging Face's inference API sends them, where the two differ."""
    if _is_zero_shot(outputs):
        return _labels(outputs)
    if isinstance(outputs, list) and outputs and all(map(_is_zero_shot, outputs)):
        return [_labels(one) for one in outputs]
    if single and isinstance(outputs, list) and outputs and all(map(_is_label, outputs)):
        return [outputs]
    return outputs


def _is_zero_shot(output: Any) -> bool:
    return isinstance(output, dict) and set(output) == {"sequence", "labels", "scores"}


def _labels(output: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(output["labels"], output["scores"], strict=True)]


def _is_label(output: Any) -> bool:
    return isinstance(output, dict) and set(output) == {"label", "score"}
