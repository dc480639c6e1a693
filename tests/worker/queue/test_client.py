"""The client speaks enough HTTP for the queue, keeps its connections, and hangs up without losing an answer."""

from __future__ import annotations

import asyncio

import pytest

from tests.worker.queue.makers import serving
from worker.queue.link.client import Client
from worker.queue.link.errors import LostError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(OK, 200, b"ok", id="length"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="nothing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: t\r\n\r\n",
            200,
            b"abc",
            id="chunks",
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", id="informational first"),
        pytest.param(b"HTTP/1.1 429 Slow Down\r\nretry-AFTER: 3\r\nContent-Length: 0\r\n\r\n", 429, b"", id="429"),
    ],
)
async def test_an_answer_is_read_to_its_end_and_its_connection_kept(answer: bytes, status: int, body: bytes) -> None:
    async with serving(lambda _: answer) as server:
        client = Client()
        replies = [await client.send("GET", f"{server.url}/x", seconds_max=5) for _ in range(3)]
        client.close()

        assert [(reply.status, reply.body) for reply in replies] == [(status, body)] * 3
        assert server.connections == 1


async def test_a_connection_that_says_close_is_not_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with serving(lambda _: answer) as server:
        client = Client()
        for _ in range(2):
            await client.send("GET", server.url, seconds_max=5)
        client.close()

        assert server.connections == 2


async def test_a_kept_connection_that_the_server_closed_is_opened_anew() -> None:
    """Servers close idle connections, and tell nobody."""
    answers = iter([OK, None, OK])
    async with serving(lambda _: next(answers)) as server:
        client = Client()
        await client.send("GET", server.url, seconds_max=5)
        reply = await client.send("GET", server.url, seconds_max=5)
        client.close()

        assert (reply.status, server.connections, len(server.requests)) == (200, 2, 3)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="closed"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", id="half"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="a wrong length"),
        pytest.param(b"rubbish\r\n\r\n", id="rubbish"),
        pytest.param(b"x" * 100_000, id="no end of the head"),
    ],
)
async def test_no_answer_is_one_error(answer: bytes | None) -> None:
    async with serving(lambda _: answer) as server:
        client = Client()
        with pytest.raises(LostError):
            await client.send("GET", server.url, seconds_max=0.3)
        client.close()


async def test_a_server_that_is_not_there_is_the_same_error() -> None:
    with pytest.raises(LostError):
        await Client().send("GET", "http://127.0.0.1:1/", seconds_max=5)


async def test_headers_go_as_they_are_and_an_id_breaks_no_line() -> None:
    """A job's id is another's text; it must not become a header or a second request."""
    async with serving(lambda _: OK) as server:
        client = Client({"Authorization": "a-key"})
        evil = "x y\r\nHost: evil\r\n\r\n"
        await client.send(
            "POST", f"{server.url}/done/{evil}?a=b,c%20d", seconds_max=5, headers={"X-Request-ID": evil}
        )
        client.close()
        lines = server.requests[0].decode().split("\r\n")

        assert lines[0] == "POST /done/x%20yHost:%20evil?a=b,c%20d HTTP/1.1"
        assert "Authorization: a-key" in lines
        assert "X-Request-ID: x y Host: evil" in lines
        assert len(server.requests) == 1


async def test_a_call_that_is_hung_up_still_hears_what_was_under_way() -> None:
    heard = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.set()
        assert await reader.read() == b"", "the client's half ends"
        writer.write(OK)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    client = Client()
    call = asyncio.create_task(client.send("GET", url, seconds_max=5, name="take"))
    await heard.wait()

    assert client.hang_up("ping") == 0
    assert client.hang_up("take") == 1
    assert (await call).body == b"ok"
    listening.close()


async def test_a_call_over_a_dead_connection_is_given_up_once_it_is_hung_up() -> None:
    """As after a freeze: nobody says anything any more, not even that the connection is gone."""
    async with serving(lambda _: b"") as server:
        client = Client()
        call = asyncio.create_task(client.send("GET", server.url, seconds_max=60))
        await server.heard.wait()
        client.hang_up()

        with pytest.raises(LostError):
            await asyncio.wait_for(call, 5)
        client.close()
