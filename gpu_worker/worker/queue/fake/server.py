"""A queue to try workers against: it speaks RunPod's calls, and goes wrong as told.

It is made of what the SDK's source shows of the real one. What the real one does with jobs whose worker falls silent
was not seen: this one delivers a job again when no ping has named it for `silence_seconds`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from worker.queue.fake.faults import Call, Fault, Faults
from worker.queue.fake.ledger import Ledger

_CALLS = {
    "job-take": Call.TAKE,
    "job-take-batch": Call.TAKE,
    "job-stop": Call.STOP,
    "job-done": Call.DONE,
    "job-stream": Call.STREAM,
    "ping": Call.PING,
}
_WATCH_SECONDS = 0.05
_BYTES_MAX = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    call: Call
    worker_id: str
    job_id: str
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes = b""


class FakeQueue:
    """A queue on a port of this machine, from `start` to `close`.

    Args:
        faults: what goes wrong.
        rtt_seconds: what each call takes more than it must, as over a slow link.
        poll_seconds: how long a question for jobs is held open.
        silence_seconds: after which a job that no ping has named is delivered again.
        api_key: what each call must carry.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        rtt_seconds: float = 0,
        poll_seconds: float = 20,
        silence_seconds: float = 30,
        api_key: str = "a-fake-key",
    ) -> None:
        self.ledger = Ledger()
        self.faults = faults or Faults()
        self.port = 0
        self._rtt_seconds = rtt_seconds
        self._poll_seconds = poll_seconds
        self._silence_seconds = silence_seconds
        self._api_key = api_key
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    async def start(self, *, port: int = 0) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """End, and every connection with it."""
        if self._server is not None:
            self._server.close()
        tasks = [*self._connections, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def env(self, worker_id: str = "worker-1", *, ping_seconds: float = 1) -> dict[str, str]:
        """Return what RunPod sets for a worker, with this queue's addresses."""
        root = f"http://127.0.0.1:{self.port}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{root}/job-take/$ID?gpu=fake",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{root}/job-done/$RUNPOD_POD_ID/$ID?gpu=fake",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{root}/job-stream/$RUNPOD_POD_ID/$ID?gpu=fake",
            "RUNPOD_WEBHOOK_PING": f"{root}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": self._api_key,
            "RUNPOD_POD_ID": worker_id,
            "RUNPOD_PING_INTERVAL": str(round(ping_seconds * 1_000)),
        }

    async def until(self, is_true: Callable[[Ledger], bool], *, seconds_max: float = 20) -> None:
        """Wait until something holds of the ledger.

        Raises:
            TimeoutError: it takes too long.
        """
        async with asyncio.timeout(seconds_max), self.ledger.changed:
            await self.ledger.changed.wait_for(lambda: is_true(self.ledger))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self.ledger.requeue(self.ledger.silent(self._silence_seconds), why="silence")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        # A worker that is killed, or the end of a test: neither is this connection's failure.
        with suppress(OSError, EOFError, asyncio.CancelledError):
            await self._serve(reader, writer)
        self._connections.discard(task)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await self._read(reader)
            await asyncio.sleep(self._rtt_seconds / 2)
            fault = self.faults.next(request.call)
            if fault is Fault.UNHEARD:
                return
            answer = await self._answer(request, fault, reader)
            await asyncio.sleep(self._rtt_seconds / 2)
            if fault is Fault.LOST or answer is None:
                return
            writer.write(_encode(answer))
            await writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> _Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        url = urlsplit(first.split(" ")[1])
        name, worker_id, job_id = [*unquote(url.path).strip("/").split("/", 2), "", ""][:3]
        if name not in _CALLS or headers.get("authorization") != self._api_key:
            await self.ledger.record("stranger", detail=first)
            raise EOFError(first)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        return _Request(call=_CALLS[name], worker_id=worker_id, job_id=job_id, query=query, body=body)

    async def _answer(self, request: _Request, fault: Fault, reader: asyncio.StreamReader) -> _Answer | None:
        if fault.status:
            await self.ledger.record(f"{request.call} {fault}", worker_id=request.worker_id, job_id=request.job_id)
            return _Answer(status=fault.status)
        match request.call:
            case Call.TAKE:
                return await self._take(request, fault, reader)
            case Call.STOP:
                return await self._stop(reader)
            case Call.DONE:
                return await self._done(request)
            case Call.STREAM:
                is_known = await self.ledger.part(request.worker_id, request.job_id, request.body)
                return _Answer(status=200 if is_known else 400)
            case Call.PING:
                query = request.query
                await self.ledger.ping(request.worker_id, query.get("job_id", ""), query.get("status", ""))
                return _Answer(status=200)

    async def _take(self, request: _Request, fault: Fault, reader: asyncio.StreamReader) -> _Answer | None:
        await self.ledger.record("polled", worker_id=request.worker_id)
        if await self._hold(lambda: self.ledger.waiting > 0, reader) is None:
            await self.ledger.record("hung up", worker_id=request.worker_id)
            if fault is not Fault.CROSSED:
                return None
            await self.ledger.submit({"crossed": True})
        jobs = await self.ledger.assign(request.worker_id, int(request.query.get("batch_size", "1")))
        if fault is Fault.TWICE:
            await self.ledger.requeue([job.job_id for job in jobs], why="twice")
        found = [{"id": job.job_id, "input": job.input} for job in jobs]
        if not found:
            return _Answer(status=204)
        return _Answer(status=200, body=json.dumps(found if "batch_size" in request.query else found[0]).encode())

    async def _stop(self, reader: asyncio.StreamReader) -> _Answer | None:
        there = await self._hold(lambda: bool(self.ledger.stops), reader)
        if not there:
            return None if there is None else _Answer(status=204)
        job_ids = [self.ledger.stops.popleft() for _ in range(len(self.ledger.stops))]
        return _Answer(status=200, body=json.dumps({"jobsToStop": job_ids}).encode())

    async def _done(self, request: _Request) -> _Answer:
        if len(request.body) > _BYTES_MAX:
            await self.ledger.record("too large", worker_id=request.worker_id, job_id=request.job_id)
            return _Answer(status=400)
        is_known = await self.ledger.done(request.worker_id, request.job_id, request.body)
        return _Answer(status=200 if is_known else 400)

    async def _hold(self, is_there: Callable[[], bool], reader: asyncio.StreamReader) -> bool | None:
        """Hold a question open. Return whether there is something now, or None if the worker hung up."""
        if is_there():
            return True
        waiting = asyncio.create_task(self._there(is_there))
        leaving = asyncio.create_task(reader.read(1))
        tasks: set[asyncio.Task[Any]] = {waiting, leaving}
        await asyncio.wait(tasks, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        left = leaving.done()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return None if left else is_there()

    async def _there(self, is_there: Callable[[], bool]) -> None:
        async with self.ledger.changed:
            await self.ledger.changed.wait_for(is_there)


def _encode(answer: _Answer) -> bytes:
    kind = "Content-Type: application/json\r\n" if answer.body else ""
    length = "" if answer.status == 204 else f"Content-Length: {len(answer.body)}\r\n"
    return f"HTTP/1.1 {answer.status} Fake\r\n{kind}{length}\r\n".encode() + answer.body
