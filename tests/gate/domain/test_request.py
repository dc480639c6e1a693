"""What may be asked, and what is refused before anything is spent."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.domain.request import InferRequest, check_raw_size, check_size, payload_digest
from gate.errors import InvalidRequestError
from gate.wire import WorkBody
from tests.makers import make_plan

TIGHT = make_plan(input_items_max=3, input_bytes_max=200, input_characters_max=20)


def check(inputs: Any, **changes: Any) -> None:
    request = InferRequest(inputs=inputs, **changes)
    check_size(request, request.body("m"), TIGHT)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param("x" * 20, id="text"),
        pytest.param(["x" * 10, "", "x" * 10], id="texts"),
        pytest.param({"a": "x" * 19}, id="object"),
        pytest.param({"n": 10**15}, id="number"),
    ],
)
def test_inputs_up_to_the_limits_pass(inputs: Any) -> None:
    """The limit itself is allowed."""
    check(inputs)


@pytest.mark.parametrize(
    ("inputs", "limit", "sent", "allowed"),
    [
        pytest.param(["a"] * 4, "input_items_max", 4, 3, id="items"),
        pytest.param({"a": 1, "b": 2, "c": 3, "d": 4}, "input_items_max", 4, 3, id="fields"),
        pytest.param("x" * 21, "input_characters_max", 21, 20, id="characters"),
        pytest.param(["x" * 11, "x" * 10], "input_characters_max", 21, 20, id="characters-together"),
        pytest.param({"k" * 20: {"l": []}}, "input_characters_max", 21, 20, id="keys-are-characters"),
        pytest.param({"a": [["x" * 10, {"b": "x" * 9}]]}, "input_characters_max", 21, 20, id="nested"),
    ],
)
def test_inputs_over_a_limit_are_refused_and_told_which(inputs: Any, limit: str, sent: int, allowed: int) -> None:
    """A client can cut its input by these facts."""
    with pytest.raises(InvalidRequestError) as refusal:
        check(inputs)

    assert refusal.value.details == {"limit": limit, "limit_value": allowed, "sent": sent}


def test_parameters_count_as_bytes_too() -> None:
    """Else the limit could be walked around."""
    with pytest.raises(InvalidRequestError, match="bytes"):
        check("x", parameters={"p": "y" * 200})


def test_bytes_are_counted_as_they_are_sent() -> None:
    """A character may be four of them."""
    request = InferRequest(inputs="😀" * 20)
    body = request.body("m")

    assert len(body) == len('{"model":"m","inputs":"","parameters":{}}') + 80
    check_size(request, body, TIGHT)


@pytest.mark.parametrize("inputs", ["", [], {}], ids=["text", "list", "object"])
def test_empty_inputs_are_refused(inputs: Any) -> None:
    """There is nothing to run, so nothing must be held."""
    with pytest.raises(InvalidRequestError, match="empty"):
        check(inputs)


def test_a_lone_surrogate_is_refused() -> None:
    """It has no bytes to send."""
    with pytest.raises(InvalidRequestError, match="surrogate"):
        InferRequest(inputs="\ud800").body("m")


@pytest.mark.parametrize("depth", [500, 900, 1_500, 100_000])
def test_any_nesting_is_measured_or_refused(depth: int) -> None:
    """A deep value must not become our error."""
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    request = InferRequest(inputs={"a": value})

    try:
        check_size(request, request.body("m"), make_plan(input_bytes_max=10**6))
    except InvalidRequestError as exc:
        assert "nested" in str(exc)  # noqa: PT017 - either way out is fine, and this says which


def test_measuring_goes_as_deep_as_any_value() -> None:
    """What could be decoded on a shallow stack is counted on a deep one."""
    value: Any = "x" * 21
    for _ in range(5_000):
        value = [value]

    with pytest.raises(InvalidRequestError, match="22 characters"):
        check_size(InferRequest(inputs={"a": value}), b"", TIGHT)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({}, id="no-inputs"),
        pytest.param({"inputs": None}, id="null"),
        pytest.param({"inputs": 7}, id="number"),
        pytest.param({"inputs": [1]}, id="list-of-numbers"),
        pytest.param({"inputs": ["a", None]}, id="list-with-null"),
        pytest.param({"inputs": "a", "parameters": []}, id="parameters-list"),
        pytest.param({"inputs": "a", "parameters": None}, id="parameters-null"),
        pytest.param({"inputs": "a", "model": 1}, id="model-number"),
        pytest.param({"inputs": "a", "model": "m" * 201}, id="model-too-long"),
        pytest.param({"inputs": "a", "idempotency_key": ""}, id="key-empty"),
        pytest.param({"inputs": "a", "idempotency_key": "k" * 201}, id="key-too-long"),
        pytest.param({"inputs": "a", "idempotency_key": 7}, id="key-number"),
        pytest.param({"inputs": "a", "plan": "pro"}, id="unknown-field"),
    ],
)
def test_a_payload_that_is_no_request_is_refused(payload: dict[str, Any]) -> None:
    """Nothing is guessed, and no field passes unread."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(payload), type=InferRequest)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.text(min_size=1, max_size=20)
    | st.lists(st.text(max_size=5), min_size=1)
    | st.dictionaries(st.text(max_size=5), _values, min_size=1)
)
def test_the_worker_reads_what_the_caller_wrote(inputs: Any) -> None:
    """From the client's JSON to hop 2's: nothing is lost, changed or added."""
    request = msgspec.json.decode(json.dumps({"inputs": inputs, "parameters": {"p": 1}}), type=InferRequest)

    assert WorkBody.decode(request.body("m")) == WorkBody(model="m", inputs=inputs, parameters={"p": 1})


def test_another_payload_has_another_digest() -> None:
    """Inputs, parameters and model all tell one request from another."""
    bodies = [
        InferRequest(inputs="a").body("m"),
        InferRequest(inputs="b").body("m"),
        InferRequest(inputs="a", parameters={"p": 1}).body("m"),
        InferRequest(inputs="a").body("n"),
        InferRequest(inputs=["a"]).body("m"),
    ]

    assert len({payload_digest(body) for body in bodies}) == len(bodies)


def test_the_key_is_no_part_of_the_payload() -> None:
    """Else the same key could never conflict with itself, and two keys never be compared."""
    assert InferRequest(inputs="a", idempotency_key="k").body("m") == InferRequest(inputs="a").body("m")


@pytest.mark.parametrize(
    ("size_bytes", "refused"), [(1_000, False), (6_000 + 2_000, False), (6_000 + 2_001, True)], ids=str
)
def test_a_request_that_must_be_too_large_is_refused_before_it_is_looked_at(size_bytes: int, refused: bool) -> None:
    """However it is escaped: what a text needs at most is six bytes a byte, and a little around it."""
    plan = make_plan(input_bytes_max=1_000)

    with pytest.raises(InvalidRequestError, match="too large") if refused else nullcontext():
        check_raw_size(size_bytes, plan)
