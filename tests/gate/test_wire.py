"""The signature holds for exactly what was signed, and rubbish is refused as rubbish."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gate import wire
from gate.wire import SignatureError, SignedRequest, WireError, WorkBody, WorkFailure, WorkResult, WorkUsage

SECRET, OTHER = b"s" * 32, b"o" * 32
NOW = 1_795_000_000_000


def signed(**changes: Any) -> SignedRequest:
    fields: dict[str, Any] = {
        "secret": SECRET,
        "job_id": "job-1",
        "body": b'{"model":"m","inputs":"x","parameters":{}}',
        "issued_ms": NOW,
        "expires_ms": NOW + 60_000,
    }
    return wire.sign(**{**fields, **changes})


def verify(request: SignedRequest, *secrets: bytes, now_ms: int = NOW) -> None:
    wire.verify(request, secrets=secrets or (SECRET,), now_ms=now_ms)


_ids = st.text(st.characters(codec=None), max_size=20)
_times = st.integers(NOW - 1_000, NOW + 1_000)
_bodies = st.binary(max_size=60)
_text_bodies = st.text(max_size=40).map(str.encode)


@given(_ids, _bodies, st.integers(0, NOW), st.integers(NOW + 1, 2**53))
def test_what_was_signed_is_let_in(job_id: str, body: bytes, issued_ms: int, expires_ms: int) -> None:
    """Any id, any body, any time."""
    verify(signed(job_id=job_id, body=body, issued_ms=issued_ms, expires_ms=expires_ms))


@given(_ids, _bodies, _times, _times, st.data())
def test_any_change_of_a_signed_field_is_refused(
    job_id: str, body: bytes, issued_ms: int, expires_ms: int, data: st.DataObject
) -> None:
    """Nothing of a request can be exchanged, prolonged or moved to another job."""
    request = signed(job_id=job_id, body=body, issued_ms=issued_ms, expires_ms=expires_ms)
    field, values = data.draw(
        st.sampled_from(
            [("job_id", _ids), ("body", _bodies), ("issued_ms", _times), ("expires_ms", _times), ("signature", _ids)]
        )
    )
    value = data.draw(values)
    assume(value != getattr(request, field))
    change: dict[str, Any] = {field: value}

    with pytest.raises(SignatureError):
        verify(replace(request, **change))


@given(st.binary(min_size=1, max_size=60), st.data())
def test_any_flipped_bit_is_refused(body: bytes, data: st.DataObject) -> None:
    """In the body as in the signature."""
    request = signed(body=body)
    place = data.draw(st.integers(0, len(body) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = bytes([*body[:place], body[place] ^ bit, *body[place + 1 :]])

    with pytest.raises(SignatureError):
        verify(replace(request, body=changed))


def test_no_field_can_bleed_into_the_next() -> None:
    """An id that holds line breaks and numbers is not another id with other times."""
    honest = signed(job_id="a", body=f"{NOW}\n{NOW + 60_000}\nb".encode())
    forged = [
        replace(honest, job_id=f"a\n{NOW}\n{NOW + 60_000}", body=b"b"),
        replace(honest, job_id=f"a\n{NOW}"),
        replace(honest, job_id=f"a\n{NOW}\n{NOW + 60_000}\nb", body=b""),
        replace(honest, job_id="", body=b"ab"),
    ]

    for request in forged:
        with pytest.raises(SignatureError):
            verify(request)


@pytest.mark.parametrize(
    ("now_ms", "message"),
    [
        pytest.param(NOW + 60_000, "stale", id="at-expiry"),
        pytest.param(NOW + 10**9, "stale", id="long-after"),
        pytest.param(NOW - 5_001, "future", id="future"),
    ],
)
def test_a_request_holds_only_in_its_time(now_ms: int, message: str) -> None:
    """A worker that got it late drops it unrun; one whose clock is wrong says so."""
    with pytest.raises(SignatureError, match=message):
        verify(signed(), now_ms=now_ms)


@pytest.mark.parametrize("now_ms", [NOW - 5_000, NOW, NOW + 59_999])
def test_a_request_holds_within_its_time_and_some_seconds_of_skew(now_ms: int) -> None:
    """Two machines' clocks never agree wholly."""
    verify(signed(), now_ms=now_ms)


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET)], ids=["first", "second"])
def test_either_of_two_secrets_lets_in(secrets: tuple[bytes, ...]) -> None:
    """While one is rotated out, requests of both hold."""
    verify(signed(), *secrets)


