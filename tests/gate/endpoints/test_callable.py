"""The door as a Firebase SDK meets it: every answer has the protocol's shape, whatever was sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import Decoder

from gate.domain.answer import Answer
from gate.domain.job import JobState
from gate.domain.meter import LimitName, Remaining
from gate.domain.plan import Cohort
from gate.domain.request import InferRequest, check_size
from gate.endpoints.answers import answer_json, quota_json
from gate.endpoints.callable import Call, CallableDoor, Envelope
from gate.endpoints.cors import Origins
from gate.endpoints.incoming import BODY_BYTES_MAX
from gate.errors import (
    ConflictError,
    ForbiddenError,
    GateError,
    InvalidRequestError,
    LedgerError,
    ProviderTimeoutError,
    QuotaExceededError,
    SettingsError,
    UnauthenticatedError,
)
from gate.money import Spent
from gate.ports import Caller, Credentials
from tests.gate.doubles import WatchedLog
from tests.makers import GENEROUS, NOON, make_job

APP, EXTENSION, ELSEWHERE = "https://app.example.com", "chrome-extension://abcdefghijklmnop", "https://evil.example"
EVENT_STREAM = {"accept": "text/event-stream"}
GOOD: dict[str, Any] = {"data": {"inputs": "hello"}}

ALICE = Caller(uid="alice", cohort=Cohort.VERIFIED)
Handler = Callable[[Caller, InferRequest], Awaitable[dict[str, Any]]]


class Door:
    """A door around a handler that remembers who called."""

    def __init__(self, answer: dict[str, Any] | Exception | Handler | None = None, **options: Any) -> None:
        self.calls: list[tuple[Caller, InferRequest]] = []
        self.asked: list[Credentials] = []
        self.log = WatchedLog()
        self._answer = {"outputs": 1} if answer is None else answer
        origins = Origins((APP, EXTENSION), allow_loopback=options.get("allow_loopback", False))
        app = CallableDoor(
            self._handle, Decoder(Envelope[InferRequest]), verifier=self, origins=origins, log=self.log
        )
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hop1")

    async def verify(self, credentials: Credentials) -> Caller:
        """Believe everybody but strangers, and remember what they brought."""
        self.asked.append(credentials)
        if credentials.bearer == "stranger":
            raise UnauthenticatedError("a stranger")
        return ALICE

    async def _handle(self, call: Call[InferRequest]) -> dict[str, Any]:
        self.calls.append((call.caller, call.payload))
        if isinstance(self._answer, Exception):
            raise self._answer
        if callable(self._answer):
            return await self._answer(call.caller, call.payload)
        return self._answer

    async def post(
        self, body: Any = GOOD, *, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        sent = json.dumps(body).encode() if content is None else content
        return await self._client.post(
            "/", content=sent, headers={"content-type": "application/json", **(headers or {})}
        )

    async def request(self, method: str, **options: Any) -> httpx.Response:
        return await self._client.request(method, "/", **options)


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the one error of an answer, whose shape is the protocol's."""
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"status", "message", "details"}
    return error


async def as_the_gate_does(_: Caller, request: InferRequest) -> dict[str, Any]:
    """Read and measure a request as the service does before it spends anything."""
    body = request.body("m")
    check_size(request, body, GENEROUS)
    return {"bytes": len(body)}


async def test_a_call_is_answered_with_its_result() -> None:
    """In the one field that the SDK reads."""
    door = Door({"outputs": [1, 2]})

    response = await door.post(headers={"authorization": "Bearer t0ken", "x-firebase-appcheck": "app"})

    assert (response.status_code, response.json()) == (200, {"result": {"outputs": [1, 2]}})
    assert door.asked == [Credentials(bearer="t0ken", app_check="app")]
    assert door.calls == [(ALICE, InferRequest(inputs="hello"))]
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("header", "bearer"),
    [
        pytest.param("Bearer abc", "abc", id="bearer"),
        pytest.param("bearer abc", "abc", id="lower-case"),
        pytest.param("Bearer   abc  ", "abc", id="spaces"),
        pytest.param("Bearer", None, id="no-token"),
        pytest.param("Bearer ", None, id="empty-token"),
        pytest.param("Basic abc", None, id="another-scheme"),
        pytest.param("abc", None, id="no-scheme"),
        pytest.param("", None, id="empty"),
    ],
)
async def test_only_a_bearer_is_a_credential(header: str, bearer: str | None) -> None:
    """Whether it holds is the verifier's business."""
    door = Door()

    await door.post(headers={"authorization": header})

    assert door.asked[0].bearer == bearer


