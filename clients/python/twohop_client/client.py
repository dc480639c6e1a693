"""`TwohopClient`: what a script calls."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from twohop_client.errors import TwohopError
from twohop_client.retries import with_retries

_TIMEOUT_SECONDS = 250.0
"""A little above the longest that a call may be held open, so that it is the gate that ends it."""
_GOES_ON = ("held", "running")
_ASK_SECONDS_FIRST = 1.0
_ASK_SECONDS_MAX = 10.0

Json = dict[str, Any]


class Stream:
    """What a model writes, as it writes it: iterate over it, then take `answer`. Leaving it early stops the job.

    A job that takes longer than its call makes no more parts, and is followed to its answer.
    """

    def __init__(self, parts: Generator[Json, None, None], ended: Callable[[Json], Json]) -> None:
        self._parts = parts
        self._ended = ended
        self.answer: Json | None = None
        """The answer, once the stream has ended."""

    def __iter__(self) -> Iterator[Json]:
        """Yield `{"text": …}`, or `{"progress": {"done", "total"}}`.

        Raises:
            TwohopError: it was refused, or it failed.
        """
        try:
            for event in self._parts:
                if "result" in event:
                    self.answer = self._ended(event["result"])
                    return
                yield event["message"]
        finally:
            self._parts.close()  # Ends the call, if it has not ended.


class TwohopClient:
    """A gate, and a credential for it.

    Args:
        url: where the callables are: `https://us-central1-my-project.cloudfunctions.net`, or beside `make dev`
            `http://127.0.0.1:8787/demo-twohop/us-central1`.
        token: an API token (`th_…`), or a Firebase ID token.
        timeout_seconds: how long one try may take.
        tries_max: how often a request is sent at most.
    """

    def __init__(
        self, url: str, token: str, *, timeout_seconds: float = _TIMEOUT_SECONDS, tries_max: int = 5
    ) -> None:
        self._url = url.rstrip("/")
        self._tries_max = tries_max
        self._http = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def infer(self, inputs: Any, **options: Any) -> Json:
        """Run a request and return its answer, however long it takes: a job that outlives its call is followed.

        Args:
            inputs: what the model's task takes.
            options: `parameters` of the task, the `model`'s name, an `idempotency_key`.

        Raises:
            TwohopError: it was refused, or it failed.
        """
        return self._ended(self._call("infer", _request(inputs, **options)))

    def stream(self, inputs: Any, **options: Any) -> Stream:
        """Return what the model writes, as it writes it. Arguments as `infer`."""
        return Stream(self._events(_request(inputs, **options)), self._ended)

    def submit(self, inputs: Any, **options: Any) -> Json:
        """Let a request run without waiting for it, and return its job. Arguments and errors as `infer`."""
        return self._call("submit", _request(inputs, **options))

    def watch(self, job_id: str) -> Iterator[Json]:
        """Yield a job each time that its state has changed, the last time when it has ended.

        Raises:
            TwohopError: there is no such job, or it cannot be asked for.
        """
        seconds, state = _ASK_SECONDS_FIRST, None
        while True:
            job = self.job(job_id)
            if job["state"] != state:
                yield job
            state = job["state"]
            if state not in _GOES_ON:
                return
            time.sleep(seconds)
            seconds = min(seconds * 1.5, _ASK_SECONDS_MAX)

    def result(self, job_id: str) -> Json:
        """Wait for a job's end, and return it with its outputs.

        Raises:
            TwohopError: it failed; or as `watch`.
        """
        *_, last = self.watch(job_id)
        if "error" in last:
            raise TwohopError.of({**last["error"], "details": {"job_id": job_id}})
        if "result_url" in last:
            last["outputs"] = self._fetched(last["result_url"])
        return last

    def job(self, job_id: str) -> Json:
        """Return a job as it stands."""
        return self._call("job", {"job_id": job_id})

    def cancel(self, job_id: str) -> Json:
        """Stop a job, and return it as it then ended."""
        return self._call("cancel", {"job_id": job_id})

    def quota(self) -> Json:
        """Return what is left of each limit. It does not count as a use."""
        left: Json = self._call("quota", None)["quota"]
        return left

    def _ended(self, answer: Json) -> Json:
        """See an answer through to its end: of a job that goes on, or whose outputs are elsewhere."""
        if answer["state"] in _GOES_ON or "result_url" in answer:
            return answer | self.result(answer["job_id"])
        return answer

    def _fetched(self, url: str) -> Any:
        """Fetch an answer from where it is kept. The address is its own key: the credential is not for its keeper."""
        try:
            return httpx.get(url, timeout=self._http.timeout).raise_for_status().json()
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise TwohopError.of_wire(exc) from exc

    def _call(self, name: str, data: Any) -> Json:
        return with_retries(lambda: self._once(name, data), tries_max=self._tries_max)

    def _once(self, name: str, data: Any) -> Json:
        try:
            response = self._http.post(f"{self._url}/{name}", json={"data": data})
            answer: Mapping[str, Any] = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise TwohopError.of_wire(exc) from exc
        if "error" in answer:
            raise TwohopError.of(answer["error"])
        if "result" not in answer:
            raise TwohopError.of_wire(KeyError("result"))
        result: Json = answer["result"]
        return result

    def _events(self, request: Json) -> Generator[Json, None, None]:
        headers = {"accept": "text/event-stream"}
        try:
            with self._http.stream("POST", f"{self._url}/infer", json={"data": request}, headers=headers) as response:
                for line in response.iter_lines():
                    if not line.startswith("data: "):
                        continue  # A heartbeat, or the end of an event.
                    event: Json = json.loads(line.removeprefix("data: "))
                    if "error" in event:
                        raise TwohopError.of(event["error"])
                    yield event
                    if "result" in event:
                        return
        except (httpx.HTTPError, json.JSONDecodeError) as exc:
            raise TwohopError.of_wire(exc) from exc
        # Somebody on the way answered instead, or the connection was closed before the end.
        raise TwohopError.of_wire(EOFError())


def _request(
    inputs: Any,
    *,
    parameters: Mapping[str, Any] | None = None,
    model: str | None = None,
    idempotency_key: str | None = None,
) -> Json:
    request: Json = {"inputs": inputs, "idempotency_key": idempotency_key or uuid.uuid4().hex}
    if parameters is not None:
        request["parameters"] = dict(parameters)
    if model is not None:
        request["model"] = model
    return request
