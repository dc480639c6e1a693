"""The official `openai` package for Python, unchanged but for its address and its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from gate.providers.scripted import Act
from tests.api.world import MODEL, TEXT, ApiWorld, listening

MESSAGES: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Tell me a tale."}]


@pytest.fixture
async def client(world: ApiWorld) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        listening(world) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=await world.token(), max_retries=0) as client,
    ):
        yield client


async def test_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [MODEL]
    assert (await client.models.retrieve(MODEL)).owned_by == "twohop"


async def test_embeddings_are_made(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    """The package asks for base64 by itself, and decodes it."""
    made = await client.embeddings.create(model=MODEL, input=["one", "two"])

    assert [row.index for row in made.data] == [0, 1]
    assert made.data[0].embedding == pytest.approx([0.6, 0.8, 0.0])
    assert (made.usage.prompt_tokens, made.model) == (7, MODEL)
    assert world.sent().inputs == ["one", "two"]


async def test_embeddings_can_be_floats_and_be_cut(client: openai.AsyncOpenAI) -> None:
    """A vector that was cut is of unit length again."""
    made = await client.embeddings.create(model=MODEL, input="one", dimensions=1, encoding_format="float")

    assert made.data[0].embedding == [1.0]


async def test_a_conversation_is_continued(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    made = await client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=9, temperature=0.5, stop=["."]
    )

    assert made.choices[0].message.content == TEXT
    assert made.choices[0].finish_reason == "length"
    assert made.usage
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (3, 4, 7)
    assert world.sent().inputs == [{"role": "system", "content": "Be brief."}, MESSAGES[1]]
    assert world.sent().parameters == {
        "max_new_tokens": 9,
        "temperature": 0.5,
        "stop": ["."],
        "return_full_text": False,
    }


async def test_a_conversation_is_streamed(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    """As it is written, then why it ended, then what it took."""
    stream = await client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert [delta.content for delta in deltas if delta.content] == [TEXT[:5], TEXT[5:]]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 7
    assert len({chunk.id for chunk in chunks}) == 1
    assert await world.requests() == 1


async def test_a_text_is_continued(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    made = await client.completions.create(model=MODEL, prompt="Well: ", echo=True, temperature=0)

    assert made.choices[0].text == f"Well: {TEXT}"
    assert world.sent().parameters == {"max_new_tokens": 16, "do_sample": False, "return_full_text": True}


async def test_several_texts_are_continued(client: openai.AsyncOpenAI) -> None:
    made = await client.completions.create(model=MODEL, prompt=["a", "b"], max_tokens=3)

    assert [choice.index for choice in made.choices] == [0, 1]
    assert made.usage
    assert made.usage.total_tokens == 14


async def test_a_text_is_streamed(client: openai.AsyncOpenAI) -> None:
    stream = await client.completions.create(model=MODEL, prompt="Well", stream=True)

    assert "".join([chunk.choices[0].text async for chunk in stream]) == TEXT


async def test_a_model_of_another_task_is_told_apart(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    """A model that labels answers neither vectors nor texts; the error says so, and the job is paid."""
    world.scripted.otherwise = Act(outputs=[{"label": "x", "score": 1.0}])
    with pytest.raises(openai.InternalServerError, match="does not make embeddings"):
        await client.embeddings.create(model=MODEL, input="one")
    with pytest.raises(openai.InternalServerError, match="does not write texts"):
        await client.chat.completions.create(model=MODEL, messages=MESSAGES)


@pytest.mark.parametrize(
    ("kind", "plan", "request_fields", "code"),
    [
        pytest.param(openai.NotFoundError, {}, {"model": "gpt-9"}, "model_not_found", id="404"),
        pytest.param(openai.PermissionDeniedError, {"models": ()}, {}, "permission_denied", id="403"),
        pytest.param(openai.RateLimitError, {"requests_per_day": 0}, {}, "rate_limit_exceeded", id="429"),
        pytest.param(openai.BadRequestError, {}, {"input": [[1, 2]]}, None, id="400"),
        pytest.param(openai.BadRequestError, {"input_items_max": 1}, {"input": ["a", "b"]}, None, id="400-too-many"),
    ],
)
async def test_a_refusal_is_the_packages_own_error(
    client: openai.AsyncOpenAI,
    world: ApiWorld,
    kind: type[openai.APIStatusError],
    plan: dict[str, Any],
    request_fields: dict[str, Any],
    code: str | None,
) -> None:
    """A program that handles OpenAI's errors handles these."""
    await world.plan(**plan)
    with pytest.raises(kind) as refused:
        await client.embeddings.create(**{"model": MODEL, "input": "one", **request_fields})

    assert refused.value.code == code
    assert await world.requests() == 0


async def test_a_revoked_key_is_the_packages_authentication_error(
    client: openai.AsyncOpenAI, world: ApiWorld
) -> None:
    [kept] = await world.tokens.of_owner("alice")
    await client.embeddings.create(model=MODEL, input="one")
    await world.tokens.end(kept)

    for attempt in (client.embeddings.create(model=MODEL, input="one"), client.models.retrieve(MODEL)):
        with pytest.raises(openai.AuthenticationError) as refused:
            await attempt
        assert refused.value.code == "invalid_api_key"


async def test_tokens_of_another_tokenizer_are_refused_clearly(client: openai.AsyncOpenAI) -> None:
    """Some libraries send tokens instead of texts; they can be told not to."""
    with pytest.raises(openai.BadRequestError, match="Tokens are not taken") as refused:
        await client.embeddings.create(model=MODEL, input=[1, 2, 3])

    assert refused.value.param == "input[0]"


async def test_a_refused_stream_is_an_error_of_its_status(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    """Not a stream that begins well and then tells of an error."""
    await world.plan(requests_per_day=0)

    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)


async def test_an_idempotency_key_answers_again_and_counts_once(client: openai.AsyncOpenAI, world: ApiWorld) -> None:
    """The same job, so the same id."""
    headers = {"Idempotency-Key": "one"}
    made = [
        await client.chat.completions.create(model=MODEL, messages=MESSAGES, extra_headers=headers) for _ in range(2)
    ]

    assert made[0] == made[1]
    assert await world.requests() == 1
    with pytest.raises(openai.ConflictError):
        await client.chat.completions.create(model=MODEL, messages=MESSAGES[1:], extra_headers=headers)
