"""Real sockets, and hosts that behave badly on them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gate.errors import ProviderTimeoutError, ProviderUnavailableError
from gate.providers._http import Answer, Ask, HttpHost

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[str]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/infer"
    finally:
        server.close()


async def ask(url: str, *, read_seconds: float = 5, bytes_out_max: int = 1_000) -> Answer:
    host = HttpHost(name="test", bytes_out_max=bytes_out_max)
    post = Ask(method="POST", url=url, headers={}, body=b"{}")
    try:
        return await host.ask(lambda: post, read_seconds=read_seconds)
    finally:
        await host.close()


async def test_nobody_listening_is_not_billed(unused_tcp_port: int) -> None:
    with pytest.raises(ProviderUnavailableError, match="nothing was sent"):
        await ask(f"http://127.0.0.1:{unused_tcp_port}/")


async def test_a_name_that_does_not_exist_is_not_billed() -> None:
    with pytest.raises(ProviderUnavailableError):
        await ask("https://nowhere.invalid/")


async def test_a_certificate_that_does_not_hold_gets_no_job() -> None:
    """Speaking TLS to what speaks none, as to a stranger on the way."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with serving(plain) as url:
        with pytest.raises(ProviderUnavailableError):
            await ask(url.replace("http:", "https:"))


async def test_hanging_up_after_the_request_is_billed() -> None:
    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")

    async with serving(hang_up) as url:
        with pytest.raises(ProviderTimeoutError, match="may have been taken"):
            await ask(url)


async def test_silence_after_the_request_is_billed() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as url:
        with pytest.raises(ProviderTimeoutError):
            await ask(url, read_seconds=0.1)


async def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drop starts the read timeout anew, so there is one for the whole."""
    monkeypatch.setattr("gate.providers._http._WRITE_SECONDS", 0.1)
    monkeypatch.setattr("gate.providers._http._CONNECT_SECONDS", 0.1)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

    async with serving(drip) as url:
        begun = time.monotonic()
        with pytest.raises(ProviderTimeoutError):
            await ask(url, read_seconds=0.2)
        assert time.monotonic() - begun < 2


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536

    async with serving(endless) as url:
        answer = await ask(url, bytes_out_max=100_000)

    assert (answer.whole, answer.body) == (False, b"")
    assert sent < 50_000_000


async def test_half_an_answer_is_billed() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
        await writer.drain()

    async with serving(half) as url:
        with pytest.raises(ProviderTimeoutError):
            await ask(url)


async def test_a_redirect_is_not_followed() -> None:
    """It would carry a signed request to an address that nobody configured."""

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 307 Go\r\nlocation: https://evil.example/\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    async with serving(redirect) as url:
        assert (await ask(url)).status == 307


async def test_one_connection_serves_call_after_call() -> None:
    connections = 0

    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()

    async with serving(polite) as url:
        host = HttpHost(name="test", bytes_out_max=100)
        post = Ask(method="POST", url=url, headers={}, body=b"{}")
        for _ in range(5):
            assert (await host.ask(lambda: post, read_seconds=5)).json() == {}
        await host.close()

    assert connections == 1