@pytest.mark.parametrize("secrets", [(), (OTHER,), (SECRET + b"x",)], ids=["none", "another", "longer"])
def test_no_other_secret_lets_in(secrets: tuple[bytes, ...]) -> None:
    """And no secret at all lets nobody in."""
    with pytest.raises(SignatureError):
        wire.verify(signed(), secrets=secrets, now_ms=NOW)


@pytest.mark.parametrize("secret", [b"", b"s" * 31], ids=["empty", "a-byte-short"])
def test_a_secret_that_is_too_short_signs_nothing(secret: bytes) -> None:
    """It could be guessed; and the message does not show it."""
    with pytest.raises(ValueError, match=r"WORKER_SECRET has \d+ bytes, and needs 32") as refusal:
        signed(secret=secret)

    assert "sss" not in str(refusal.value)


def test_an_empty_secret_lets_nobody_in() -> None:
    """A worker that lost its secret must not accept what anybody can sign."""
    forged = replace(signed(), signature=wire._signature(b"", "job-1", NOW, NOW + 60_000, signed().body))

    with pytest.raises((ValueError, SignatureError)):
        verify(forged, b"")


@given(_ids, _bodies, _times, _times)
def test_a_request_survives_its_headers(job_id: str, body: bytes, issued_ms: int, expires_ms: int) -> None:
    """The body travels as it is."""
    request = signed(job_id=job_id, body=body, issued_ms=issued_ms, expires_ms=expires_ms)

    assert SignedRequest.from_headers(request.to_headers(), body) == request


@given(_ids, _text_bodies, _times, _times)
def test_a_request_survives_its_envelope(job_id: str, body: bytes, issued_ms: int, expires_ms: int) -> None:
    """And the JSON of any queue that it goes through."""
    request = signed(job_id=job_id, body=body, issued_ms=issued_ms, expires_ms=expires_ms)

    assert SignedRequest.from_envelope(json.loads(json.dumps(request.to_envelope()))) == request


HEADER_NAMES = sorted(signed().to_headers())
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(HEADER_NAMES), st.text(st.characters(codec=None)) | st.just("1")), _bodies)
def test_rubbish_headers_are_refused_as_unsigned(headers: dict[str, str], body: bytes) -> None:
    """Whatever comes from outside, one kind of error comes of it."""
    with pytest.raises(SignatureError):
        verify(SignedRequest.from_headers(headers, body))


@pytest.mark.parametrize("name", HEADER_NAMES)
def test_a_missing_header_is_refused(name: str) -> None:
    """All of it, or nothing."""
    headers = {other: value for other, value in signed().to_headers().items() if other != name}

    with pytest.raises(SignatureError, match=name):
        SignedRequest.from_headers(headers, b"")


@pytest.mark.parametrize("value", ["", "soon", "1.5", "0x10", "9" * 5_000, "-"])
def test_a_time_that_is_no_number_is_refused(value: str) -> None:
    """Also one of more digits than Python reads."""
    with pytest.raises(SignatureError):
        SignedRequest.from_headers({**signed().to_headers(), wire.EXPIRES_HEADER: value}, b"")


@given(_json | st.dictionaries(st.sampled_from(sorted(signed().to_envelope())), _json))
def test_a_rubbish_envelope_is_refused_as_unsigned(envelope: Any) -> None:
    """A queue carries any JSON, an object or not."""
    with pytest.raises(SignatureError):
        verify(SignedRequest.from_envelope(envelope))


