"""Every refusal of the HTTP routes: its status, its shape, its headers, and that it moved no counter."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from gate.endpoints.api.app import HttpApi
from gate.endpoints.api.errors import RATE_HEADERS
from gate.errors import (
    GateError,
    JobFailedError,
    LedgerError,
    ProviderError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from gate.providers.scripted import Act
from tests.api.world import APP, MODEL, ApiWorld

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": MODEL, "input": "hello"},
    "/v1/completions": {"model": MODEL, "prompt": "hello"},
    "/v1/chat/completions": CHAT,
    f"/models/{MODEL}": {"inputs": "hello"},
}
HOLDING = list(BODIES)
FREE = ["/v1/models", f"/v1/models/{MODEL}"]


def shape_of(answer: Any) -> tuple[str, str | None]:
    """Return an error's message and code; its shape is the route's."""
    body = answer.json()
    if str(answer.url).startswith("http://hop1/models/"):
        assert set(body) == {"error", "error_type"}
        return body["error"], body["error_type"]
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]["message"], body["error"]["code"]


def test_the_bodies_are_of_all_routes(world: ApiWorld) -> None:
    """A route that is added is tested too."""
    assert sorted(route.path.replace("{model:path}", MODEL) for route in world.api.routes) == sorted(
        [*HOLDING, *FREE]
    )
    assert {route.path.replace("{model:path}", MODEL) for route in world.api.routes if route.holds} == set(HOLDING)


@pytest.mark.parametrize("path", HOLDING)
async def test_200_and_what_is_left_of_the_rate(world: ApiWorld, path: str) -> None:
    """The headers are OpenAI's; the count is the ledger's."""
    await world.plan(requests_per_minute=60, burst=5)

    answer = await world.http.post(path, json=BODIES[path])

    assert answer.status_code == 200
    assert [answer.headers[name] for name in RATE_HEADERS] == ["60", "4", "1s"]
    assert answer.headers["cache-control"] == "no-store"
    assert await world.requests() == 1


@pytest.mark.parametrize("path", [*HOLDING, *FREE])
@pytest.mark.parametrize("bearer", ["", "Bearer", "Bearer th_forged", "Basic YWxpY2U6eA=="])
async def test_401_reads_nothing(world: ApiWorld, path: str, bearer: str) -> None:
    """Neither the ledger nor the body: a stranger costs nothing."""
    method = "GET" if path in FREE else "POST"

    answer = await world.http.request(method, path, content=b"[" * 100_000, headers={"authorization": bearer})

    assert answer.status_code == 401
    assert shape_of(answer)[0] == "Sign in first: this request carries no valid credential."
    assert world.ledger.holds == []


@pytest.mark.parametrize("path", HOLDING)
async def test_403_from_a_token_that_may_only_read_usage(world: ApiWorld, path: str) -> None:
    bearer = {"authorization": f"Bearer {await world.token(scopes=('usage',))}"}

    answer = await world.http.post(path, json=BODIES[path], headers=bearer)

    assert answer.status_code == 403
    assert "may only read usage" in shape_of(answer)[0]
    assert world.ledger.holds == []
    assert (await world.http.get("/v1/models", headers=bearer)).json()["data"] == []


async def test_403_from_a_usage_token_that_asks_for_a_job_or_its_end(world: ApiWorld) -> None:
    """What a job made is no usage, and stopping one is no reading."""
    made = await world.http.post("/submit", json={"data": {"inputs": "hello"}})
    payload = {"data": {"job_id": made.json()["result"]["job_id"]}}

    for scopes, status in ((("usage",), 403), (("model:other",), 403), (("models",), 200)):
        bearer = {"authorization": f"Bearer {await world.token(scopes=scopes)}"}
        answers = [await world.http.post(f"/{name}", json=payload, headers=bearer) for name in ("job", "cancel")]
        assert [answer.status_code for answer in answers] == [status, status]
        assert (await world.http.post("/quota", json={"data": None}, headers=bearer)).status_code == 200


@pytest.mark.parametrize("path", [*HOLDING, *FREE])
async def test_403_from_another_origin(world: ApiWorld, path: str) -> None:
    """Pages elsewhere may not use a token that they got hold of."""
    method = "GET" if path in FREE else "POST"
    answer = await world.http.request(method, path, json=BODIES.get(path), headers={"origin": "https://evil.example"})

    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", HOLDING)
async def test_404_for_a_model_that_is_not_here(world: ApiWorld, path: str) -> None:
    """A hub's id is taken without its owner."""
    if path.startswith("/models/"):
        other, owned = await world.http.post("/models/other", json=BODIES[path]), f"/models/owner/{MODEL.upper()}"
        there = await world.http.post(owned, json=BODIES[path])
    else:
        other = await world.http.post(path, json={**BODIES[path], "model": "other"})
        there = await world.http.post(path, json={**BODIES[path], "model": f"owner/{MODEL.upper()}"})

    assert (other.status_code, there.status_code) == (404, 200)
    assert "'other'" in shape_of(other)[0]
    assert await world.requests() == 1


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/images", "/models", "/models/", "/v1/embeddings/", "/v2/models"])
async def test_404_for_what_is_no_route(world: ApiWorld, path: str) -> None:
    assert (await world.http.post(path, json={})).status_code == 404


