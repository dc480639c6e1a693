"""Hugging Face's own `InferenceClient`, unchanged but for its address and its token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient
from huggingface_hub.errors import HfHubHTTPError

from gate.provider import Order, ProviderState
from gate.providers.scripted import Act
from tests.api.world import MODEL, TEXT, ApiWorld, generation_details, listening

FAILED = ProviderState.FAILED
LABELS = [{"label": "POSITIVE", "score": 0.9}, {"label": "NEGATIVE", "score": 0.1}]


@pytest.fixture
async def client(world: ApiWorld) -> AsyncIterator[AsyncInferenceClient]:
    async with listening(world) as url:
        yield AsyncInferenceClient(base_url=f"{url}/models/{MODEL}", token=await world.token())


async def test_labels_come_as_its_client_reads_them(client: AsyncInferenceClient, world: ApiWorld) -> None:
    labels = await client.text_classification("good", top_k=2)

    assert [(label.label, label.score) for label in labels] == [("POSITIVE", 0.9), ("NEGATIVE", 0.1)]
    assert world.sent().parameters == {"top_k": 2}


async def test_options_beside_the_inputs_are_parameters_too(client: AsyncInferenceClient, world: ApiWorld) -> None:
    """It sends its options beside the inputs, not among the parameters."""
    world.scripted.otherwise = Act(outputs=[0.5, 0.25])

    assert (await client.feature_extraction("one", normalize=True, truncate=True)).tolist() == [0.5, 0.25]
    assert world.sent().parameters == {"normalize": True, "truncate": True}


async def test_a_text_comes_as_its_client_reads_it(client: AsyncInferenceClient, world: ApiWorld) -> None:
    world.scripted.otherwise = Act(outputs=[{"generated_text": TEXT, "details": generation_details()}])

    assert await client.text_generation("Well", max_new_tokens=4) == TEXT


async def test_zero_shot_labels_come_in_the_apis_shape(client: AsyncInferenceClient, world: ApiWorld) -> None:
    """The pipeline's own shape is another than the inference API's."""
    world.scripted.otherwise = Act(outputs={"sequence": "x", "labels": ["a", "b"], "scores": [0.75, 0.25]})

    found = await client.zero_shot_classification("x", candidate_labels=["a", "b"])

    assert [(one.label, one.score) for one in found] == [("a", 0.75), ("b", 0.25)]


async def test_an_answer_comes_as_its_client_reads_it(client: AsyncInferenceClient, world: ApiWorld) -> None:
    world.scripted.otherwise = Act(outputs={"answer": "Clara", "score": 0.9, "start": 11, "end": 16})

    answer = await client.question_answering(question="Who?", context="My name is Clara")

    assert getattr(answer, "answer", None) == "Clara"


@pytest.mark.parametrize(
    ("outputs", "inputs", "answered"),
    [
        pytest.param(LABELS, "x", [LABELS], id="labels-of-one"),
        pytest.param([LABELS, LABELS], ["x", "y"], [LABELS, LABELS], id="labels-of-two"),
        pytest.param([0.5], "x", [0.5], id="a-vector"),
        pytest.param([[0.5]], ["x"], [[0.5]], id="vectors"),
        pytest.param([], "x", [], id="nothing"),
        pytest.param(
            [{"sequence": "x", "labels": ["a"], "scores": [1.0]}],
            ["x"],
            [[{"label": "a", "score": 1.0}]],
            id="zero-shot-of-one-in-a-list",
        ),
    ],
)
async def test_outputs_are_the_inference_apis(world: ApiWorld, outputs: Any, inputs: Any, answered: Any) -> None:
    world.scripted.otherwise = lambda _: Act(outputs=outputs)

    assert (await world.http.post(f"/models/{MODEL}", json={"inputs": inputs})).json() == answered


async def test_a_refusal_is_the_clients_own_error(client: AsyncInferenceClient, world: ApiWorld) -> None:
    """With the words of the refusal in it."""

    def refuse(_: Order) -> Act:
        return Act(outputs=None, failure_code="invalid-argument", failure_message="top_k is no number", state=FAILED)

    world.scripted.otherwise = refuse
    with pytest.raises(HfHubHTTPError, match="top_k is no number") as refused:
        await client.text_classification("x")
    assert refused.value.response.status_code == 400


async def test_a_conversation_goes_by_the_openai_route(client: AsyncInferenceClient, world: ApiWorld) -> None:
    """Its client speaks OpenAI's words there, at the address that ends in /v1."""
    chat = AsyncInferenceClient(base_url=str(client.model).replace(f"/models/{MODEL}", "/v1"), token="alice")

    made = await chat.chat_completion([{"role": "user", "content": "Hi"}], model=MODEL, max_tokens=4)

    assert made.choices[0].message.content == TEXT
