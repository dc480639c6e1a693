"""A worker behind plain HTTP: one POST runs one job, and the answer is the job's end."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from urllib.parse import SplitResult

from gate import wire
from gate.errors import ProviderError, ProviderRejectedError, ProviderTimeoutError, ProviderUnavailableError
from gate.ports import Clock
from gate.provider import Capabilities, Order, Part, ProviderHealth, ProviderJob, ProviderState, ProviderUsage
from gate.providers._events import EventReader, part_of
from gate.providers._http import Answer, Ask, HttpHost
from gate.providers._results import ended, failed, left_ms, read_result, told, too_large

_ANSWER_SECONDS = 5.0
_PATIENCE_SECONDS_MAX = 8.0
_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")
_QUESTION_SECONDS = 60
"""How long a signed question about a job is good for."""
_INPUT_MESSAGE = "The model does not take this input."
_REMEDIES = {
    401: "it does not take WORKER_SECRET; set the same one on both sides",
    403: "it does not take WORKER_SECRET, or its host lets nobody in",
    404: "there is nothing at the address's path",
    405: "the address does not take POST",
    413: "the request is larger than it takes",
}

Sign = Callable[[Order], Mapping[str, str]]
"""Returns the headers that prove where an order comes from, as of now."""


def capabilities_over_http(name: str, *, twohop: bool = True, queues: bool = True) -> Capabilities:
    """Return what a worker behind plain HTTP can do.

    Any app runs a job while the call is held open. Twohop's worker also notices when its client leaves, and keeps
    jobs that outlive their call, on a host that does not stop it in between.
    """
    return Capabilities(
        name=name,
        queues=twohop and queues,
        stops_at_timeout=False,
        bytes_in_max=10_000_000,
        bytes_out_max=20_000_000,
        retention_seconds=1_800 if twohop and queues else 0,
        wait_seconds_max=900,
        drops_when_left=twohop,
        takes_names=twohop and queues,
    )


class WorkerOverHttp:
    """Sends orders to one address. What containers and the local worker have in common."""

    def __init__(
        self, *, name: str, url: SplitResult, sign: Sign, clock: Clock, http: HttpHost, start_seconds_max: float
    ) -> None:
        self._name = name
        self._url = url.geturl()
        self._host = f"{url.scheme}://{url.netloc}"
        self._sign = sign
        self._clock = clock
        self._http = http
        self._start_seconds_max = start_seconds_max

    async def run(self, order: Order, *, bytes_in_max: int, patient: bool = True) -> ProviderJob:
        """Run an order to its end.

        Raises:
            ProviderError: as `Provider.submit` says.
        """
        left_seconds = self._left_seconds(order, bytes_in_max)
        answer = await self._http.ask(
            lambda: self._post(order),
            read_seconds=self._read_seconds(order, left_seconds),
            patience_seconds=_patience_seconds(left_seconds) if patient else 0,
        )
        return self._job(answer, order)

    async def stream(
        self, order: Order, *, kept_after_seconds: float | None, bytes_in_max: int, patient: bool = True
    ) -> AsyncGenerator[Part | ProviderJob, None]:
        """Run an order, and yield what it makes and then its end.

        Args:
            order: what is to be done.
            kept_after_seconds: from when on the worker goes on by itself; it is yielded as it then stands. None for
                a job that ends with its connection.
            bytes_in_max: how large its body may be.
            patient: whether a worker that cannot take it right now is asked again.

        Raises:
            ProviderError: as `Provider.submit` says.
        """
        left_seconds = self._left_seconds(order, bytes_in_max)
        path = None if kept_after_seconds is None else _run_path(kept_after_seconds)
        lines = self._http.lines(
            lambda: self._post(order, path=path),
            read_seconds=self._read_seconds(order, left_seconds),
            patience_seconds=_patience_seconds(left_seconds) if patient else 0,
        )
        begun, reader = time.monotonic(), EventReader()
        try:
            async with aclosing(lines):
                async for line in lines:
                    if isinstance(line, Answer):
                        step: Part | ProviderJob | None = self._job(line, order, path)
                    else:
                        step = _step(reader, line, order, begun)
                    if step:
                        yield step
                    if isinstance(step, ProviderJob):
                        return
        except ProviderTimeoutError:
            if not reader.is_used:
                raise
        # It died in the middle, and has taken no more than the time that went by.
        yield failed(order.job_id, _at_most(_ms_since(begun), order), code=ProviderUnavailableError.code)

    async def keep(
        self, order: Order, *, wait_seconds: float, bytes_in_max: int, patient: bool = True
    ) -> ProviderJob:
        """Hand an order over that goes on if it takes longer than the wait.

        Raises:
            ProviderError: as `Provider.submit` says.
        """
        left_seconds = self._left_seconds(order, bytes_in_max)
        wait_seconds = min(wait_seconds, left_seconds)
        path = _run_path(wait_seconds)
        answer = await self._http.ask(
            lambda: self._post(order, path=path),
            read_seconds=wait_seconds + _ANSWER_SECONDS,
            patience_seconds=_patience_seconds(left_seconds) if patient else 0,
        )
        return self._job(answer, order, path)

    async def status(self, job_id: str) -> ProviderJob:
        """Ask how a job stands that was kept.

        Raises:
            ProviderError: the worker cannot be asked.
        """
        return await self._asked(job_id, "GET", "status")

    async def cancel(self, job_id: str) -> None:
        """Stop a job that was kept.

        Raises:
            ProviderError: the worker cannot be reached.
        """
        await self._asked(job_id, "POST", "cancel")

    async def health(self) -> ProviderHealth:
        """Ask the worker itself. One that answers without knowing the question takes jobs all the same.

        Raises:
            ProviderError: there is no answer.
        """
        ask = Ask(method="GET", url=self._beside("/readyz"), headers={})
        answer = await self._http.ask(lambda: ask, read_seconds=_ANSWER_SECONDS)
        ready = answer.ok or answer.status in (404, 405)
        return ProviderHealth(ready=ready, workers_running=int(ready), jobs_queued=0)

    def _left_seconds(self, order: Order, bytes_in_max: int) -> float:
        """Return how long the answer is still waited for.

        Raises:
            ProviderUnavailableError: not at all.
            ProviderRejectedError: the order is too large.
        """
        left_seconds = left_ms(order, self._clock, self._name) / 1000
        if len(order.body) > bytes_in_max:
            raise ProviderRejectedError(f"{self._name}: the request has more than {bytes_in_max} bytes")
        return left_seconds

    def _read_seconds(self, order: Order, left_seconds: float) -> float:
        return min(order.execution_ms_max / 1000 + self._start_seconds_max + _ANSWER_SECONDS, left_seconds)

    async def _asked(self, job_id: str, method: str, word: str) -> ProviderJob:
        if not _JOB_ID.fullmatch(job_id):
            return ProviderJob(provider_job_id=job_id, state=ProviderState.EXPIRED)  # The gate makes no such id.
        answer = await self._http.ask(
            lambda: self._question(job_id, method, word), read_seconds=_ANSWER_SECONDS, patience_seconds=2
        )
        if answer.status == 404:
            return ProviderJob(provider_job_id=job_id, state=ProviderState.EXPIRED)
        if not answer.ok:
            raise self._refusal(answer)
        return kept_job(job_id, answer)

    def _question(self, job_id: str, method: str, word: str) -> Ask:
        expires_at = self._clock.now() + timedelta(seconds=_QUESTION_SECONDS)
        asking = Order(job_id=job_id, body=word.encode(), execution_ms_max=0, expires_at=expires_at)
        return Ask(method=method, url=self._beside(f"/{word}/{job_id}"), headers=self._sign(asking), body=b"")

    def _beside(self, path: str) -> str:
        """Return the address of another of the worker's routes."""
        return f"{self._host}{path}"

    def _post(self, order: Order, *, path: str | None = None) -> Ask:
        headers = {"content-type": "application/json", **self._sign(order)}
        if path and order.webhook:
            headers[wire.WEBHOOK_HEADER] = order.webhook
        return Ask(method="POST", url=self._beside(path) if path else self._url, headers=headers, body=order.body)

    def _job(self, answer: Answer, order: Order, path: str | None = None) -> ProviderJob:
        if not answer.whole:
            return too_large(order.job_id, _at_most(answer.elapsed_ms, order))
        if answer.status == 202 and path:
            return _kept(order)
        if answer.ok:
            return _answered(answer, order)
        failure = _failure_told(answer)
        if answer.status in (400, 422):
            return _refused_input(failure, order)
        if answer.status == 503 and not answer.took_nothing:
            # Cold, full, or dead in the middle of the job: it has cost no more than the time that went by.
            return failed(order.job_id, _at_most(answer.elapsed_ms, order), code=ProviderUnavailableError.code)
        if answer.status >= 500 and answer.status != 503 and (failure or answer.status == 500):
            return _crashed(failure, answer, order)
        raise self._refusal(answer)

    def _refusal(self, answer: Answer) -> ProviderError:
        if answer.status == 409 or answer.took_nothing:
            retry = answer.retry_hint_seconds
            return ProviderUnavailableError(f"{self._name}: HTTP {answer.status}", retry_after_seconds=retry)
        if answer.status >= 500:
            return ProviderTimeoutError(f"{self._name}: HTTP {answer.status}; the job may have run")
        remedy = _REMEDIES.get(answer.status, "the address answers, and it is no worker")
        return ProviderRejectedError(f"{self._name}: HTTP {answer.status}; {remedy}")


