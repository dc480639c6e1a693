"""Ids that nobody can guess, and that nobody else has."""

from __future__ import annotations

import os

from gate.random_text import random_hex


def test_no_text_comes_twice() -> None:
    texts = [random_hex(16) for _ in range(2_000)]

    assert len(set(texts)) == 2_000
    assert {len(text) for text in texts} == {32}


def test_a_forked_process_gives_out_others() -> None:
    """The server forks; two processes with one pool would give two jobs one id."""
    random_hex(8)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_hex(16).encode())
        os._exit(0)
    mine = random_hex(16)
    os.waitpid(child, 0)

    assert os.read(reading, 32).decode() != mine
    os.close(reading)
    os.close(writing)