@pytest.mark.parametrize("name", sorted(signed().to_envelope()))
@pytest.mark.parametrize("value", [None, True, 1.0, [], {}, b"x"], ids=str)
def test_an_envelopes_field_of_another_type_is_refused(name: str, value: object) -> None:
    """True is no 1, and a list no text."""
    with pytest.raises(SignatureError):
        SignedRequest.from_envelope({**signed().to_envelope(), name: value})


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_version_is_refused(version: object) -> None:
    """Its fields may mean something else."""
    with pytest.raises(SignatureError, match="version 1"):
        SignedRequest.from_envelope({**signed().to_envelope(), "version": version})


def test_an_envelope_with_a_lone_surrogate_is_refused() -> None:
    """It has no bytes that could have been signed."""
    with pytest.raises(SignatureError):
        SignedRequest.from_envelope({**signed().to_envelope(), "body": "\ud800"})


@given(st.binary(max_size=40) | _json.map(lambda value: json.dumps(value).encode()))
def test_a_body_that_is_no_work_is_refused(body: bytes) -> None:
    """What cannot be read is never run."""
    try:
        work = WorkBody.decode(body)
    except WireError:
        return
    assert isinstance(work.model, str)
    assert isinstance(work.parameters, dict)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"\xff\xfe", id="no-utf8"),
        pytest.param(b'{"model":"m","parameters":{},"inputs":' + b"9" * 5_000 + b"}", id="long-number"),
        pytest.param(b'{"model":1,"parameters":{}}', id="model-number"),
        pytest.param(b'{"model":"m"}', id="no-parameters"),
        pytest.param(b'{"model":"m","parameters":{},"stream":1}', id="stream-number"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_hostile_body_is_refused_as_unreadable(body: bytes) -> None:
    """With the one error that its reader handles."""
    with pytest.raises(WireError):
        WorkBody.decode(body)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(
            WorkResult(
                outputs=[[0.5]],
                usage=WorkUsage(
                    execution_ms=3,
                    start_ms=2,
                    tokens=1,
                    queue_ms=4,
                    batch_items=5,
                    memory_peak_mib=6,
                    phases_ms={"import": 2},
                ),
            ),
            id="outputs",
        ),
        pytest.param(WorkResult(outputs=None), id="no-outputs-no-usage"),
        pytest.param(WorkResult(failure=WorkFailure(code="internal", message="no")), id="failure"),
        pytest.param(
            WorkResult(failure=WorkFailure(code="internal", message=""), usage=WorkUsage(execution_ms=0)),
            id="failure-with-usage",
        ),
    ],
)
def test_an_answer_survives_its_way_back(result: WorkResult) -> None:
    """Outputs or failure, and what it took."""
    assert WorkResult.from_json(json.loads(json.dumps(result.to_json()))) == result


@given(_json | st.dictionaries(st.sampled_from(["outputs", "error", "usage"]), _json))
def test_any_answer_is_read_or_refused(answer: Any) -> None:
    """A container that is not Twohop's worker may answer anything."""
    try:
        result = WorkResult.from_json(answer)
    except WireError:
        return
    assert result.usage is None or result.usage.execution_ms >= 0


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="list"),
        pytest.param({}, id="empty"),
        pytest.param({"start_ms": 1}, id="no-execution"),
        pytest.param({"execution_ms": -1}, id="negative"),
        pytest.param({"execution_ms": 1.5}, id="fraction"),
        pytest.param({"execution_ms": True}, id="bool"),
        pytest.param({"execution_ms": "1"}, id="text"),
        pytest.param({"execution_ms": 1, "start_ms": None}, id="start-null"),
        pytest.param({"execution_ms": 10**30}, id="absurd"),
        pytest.param({"execution_ms": 1, "batch_items": "many"}, id="batch-text"),
        pytest.param({"execution_ms": 1, "phases_ms": [1]}, id="phases-list"),
        pytest.param({"execution_ms": 1, "phases_ms": {"load": -1}}, id="phase-negative"),
    ],
)
def test_an_absurd_usage_is_none(usage: object) -> None:
    """The job is then settled at its hold, not at what nobody can have used."""
    assert WorkResult.from_json({"outputs": 1, "usage": usage}).usage is None
