"""The table of all HTTP routes."""

from __future__ import annotations

from functools import partial

from gate.endpoints.api.app import HttpApi
from gate.endpoints.api.chat import ChatCompletion, ChatRequest, ChatStyle
from gate.endpoints.api.completions import Completion, CompletionRequest, CompletionStyle
from gate.endpoints.api.embeddings import TOKENS_HINT, EmbeddingsAnswer, EmbeddingsEndpoint, EmbeddingsRequest
from gate.endpoints.api.errors import HuggingFaceErrors, OpenAIErrors
from gate.endpoints.api.hugging_face import HuggingFaceEndpoint, PipelineRequest
from gate.endpoints.api.models import Model, ModelList, ModelsEndpoint
from gate.endpoints.api.openapi import openapi_document
from gate.endpoints.api.routes import Route
from gate.endpoints.api.writing import WritingEndpoint
from gate.endpoints.entrance import Entrance
from gate.ports import Clock
from gate.service import Gate

_OPENAI = OpenAIErrors()


def make_api(gate: Gate, entrance: Entrance, *, clock: Clock, callables_url: str) -> HttpApi:
    """Return the routes as an app.

    Args:
        gate: answers them.
        entrance: who may come in.
        clock: the time.
        callables_url: where the callables are, for the OpenAPI document.
    """
    routes = _routes(gate, clock)
    free = {"/openapi.json": partial(openapi_document, routes, callables_url=callables_url)}
    return HttpApi(routes, free=free, entrance=entrance, clock=clock)


def _routes(gate: Gate, clock: Clock) -> tuple[Route, ...]:
    models = ModelsEndpoint(gate, served_since=clock.now())
    return (
        Route(
            method="GET",
            path="/v1/models",
            name="listModels",
            summary="List the models that the caller may name",
            response=ModelList,
            handler=models.list,
            errors=_OPENAI,
            holds=False,
        ),
        Route(
            method="GET",
            path="/v1/models/{model:path}",
            name="getModel",
            summary="Show one model",
            response=Model,
            handler=models.get,
            errors=_OPENAI,
            holds=False,
        ),
        Route(
            method="POST",
            path="/v1/embeddings",
            name="createEmbeddings",
            summary="Turn texts into vectors",
            request=EmbeddingsRequest,
            response=EmbeddingsAnswer,
            handler=EmbeddingsEndpoint(gate),
            errors=_OPENAI,
            holds=True,
            hints={"$.input": TOKENS_HINT},
        ),
        *_writing_routes(gate, clock),
        Route(
            method="POST",
            path="/models/{model:path}",
            name="runPipeline",
            summary="Run the model's pipeline, as Hugging Face's inference API does",
            request=PipelineRequest,
            handler=HuggingFaceEndpoint(gate),
            errors=HuggingFaceErrors(),
            holds=True,
        ),
    )


def _writing_routes(gate: Gate, clock: Clock) -> tuple[Route, ...]:
    return (
        Route(
            method="POST",
            path="/v1/completions",
            name="createCompletion",
            summary="Continue a text",
            request=CompletionRequest,
            response=Completion,
            handler=WritingEndpoint(gate, CompletionStyle(), clock=clock),
            errors=_OPENAI,
            holds=True,
            streams=True,
            hints={"$.prompt": TOKENS_HINT},
        ),
        Route(
            method="POST",
            path="/v1/chat/completions",
            name="createChatCompletion",
            summary="Continue a conversation",
            request=ChatRequest,
            response=ChatCompletion,
            handler=WritingEndpoint(gate, ChatStyle(), clock=clock),
            errors=_OPENAI,
            holds=True,
            streams=True,
        ),
    )
