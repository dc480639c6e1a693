"""Whatever is sent to a door, it is answered in the protocol's shape, and refused before it costs anything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.endpoints.incoming import BODY_BYTES_MAX
from tests.gate.endpoints.door import GOOD, Door, as_the_gate_does, error_of


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no-data"),
        pytest.param({"data": None}, id="null"),
        pytest.param({"data": []}, id="list"),
        pytest.param({"data": {"inputs": "x"}, "extra": 1}, id="extra-top-level-key"),
        pytest.param({"data": {"inputs": "x", "extra": 1}}, id="extra-key"),
        pytest.param({"data": {"inputs": 1}}, id="wrong-type"),
        pytest.param([], id="no-object"),
        pytest.param("text", id="text"),
        pytest.param(None, id="nothing"),
    ],
)
async def test_a_body_of_another_shape_is_refused(body: Any) -> None:
    """Before the handler runs."""
    door = Door()

    response = await door.post(body)

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert door.calls == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="half"),
        pytest.param(b"\xff\xfe\x00", id="no-utf8"),
        pytest.param(b'{"data":{"inputs":"\xff"}}', id="no-utf8-inside"),
        pytest.param(b'{"data":{"inputs":"\\ud800"}}', id="lone-surrogate"),
        pytest.param(b'{"data":{"inputs":"x","\\udc00":1}}', id="lone-surrogate-in-a-key"),
        pytest.param(b'{"data":{"inputs":"a\x00b"}}', id="bare-nul"),
        pytest.param(b'{"data":{"inputs":{"n":1e999}}}', id="infinite"),
        pytest.param(b'{"data":{"inputs":{"n":NaN}}}', id="nan"),
        pytest.param(b'{"data":{"inputs":{"n":' + b"9" * 5_000 + b"}}}", id="endless-number"),
        pytest.param(b'{"data":{"inputs":"x"}}{"data":{"inputs":"x"}}', id="two-bodies"),
        pytest.param(b"[" * 100_000, id="deep-and-open"),
        pytest.param(b'{"data":{"inputs":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}}}", id="deep"),
        pytest.param(b'{"data":' * 5_000, id="deep-objects"),
    ],
)
async def test_rubbish_is_refused_as_malformed(content: bytes) -> None:
    """It is the client's fault, and never our error."""
    response = await Door(as_the_gate_does).post(content=content)

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")


async def test_a_nul_that_is_escaped_is_text_like_any_other() -> None:
    """JSON can say it, and so can a tokenizer."""
    door = Door()

    assert (await door.post({"data": {"inputs": "a\0b"}})).status_code == 200
    assert door.calls[0][1].inputs == "a\0b"


@given(st.binary(max_size=200))
async def test_any_bytes_get_an_answer_of_the_protocol(content: bytes) -> None:
    """Hypothesis looks for a body that makes us fail."""
    response = await Door(as_the_gate_does).post(content=content)

    assert response.status_code in (200, 400)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


_names = st.sampled_from(["inputs", "parameters", "model", "idempotency_key", "other"])


@given(st.fixed_dictionaries({"data": st.dictionaries(_names, _values)}))
async def test_any_json_gets_an_answer_of_the_protocol(body: dict[str, Any]) -> None:
    """The same, nearer to what could be right."""
    response = await Door(as_the_gate_does).post(body)

    assert response.status_code in (200, 400)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")], ids=["list", "object"])
async def test_nesting_up_to_any_depth_is_answered_or_refused(opening: bytes, closing: bytes) -> None:
    """Around the depth that the decoder just takes, what comes after it must not fail either."""

    async def status(depth: int) -> int:
        value = opening * depth + b"1" + closing * depth
        response = await Door(as_the_gate_does).post(content=b'{"data":{"inputs":{"a":' + value + b"}}}")
        return response.status_code

    taken, refused = 1, 100_000
    while refused - taken > 1:
        middle = (taken + refused) // 2
        taken, refused = (middle, refused) if await status(middle) == 200 else (taken, middle)
    statuses = [await status(depth) for depth in range(max(1, taken - 60), refused + 60)]

    assert set(statuses) == {200, 400}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"content-type": "text/plain"}, id="text"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, id="form"),
        pytest.param({"content-type": ""}, id="empty"),
        pytest.param({"content-type": "application/jsonp"}, id="nearly"),
    ],
)
async def test_another_content_type_is_refused(headers: dict[str, str]) -> None:
    """A form of another web page could send these without a preflight."""
    door = Door()

    response = await door.post(headers=headers)

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert door.calls == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_may_name_its_charset(content_type: str) -> None:
    """As some clients do."""
    assert (await Door().post(headers={"content-type": content_type})).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_refused(method: str) -> None:
    """Callables are called by POST; the emulator's own GET must not fail us."""
    door = Door()

    response = await door.request(method)

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert door.calls == []


async def test_a_body_that_is_too_large_is_refused_before_it_is_read_whole() -> None:
    """Nobody can fill the instance's memory."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50 * BODY_BYTES_MAX:
            sent += 1_000_000
            yield b" " * 1_000_000

    response = await Door().post(content=endless())

    assert (response.status_code, error_of(response)["status"]) == (400, "INVALID_ARGUMENT")
    assert sent <= BODY_BYTES_MAX + 2_000_000


async def test_a_body_of_the_largest_size_is_read() -> None:
    """The limit itself is allowed."""
    body = json.dumps(GOOD).encode()

    assert (await Door().post(content=body + b" " * (BODY_BYTES_MAX - len(body)))).status_code == 200


async def test_what_is_wrong_is_told_in_few_words() -> None:
    """A field's name comes from the client; neither the answer nor the log repeats megabytes of it."""
    door = Door()

    response = await door.post({"data": {"inputs": "x", "k" * 100_000: 1}})

    assert "unknown field" in error_of(response)["message"]
    assert len(response.content) < 1_000
    assert len(door.log.text.getvalue()) < 1_000
