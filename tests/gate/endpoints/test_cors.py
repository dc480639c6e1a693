"""Pages on the list may call and read what they are told; others reach no handler."""

from __future__ import annotations

import pytest

from gate.endpoints.cors import Origins
from gate.errors import QuotaExceededError, SettingsError
from tests.gate.endpoints.door import APP, ELSEWHERE, EXTENSION, Door, error_of


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