async def test_of_a_strangers_request_not_even_the_body_is_read() -> None:
    """Verify first: what nobody known sent costs no memory and no time."""
    door = Door()
    read = []

    async def body() -> AsyncIterator[bytes]:
        read.append(True)
        yield b"{}"

    answer = await door.post(content=body(), headers={"authorization": "Bearer stranger"})

    assert answer.status_code == 401
    assert (door.calls, read) == ([], [])


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


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        pytest.param(InvalidRequestError("no"), 400, "INVALID_ARGUMENT", id="invalid"),
        pytest.param(UnauthenticatedError("no"), 401, "UNAUTHENTICATED", id="nobody"),
        pytest.param(ForbiddenError("no"), 403, "PERMISSION_DENIED", id="forbidden"),
        pytest.param(ConflictError("no"), 409, "ALREADY_EXISTS", id="conflict"),
        pytest.param(QuotaExceededError("no"), 429, "RESOURCE_EXHAUSTED", id="quota"),
        pytest.param(LedgerError("no"), 503, "UNAVAILABLE", id="ledger"),
        pytest.param(ProviderTimeoutError("no"), 504, "DEADLINE_EXCEEDED", id="timeout"),
        pytest.param(SettingsError("no"), 400, "FAILED_PRECONDITION", id="settings"),
    ],
)
async def test_a_refusal_has_the_protocols_status_and_the_class_own_words(
    error: GateError, status: int, code: str
) -> None:
    """The reason goes to the log, with the id that the answer carries."""
    door = Door(error)

    response = await door.post()

    assert (response.status_code, error_of(response)["status"]) == (status, code)
    assert error_of(response)["message"] == error.public_message
    [line] = door.log.lines("request.refused")
    assert (line["request_id"], line["error"]) == (response.headers["x-request-id"], type(error).__name__)


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.001, "1"), (1.0, "1"), (1.4, "2"), (2.5, "3"), (43_200.0, "43200")], ids=str
)
async def test_retry_after_is_whole_seconds_and_never_too_soon(seconds: float, header: str) -> None:
    """Who comes back earlier is refused again."""
    error = QuotaExceededError("no", details={"retry_after_seconds": seconds})

    response = await Door(error).post()

    assert response.headers["retry-after"] == header
    assert error_of(response)["details"]["retry_after_seconds"] == seconds


async def test_a_refusal_that_knows_no_time_names_none() -> None:
    """Guessing would be worse."""
    assert "retry-after" not in (await Door(ForbiddenError("no")).post()).headers


def event_of(response: httpx.Response) -> dict[str, Any]:
    """Return the one event of an answer, by the JS SDK's own rule: a line that begins with `data: `."""
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    text = response.content.decode()
    assert text.startswith("data: ")
    assert text.endswith("\n\n")
    assert text.count("\n") == 2
    event: dict[str, Any] = json.loads(text.removeprefix("data: "))
    return event


async def test_a_client_that_streams_gets_its_result_as_one_event() -> None:
    """Line breaks in it notwithstanding."""
    assert event_of(await Door({"outputs": "a\nb\r\n"}).post(headers=EVENT_STREAM)) == {
        "result": {"outputs": "a\nb\r\n"}
    }