def _run_path(wait_seconds: float) -> str:
    """Return the route of jobs that go on if they take longer than the wait."""
    return f"/run?wait={max(0, int(wait_seconds * 1000))}"


def _kept(order: Order) -> ProviderJob:
    return ProviderJob(provider_job_id=order.job_id, state=ProviderState.RUNNING)


def kept_job(job_id: str, answer: Answer) -> ProviderJob:
    """Read a job that the worker keeps.

    Raises:
        ProviderTimeoutError: it is none; how it stands is not known.
    """
    try:
        fields = answer.json()
        status = fields["status"]
        if status == "CANCELLED":
            usage = ProviderUsage(execution_ms=int(fields["usage"]["execution_ms"]))
            return ProviderJob(provider_job_id=job_id, state=ProviderState.CANCELLED, usage=usage)
        if status not in ("COMPLETED", "FAILED"):
            return ProviderJob(provider_job_id=job_id, state=ProviderState.RUNNING)
        result = wire.WorkResult.from_json(fields["result"])
    except (ValueError, KeyError, TypeError, wire.WireError) as exc:
        raise ProviderTimeoutError("the worker's word about a job cannot be read") from exc
    return ended(job_id, result, _told(result))


def _answered(answer: Answer, order: Order) -> ProviderJob:
    try:
        result = read_result(answer.json())
    except ValueError:
        return failed(order.job_id, _at_most(answer.elapsed_ms, order), message="The model's answer cannot be read.")
    return ended(order.job_id, result, _told(result) or _at_most(answer.elapsed_ms, order))


