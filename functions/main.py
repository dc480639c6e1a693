"""The deployed endpoints of hop 1: their names, their options, their secrets. Everything they do is in `gate`.

Importing this file needs no environment, no secret and no network: firebase-tools imports it to see what there is.
"""

# ruff: noqa: E402 - the collector rests while these are imported

from __future__ import annotations

import gc

# Nothing of what is imported becomes garbage, and looking for it takes a tenth of the time (ADR 0008). The collector
# goes on when hop 1 is made; in the master of the server's processes, which makes none, when it has forked.
gc.disable()

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import functions_framework.aio
from cloudevents.http.event import CloudEvent
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp

from gate import bootstrap
from gate.endpoints.straight import straight

_SECRETS = ("WORKER_SECRET", "RUNPOD_API_KEY", "TOKEN_SECRET")
_CALL = {
    "region": "us-central1",
    "memory": 512,
    "concurrency": 200,
    "max_instances": 10,
    "secrets": _SECRETS,
}

_WATCH = {"region": "us-central1", "memory": 512, "max_instances": 1, "secrets": _SECRETS}

_Handler = Callable[[Request], Awaitable[ASGIApp]]
_Listener = Callable[[CloudEvent], Awaitable[None]]


def _endpoint(**options: Any) -> Callable[[_Handler], _Handler]:
    """Publish an async handler under its own name.

    firebase-functions would call it in a thread, by Flask. Hop 1 waits for a GPU most of its time, so it is served
    by functions-framework's event loop: one instance holds hundreds of calls. What firebase-tools is told comes from
    firebase-functions all the same; its discovery has imported that package already, and a cold start never does,
    which halves it.
    """

    def publish(handler: _Handler) -> _Handler:
        _declare(handler, options)
        return functions_framework.aio.http(handler)  # type: ignore[no-any-return]  # it ships no types

    return publish


def _listener(**options: Any) -> Callable[[_Listener], _Listener]:
    """Publish an async function that is told of events, in the same way."""

    def publish(listener: _Listener) -> _Listener:
        _declare(listener, options)
        return functions_framework.aio.cloud_event(listener)  # type: ignore[no-any-return]  # as above

    return publish


def _declare(function: Callable[..., Any], options: dict[str, Any]) -> None:
    if "firebase_functions" in sys.modules:
        from declared import declare

        declare(function, **options)


@_endpoint(timeout_sec=300, invoker="public", **_CALL)
async def infer(request: Request) -> ASGIApp:
    """Run a request on the model, and count it."""
    return straight(request, (await bootstrap.hop1_for_jobs(request.scope)).infer)


@_endpoint(timeout_sec=60, invoker="public", **_CALL)
async def submit(request: Request) -> ASGIApp:
    """Let a request run on the model without waiting for it, and count it."""
    return straight(request, (await bootstrap.hop1_for_jobs(request.scope)).submit)


@_endpoint(timeout_sec=30, invoker="public", **_CALL)
async def job(request: Request) -> ASGIApp:
    """Tell callers how a job of theirs stands."""
    return straight(request, bootstrap.hop1().job)


@_endpoint(timeout_sec=60, invoker="public", **_CALL)
async def cancel(request: Request) -> ASGIApp:
    """Stop a caller's job."""
    return straight(request, bootstrap.hop1().cancel)


@_endpoint(timeout_sec=60, invoker="public", **_CALL)
async def webhook(request: Request) -> ASGIApp:
    """Be told by the provider that a job has ended."""
    return straight(request, bootstrap.hop1().webhook)


@_endpoint(timeout_sec=30, invoker="public", **_CALL)
async def quota(request: Request) -> ASGIApp:
    """Tell callers what they may still do, without counting as a use."""
    return straight(request, bootstrap.hop1().quota)


@_endpoint(timeout_sec=30, invoker="public", **_CALL)
async def tokens(request: Request) -> ASGIApp:
    """Let users make, list, revoke and delete their API tokens."""
    return straight(request, bootstrap.hop1().tokens)


@_endpoint(timeout_sec=300, invoker="public", **_CALL)
async def api(request: Request) -> ASGIApp:
    """Answer OpenAI's and Hugging Face's clients, and say in an OpenAPI document what there is."""
    return straight(request, (await bootstrap.hop1_for_jobs(request.scope)).api())


@_endpoint(schedule="every 5 minutes", **_WATCH)
async def sweep(_: Request) -> ASGIApp:
    """Settle what nobody finished, and look for what costs and should not. Only Cloud Scheduler may call this one."""
    from gate.watchroom import watchroom

    swept = await bootstrap.hop1().sweeper.sweep()
    told = await watchroom().watchdog.look()
    return JSONResponse({"swept": swept, "told": len(told)})


@_endpoint(schedule="every 1 minutes", **_WATCH)
async def ladder(_: Request) -> ASGIApp:
    """Go up the kill ladder if a threshold is reached, do what its level asks for, and look after jobs that are due.

    Only Cloud Scheduler may call this one.
    """
    from gate.watchroom import watchroom

    level = await watchroom().ladder.run()
    return JSONResponse({"kill_level": level, "swept": await bootstrap.hop1().sweeper.look_after()})


@_endpoint(schedule="12 * * * *", **_WATCH)
async def reconcile(_: Request) -> ASGIApp:
    """Hold the ledger against the provider's bill. Only Cloud Scheduler may call this one.

    At twelve past: the bill is ten minutes late, and what is on it and in no job is to be counted soon.
    """
    from gate.watchroom import watchroom

    reconciler = watchroom().reconciler
    found = await reconciler.reconcile() if reconciler else None
    return JSONResponse({"drift_percent": found and round(found.drift_percent, 2)})


@_listener(topic="twohop-budget", **_WATCH)
async def budget(event: CloudEvent) -> None:
    """Hear what Google's own budget says, up to a day late. Pub/Sub delivers it."""
    from gate.watchroom import watchroom

    await watchroom().hear_of_budget(event.get_data())


# What is there when the server forks is left out of every collection, so that the forked process goes on sharing its
# memory instead of writing a mark into each page.
os.register_at_fork(before=gc.freeze, after_in_parent=gc.enable)

if "K_SERVICE" in os.environ:
    # An instance that cannot serve must not start: the deployment fails with the reason, and the old one goes on.
    bootstrap.check(os.environ)