@pytest.mark.parametrize(
    "error",
    [
        UnauthenticatedError("no"),
        QuotaExceededError("no", details={"retry_after_seconds": 3}),
        InvalidRequestError("two\nlines"),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_client_that_streams_gets_refusals_as_an_event_too(error: Exception) -> None:
    """`.stream()` looks at no status, and would wait for ever."""
    event = event_of(await Door(error).post(headers=EVENT_STREAM))

    assert set(event["error"]) == {"status", "message", "details"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        pytest.param(b"{", {}, id="rubbish"),
        pytest.param(b"{}", {"content-type": "text/plain"}, id="content-type"),
        pytest.param(b"{}", {"origin": ELSEWHERE}, id="origin"),
    ],
)
async def test_a_client_that_streams_gets_an_event_for_what_is_malformed(
    content: bytes, headers: dict[str, str]
) -> None:
    """Also when the handler never ran."""
    event = event_of(await Door().post(content=content, headers={**headers, **EVENT_STREAM}))

    assert event["error"]["status"] in ("INVALID_ARGUMENT", "PERMISSION_DENIED")


@pytest.mark.parametrize("origin", [APP, EXTENSION])
async def test_a_page_on_the_list_may_call(origin: str) -> None:
    """A web app, or a browser plugin by its id."""
    response = await Door().post(headers={"origin": origin})

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "retry-after" in response.headers["access-control-expose-headers"]


async def test_a_page_on_the_list_can_read_a_refusal() -> None:
    """Without the header, the browser would show a network error instead."""
    response = await Door(QuotaExceededError("no")).post(headers={"origin": APP})

    assert response.status_code == 429
    assert response.headers["access-control-allow-origin"] == APP


async def test_a_page_on_the_list_can_read_that_we_failed() -> None:
    """The same for a bug."""
    response = await Door(ZeroDivisionError()).post(headers={"origin": APP})

    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param(ELSEWHERE, id="another"),
        pytest.param("null", id="null"),
        pytest.param("http://app.example.com", id="another-scheme"),
        pytest.param("https://app.example.com:8443", id="another-port"),
        pytest.param("https://app.example.com.evil.example", id="longer"),
        pytest.param("chrome-extension://another", id="another-plugin"),
        pytest.param("http://localhost:5000", id="loopback-when-deployed"),
        pytest.param("", id="empty"),
    ],
)
async def test_a_page_that_is_not_on_the_list_is_refused_before_the_handler_runs(origin: str) -> None:
    """The browser would hide the answer, but the GPU would have run."""
    door = Door()

    response = await door.post(headers={"origin": origin})

    assert (response.status_code, error_of(response)["status"]) == (403, "PERMISSION_DENIED")
    assert "access-control-allow-origin" not in response.headers
    assert door.calls == []


async def test_a_caller_that_is_no_browser_sends_no_origin_and_may_call() -> None:
    """Who it is, is the token's business."""
    assert (await Door().post()).status_code == 200


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        pytest.param("http://localhost:5000", True, id="localhost"),
        pytest.param("http://127.0.0.1", True, id="ip4"),
        pytest.param("http://[::1]:8080", True, id="ip6"),
        pytest.param("http://localhost.evil.example", False, id="longer"),
        pytest.param("http://evil.example/localhost:5000", False, id="within"),
    ],
)
async def test_this_machines_pages_may_call_where_that_is_allowed(origin: str, allowed: bool) -> None:
    """In development, and nowhere else."""
    response = await Door(allow_loopback=True).post(headers={"origin": origin})

    assert response.status_code == (200 if allowed else 403)
    assert ("access-control-allow-origin" in response.headers) is allowed


def preflight(origin: str, **changes: str) -> dict[str, str]:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    return {"origin": origin, **asked, **changes}


@pytest.mark.parametrize("origin", [APP, EXTENSION])
async def test_a_preflight_from_the_list_is_allowed(origin: str) -> None:
    """With the headers that the Firebase SDK sends."""
    asked = "authorization,content-type,firebase-instance-id-token,x-firebase-appcheck"
    headers = preflight(origin, **{"access-control-request-headers": asked})

    response = await Door().request("OPTIONS", headers=headers)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(preflight(ELSEWHERE), id="origin"),
        pytest.param(preflight(APP, **{"access-control-request-method": "DELETE"}), id="method"),
        pytest.param(preflight(APP, **{"access-control-request-headers": "x-other"}), id="header"),
    ],
)
async def test_any_other_preflight_is_refused(headers: dict[str, str]) -> None:
    """And the handler is not asked."""
    door = Door()

    response = await door.request("OPTIONS", headers=headers)

    assert response.status_code == 400
    assert door.calls == []


