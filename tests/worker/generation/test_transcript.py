"""Pieces of text: together they are the text, whatever the tokens are."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from worker.engines.generation.transcript import Transcript


def decode(tokens: Sequence[int]) -> str:
    """Each token is a byte, as those of byte-level tokenizers may be."""
    return bytes(tokens).decode(errors="replace")


@given(st.text() | st.binary().map(lambda data: data.decode(errors="replace")))
def test_pieces_are_whole_characters_and_together_the_text(text: str) -> None:
    transcript = Transcript(decode)
    pieces = [transcript.add(token) for token in text.encode()]
    pieces.append(transcript.end())

    assert "".join(pieces) == text == transcript.text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@given(st.binary())
def test_bytes_that_are_no_text_lose_nothing(data: bytes) -> None:
    transcript = Transcript(decode)
    pieces = "".join([*(transcript.add(token) for token in data), transcript.end()])

    assert pieces == transcript.text == decode(data)


@given(st.text("ab"), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_ends_before_the_first_stop_string(text: str, stops: list[str]) -> None:
    transcript, pieces = Transcript(decode, stops), []
    for token in text.encode():
        pieces.append(transcript.add(token))
        if transcript.stopped:
            break
    pieces.append(transcript.end())
    whole = "".join(pieces)

    assert whole == transcript.text
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    assert transcript.stopped == any(stop in text for stop in stops)
    assert transcript.stopped or whole == text
