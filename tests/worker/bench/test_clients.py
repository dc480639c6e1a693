"""The clients against a real server on this machine."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.clients import Round, ask, run_round
from bench.processes import running
from bench.servers import post


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """Serve these answers in turn, the last one for ever, and yield the port."""
    loop, left = asyncio.new_event_loop(), list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            writer.write(left.pop(0) if len(left) > 1 else left[0])
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body


def round_of(port: int, **changes: int | float) -> Round:
    asked = {"clients": 3, "seconds": 0.1, "first": 5, **changes}
    return run_round(port, lambda number: post(f"/{number}", b"", {}), keep={5, 7}, **asked)  # type: ignore[arg-type]


def test_every_text_that_was_sent_is_counted_once() -> None:
    with answering(answer(200, b"[]")) as port:
        done = round_of(port)

    assert not done.failures
    assert done.texts_per_second == pytest.approx(len(done.latencies_ms) / done.seconds)
    assert sorted(done.kept) == [(5, b"[]"), (7, b"[]")]


def test_a_failure_is_no_answer() -> None:
    """A server that refuses fast would win otherwise."""
    with answering(answer(503, b"not now")) as port:
        done = round_of(port)

    assert (done.latencies_ms, len(done.failures)) == ([], 3)
    assert "503" in done.failures[0]


def test_an_answer_of_unknown_length_is_a_failure() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as port:
        assert "how long" in round_of(port).failures[0]


def test_one_question_is_answered_whole() -> None:
    body = b"x" * 300_000
    with answering(answer(200, body)) as port:
        assert ask(port, post("/", b"", {})) == (200, body)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had")
def test_a_process_is_watched_with_its_children(tmp_path: Path) -> None:
    """A server that keeps its model in a child would seem to need nothing."""
    child = "x = bytearray(60_000_000); sum(range(10**6)); print('up', flush=True); import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with running([sys.executable, "-c", parent], env={}, log_path=tmp_path / "log") as process:
        while "up" not in process.last_words():
            assert not process.ended

        assert process.peak_mb() > 60
        assert process.cpu_seconds() > 0

    assert process.ended