@pytest.mark.parametrize("path", [*HOLDING, *FREE])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_405_names_what_is_allowed(world: ApiWorld, path: str, method: str) -> None:
    answer = await world.http.request(method, path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == ("GET" if path in FREE else "POST")


MALFORMED: dict[str, tuple[str, Any, str]] = {
    "no-input": ("/v1/embeddings", {"model": MODEL}, "input"),
    "empty-input": ("/v1/embeddings", {"model": MODEL, "input": []}, "$.input"),
    "unknown-field": ("/v1/embeddings", {"model": MODEL, "input": "x", "inputs": "x"}, "inputs"),
    "encoding": ("/v1/embeddings", {"model": MODEL, "input": "x", "encoding_format": "hex"}, "encoding_format"),
    "no-dimensions": ("/v1/embeddings", {"model": MODEL, "input": "x", "dimensions": 0}, "dimensions"),
    "prompt-tokens": ("/v1/completions", {"model": MODEL, "prompt": [1, 2]}, "Tokens are not taken"),
    "two-answers": ("/v1/completions", {"model": MODEL, "prompt": "x", "n": 2}, "$.n"),
    "a-stream-of-two": ("/v1/completions", {"model": MODEL, "prompt": ["x", "y"], "stream": True}, "one prompt"),
    "no-messages": ("/v1/chat/completions", {"model": MODEL, "messages": []}, "messages"),
    "tool-role": ("/v1/chat/completions", {**CHAT, "messages": [{"role": "tool", "content": "x"}]}, "role"),
    "tools": ("/v1/chat/completions", {**CHAT, "tools": []}, "tools"),
    "penalty": ("/v1/chat/completions", {**CHAT, "presence_penalty": 1}, "presence_penalty"),
    "json-mode": ("/v1/chat/completions", {**CHAT, "response_format": {"type": "json_object"}}, "response_format"),
    "options-alone": ("/v1/chat/completions", {**CHAT, "stream_options": {}}, "set stream too"),
    "no-inputs": (f"/models/{MODEL}", {"parameters": {}}, "inputs"),
    "hf-stream": (f"/models/{MODEL}", {"inputs": "x", "stream": True}, "/v1/completions"),
    "not-json": ("/v1/embeddings", b"{", "not valid JSON"),
    "no-object": ("/v1/embeddings", [], "object"),
}


@pytest.mark.parametrize(("path", "body", "says"), MALFORMED.values(), ids=MALFORMED)
async def test_400_names_what_is_wrong_and_holds_nothing(world: ApiWorld, path: str, body: Any, says: str) -> None:
    """What this model cannot do is refused, and never silently left out."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await world.http.post(path, content=content, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert says in shape_of(answer)[0]
    assert world.ledger.holds == []


@pytest.mark.parametrize("path", HOLDING)
async def test_400_for_what_says_that_it_is_no_json(world: ApiWorld, path: str) -> None:
    answer = await world.http.post(path, content=json.dumps(BODIES[path]), headers={"content-type": "text/plain"})

    assert answer.status_code == 400


async def test_400_for_more_dimensions_than_there_are_costs_nothing_the_second_time(world: ApiWorld) -> None:
    """Hop 1 learns how long the model's vectors are with the first one that it sees."""
    body = {**BODIES["/v1/embeddings"], "dimensions": 4}

    answers = [await world.http.post("/v1/embeddings", json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert "this model's vectors have 3" in shape_of(answers[1])[0]
    assert len(world.ledger.holds) == 1


async def test_400_for_a_key_that_is_too_long(world: ApiWorld) -> None:
    answer = await world.http.post(
        "/v1/embeddings", json=BODIES["/v1/embeddings"], headers={"idempotency-key": "k" * 201}
    )

    assert (answer.status_code, "Idempotency-Key" in shape_of(answer)[0]) == (400, True)


@pytest.mark.parametrize("path", HOLDING)
async def test_409_for_a_key_with_another_body(world: ApiWorld, path: str) -> None:
    """Trying again cannot help, so the official clients are told not to."""
    key = {"idempotency-key": "one"}
    await world.http.post(path, json=BODIES[path], headers=key)
    field = {"/v1/embeddings": "input", "/v1/completions": "prompt", f"/models/{MODEL}": "inputs"}.get(path)
    other = {**BODIES[path], field: "other"} if field else {**CHAT, "messages": [*CHAT["messages"] * 2]}

    answer = await world.http.post(path, json=other, headers=key)

    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    assert await world.requests() == 1


@pytest.mark.parametrize("path", HOLDING)
async def test_429_says_when_to_come_back(world: ApiWorld, path: str) -> None:
    """A limit that is free again soon is worth waiting for, as the official clients do."""
    await world.plan(requests_per_minute=6, burst=1)
    await world.http.post(path, json=BODIES[path])

    answer = await world.http.post(path, json=BODIES[path])

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "10"
    assert [answer.headers[name] for name in RATE_HEADERS] == ["6", "0", "10s"]
    assert "x-should-retry" not in answer.headers
    assert await world.requests() == 1


async def test_429_of_a_day_is_not_worth_a_retry(world: ApiWorld) -> None:
    """Official clients would ask again within seconds, in vain."""
    await world.plan(requests_per_day=0)

    answer = await world.http.post("/v1/embeddings", json=BODIES["/v1/embeddings"])

    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert 11 * 3600 < int(answer.headers["retry-after"]) <= 12 * 3600


FAILURES: dict[str, tuple[ProviderError, int, bool]] = {
    "no-capacity": (ProviderUnavailableError("none", retry_after_seconds=3), 503, True),
    "timeout": (ProviderTimeoutError("late"), 504, False),
    "rejected": (ProviderRejectedError("no"), 500, False),
    "failed": (JobFailedError("no"), 500, False),
}


@pytest.mark.parametrize(("error", "status", "retry"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("path", HOLDING)
async def test_5xx_is_tried_again_only_where_nothing_was_paid(
    world: ApiWorld, path: str, error: ProviderError, status: int, retry: bool
) -> None:
    """A client that repeats a timeout by itself pays twice."""
    world.scripted.otherwise = Act(error=error)

    answer = await world.http.post(path, json=BODIES[path])

    assert (answer.status_code, answer.headers.get("x-should-retry")) == (status, None if retry else "false")
    assert shape_of(answer)[0] == error.public_message


async def test_500_says_nothing_of_a_bug(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the log, with the id that the answer carries."""

    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a secret place")

    monkeypatch.setattr(world.ledger, "hold", broken)
    answer = await world.http.post("/v1/embeddings", json=BODIES["/v1/embeddings"])

    assert (answer.status_code, shape_of(answer)[0]) == (500, GateError.default_message)
    [line] = world.log.lines("request.failed")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert "a secret place" in line["traceback"]


async def test_503_when_nothing_can_be_counted(world: ApiWorld) -> None:
    world.ledger.hold_errors = [LedgerError("away")]
    answer = await world.http.post("/v1/embeddings", json=BODIES["/v1/embeddings"])

    assert answer.status_code == 503


async def test_a_page_of_the_app_may_call(world: ApiWorld) -> None:
    """With the headers that OpenAI's client sends from a browser. Not all of them leave `user-agent` out."""
    names = ("authorization", "content-type", "idempotency-key", "user-agent", "x-stainless-lang")
    preflight = await world.http.options(
        "/v1/chat/completions",
        headers={
            "origin": APP,
            "access-control-request-method": "POST",
            "access-control-request-headers": ",".join(names),
        },
    )
    answer = await world.http.post("/v1/chat/completions", json=CHAT, headers={"origin": APP})

    assert preflight.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert "x-ratelimit-remaining-requests" in answer.headers["access-control-expose-headers"]


async def test_a_token_that_was_revoked_lists_no_models(world: ApiWorld) -> None:
    """Doors that hold nothing find out themselves."""
    bearer = {"authorization": f"Bearer {await world.token()}"}
    assert (await world.http.get("/v1/models", headers=bearer)).status_code == 200
    [kept] = await world.tokens.of_owner("alice")
    assert kept.last_used_at is not None

    await world.tokens.end(kept)

    assert (await world.http.get("/v1/models", headers=bearer)).status_code == 401


async def test_the_openapi_document_is_for_anybody(world: ApiWorld) -> None:
    """Tools read it before anybody signed in."""
    answer = await world.http.get("/openapi.json", headers={"authorization": ""})

    assert (answer.status_code, answer.json()["openapi"]) == (200, "3.1.0")
    assert isinstance(world.api, HttpApi)


async def test_fifty_retries_of_one_key_at_once_run_one_job(world: ApiWorld) -> None:
    """A client that lost its connection asks again and again."""
    world.scripted.otherwise = Act(outputs=[[1.0]], delay_seconds=0.2)
    headers, body = {"idempotency-key": "one"}, BODIES["/v1/embeddings"]

    answers = await asyncio.gather(
        *(world.http.post("/v1/embeddings", json=body, headers=headers) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert (len(world.scripted.orders), await world.requests()) == (1, 1)