@pytest.mark.parametrize(
    "origin", ["*", "app.example.com", "https://a.com/path", "https://*.example.com", "ftp://a.com", "null", ""]
)
def test_a_list_with_what_is_no_origin_is_refused(origin: str) -> None:
    """A star would let everybody in, and a slip would let nobody in."""
    with pytest.raises(SettingsError, match="ALLOWED_ORIGINS"):
        Origins((origin,), allow_loopback=False)


async def test_a_bug_tells_nothing_and_is_logged_whole() -> None:
    """The client learns that we failed; the operator learns where."""
    door = Door(ZeroDivisionError("at users/alice"))

    response = await door.post()

    assert (response.status_code, error_of(response)) == (
        500,
        {"status": "INTERNAL", "message": "INTERNAL", "details": None},
    )
    [line] = door.log.lines("request.failed")
    assert "ZeroDivisionError: at users/alice" in line["traceback"]
    assert "Traceback" in line["traceback"]
    assert line["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"outputs": "\ud800"}, id="lone-surrogate"),
        pytest.param({"outputs": {1, 2}.__iter__()}, id="no-json"),
        pytest.param(InvalidRequestError("the worker says \ud800"), id="surrogate-in-a-refusal"),
    ],
)
@pytest.mark.parametrize("headers", [{}, EVENT_STREAM], ids=["plain", "stream"])
async def test_an_answer_that_cannot_be_written_is_our_error(answer: Any, headers: dict[str, str]) -> None:
    """In the protocol's shape like any other; a model may answer anything."""
    door = Door(answer)

    response = await door.post(headers={"origin": APP, **headers})

    error = event_of(response)["error"] if headers else error_of(response)
    assert error == {"status": "INTERNAL", "message": "INTERNAL", "details": None}
    assert response.headers["access-control-allow-origin"] == APP
    assert "Error" in door.log.lines("request.failed")[0]["traceback"]


async def test_no_log_line_of_the_door_holds_a_token_or_a_payload() -> None:
    """Whether the call goes well or not."""
    for answer in (None, ForbiddenError("no"), ZeroDivisionError("a bug")):
        door = Door(answer)
        await door.post({"data": {"inputs": "pr1vate"}}, headers={"authorization": "Bearer t0ken"})
        await door.post(content=b'{"data":{"inputs":"pr1vate"', headers={"authorization": "Bearer t0ken"})

        assert not any(secret in door.log.text.getvalue() for secret in ("pr1vate", "t0ken"))


def test_an_answer_says_what_was_held_what_was_paid_and_what_is_left() -> None:
    """The shape of `infer`'s result."""
    spent = Spent(execution_ms=2_400, start_ms=100, idle_ms=5_000)
    job = make_job(state=JobState.SETTLED, settled_microdollars=120, spent=spent)
    quota = (
        Remaining(name=LimitName.REQUESTS_PER_DAY, limit=5, remaining=4, used=1, resets_at=NOON),
        Remaining(name=LimitName.CONCURRENCY, limit=2, remaining=2, used=0, resets_at=None),
    )

    answer = answer_json(Answer(job=job, outputs=[1], quota=quota))

    assert answer == {
        "job_id": job.job_id,
        "state": "settled",
        "outputs": [1],
        "usage": {
            "held_microdollars": 1_000,
            "settled_microdollars": 120,
            "gpu_seconds": 2.5,
            "useful_seconds": 2.4,
            "start_seconds": 0.1,
            "idle_seconds": 5.0,
        },
        "quota": {
            "requests_per_day": {"limit": 5, "remaining": 4, "resets_at": "2026-11-21T12:00:00+00:00"},
            "concurrency": {"limit": 2, "remaining": 2, "resets_at": None},
        },
        "repeated": False,
        "cached": False,
    }
    assert msgspec.json.decode(msgspec.json.encode(answer)) == answer
    assert quota_json(()) == {}