def _refused_input(result: wire.WorkResult | None, order: Order) -> ProviderJob:
    """Return the job whose input the worker did not take; it was not run."""
    usage = (result and _told(result)) or ProviderUsage(execution_ms=0)
    message = result.failure.message if result and result.failure else _INPUT_MESSAGE
    return failed(order.job_id, usage, code="invalid-argument", message=message)


def _crashed(result: wire.WorkResult | None, answer: Answer, order: Order) -> ProviderJob:
    measured = _at_most(answer.elapsed_ms, order)
    return ended(order.job_id, result, _told(result) or measured) if result else failed(order.job_id, measured)


def _failure_told(answer: Answer) -> wire.WorkResult | None:
    """Return the failure that a Twohop worker put into its answer; None if this is another's words."""
    try:
        result = wire.WorkResult.from_json(answer.json())
    except (wire.WireError, ValueError):
        return None
    return result if result.failure else None


def _told(result: wire.WorkResult) -> ProviderUsage | None:
    if result.usage is None:
        return None
    return told(result.usage, execution_ms=result.usage.execution_ms)


def _at_most(elapsed_ms: int, order: Order) -> ProviderUsage:
    """Return what the job can have taken at most. What is beyond its execution's limit was the worker's start."""
    execution_ms = min(elapsed_ms, order.execution_ms_max)
    return ProviderUsage(execution_ms=execution_ms, start_ms=elapsed_ms - execution_ms)


def _step(reader: EventReader, line: bytes, order: Order, begun: float) -> Part | ProviderJob | None:
    """Return what a line of the stream brings; None if it brings nothing yet."""
    event = reader.take(line)
    if event is None:
        return None
    name, fields = event
    if name == "result":
        result = read_result(fields)
        return ended(order.job_id, result, _told(result) or _at_most(_ms_since(begun), order))
    return _kept(order) if name == "kept" else part_of(name, fields)


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _patience_seconds(left_seconds: float) -> float:
    return min(_PATIENCE_SECONDS_MAX, left_seconds / 4)
