"""The story, step by step. Each step checks what it shows, so that the story cannot be told of a broken gate."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console

from gate.domain.plan import STARTER_PLANS
from gate.ledgers.sqlite import SqliteLedger
from twohop.demo.client import DemoClient, Reply
from twohop.demo.sentences import HELP_CENTRE, QUESTIONS
from twohop.show import jobs_table

_BURST = STARTER_PLANS["anonymous"].burst


class StoryError(Exception):
    """A step did not go as told; the message says which, and what happened instead."""


class Story:
    """Alice asks, an uninvited caller is refused, Bob is too fast, and everything is in the ledger."""

    def __init__(self, *, console: Console, client: DemoClient, ledger: SqliteLedger) -> None:
        self._console = console
        self._client = client
        self._ledger = ledger

    async def tell(self) -> None:
        """Tell it all.

        Raises:
            StoryError: at the first step that goes otherwise.
        """
        alice = await self._sign_in()
        await self._nearest_sentences(alice)
        await self._quota(alice)
        await self._uninvited()
        await self._too_fast()
        await self._twice(alice)
        await self._print_ledger()

    async def _sign_in(self) -> str:
        self._title("Alice signs in")
        token = await self._client.sign_in("alice")
        self._says("She has a token now, as Firebase would give her.")
        return token

    async def _nearest_sentences(self, token: str) -> None:
        self._title(f"She asks which of {len(HELP_CENTRE)} help pages answers her questions")
        reply = await self._client.call("infer", token, {"inputs": [*QUESTIONS, *HELP_CENTRE]})
        vectors = self._good(reply)["outputs"]
        questions, pages = vectors[: len(QUESTIONS)], vectors[len(QUESTIONS) :]
        for (question, right), vector in zip(QUESTIONS.items(), questions, strict=True):
            score, page = max(zip((_cosine(vector, other) for other in pages), HELP_CENTRE, strict=True))
            self._says(f"[cyan]{question}[/cyan]")
            self._says(f"  {score:.2f}  {page}")
            _expect(right in page, f"the page about {right!r}")
        _expect(len(vectors[0]) == 384, "an embedding of all-MiniLM-L6-v2 has 384 numbers")
        usage = reply.result["usage"]
        self._says(
            f"Held {usage['held_microdollars']:,} micro-dollars before, "
            f"settled {usage['settled_microdollars']:,} after: "
            f"{usage['gpu_seconds']:.1f} s of the worker, its start included."
        )

    async def _quota(self, token: str) -> None:
        self._title("She looks at what is left")
        quota = self._good(await self._client.call("quota", token, None))["quota"]
        for name, row in quota.items():
            self._says(f"{name.replace('_', ' '):<24}{row['remaining']:>12,} of {row['limit']:>12,}")
        today = quota["requests_per_day"]
        _expect(today["remaining"] == today["limit"] - 1, "one request counted")

    async def _uninvited(self) -> None:
        self._title("Somebody uninvited is refused, and costs nothing")
        for who, token in (("no token", None), ("a forged token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.")):
            reply = await self._client.call("infer", token, {"inputs": "let me in"})
            self._refused(reply, "UNAUTHENTICATED", who)

    async def _too_fast(self) -> None:
        self._title(f"Bob may send {_BURST} requests at once, and sends more")
        await self._ledger.write("users/bob", {"plan": "anonymous"})
        token = await self._client.sign_in("bob")
        for number in range(_BURST):
            self._good(await self._client.call("infer", token, {"inputs": f"request {number + 1}"}))
        reply = await self._client.call("infer", token, {"inputs": "one more"})
        self._refused(reply, "RESOURCE_EXHAUSTED", f"request {_BURST + 1}")
        _expect(reply.error["details"]["retry_after_seconds"] > 0, "he is told when to come back")

    async def _twice(self, token: str) -> None:
        self._title("Alice sends the same job twice, as a flaky network makes a plugin do")
        request = {"inputs": "What is the capital of France?", "idempotency_key": "question-1"}
        first = self._good(await self._client.call("infer", token, request))
        second = self._good(await self._client.call("infer", token, request))
        _expect(first["outputs"] == second["outputs"], "both get the same answer")
        _expect(first["job_id"] == second["job_id"], "it is one job")
        left = [answer["quota"]["requests_per_day"]["remaining"] for answer in (first, second)]
        _expect(left[0] == left[1], "it is counted once")
        self._says(f"Answered twice, run once, counted once: job {first['job_id'][:12]}…")

    async def _print_ledger(self) -> None:
        self._title("The ledger, a line a job")
        jobs = await self._ledger.jobs()
        self._console.print(jobs_table(jobs))
        _expect(len(jobs) == 2 + _BURST, f"{2 + _BURST} jobs ran")
        within = (0 < (job.settled_microdollars or 0) <= job.held_microdollars for job in jobs)
        _expect(all(within), "each job settled within its hold")

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _says(self, text: str) -> None:
        self._console.print(f"  {text}", soft_wrap=True)

    def _good(self, reply: Reply) -> dict[str, Any]:
        _expect(reply.status == 200, f"an answer, but got {reply.code}: {reply.error.get('message')}")
        return reply.result

    def _refused(self, reply: Reply, code: str, who: str) -> None:
        _expect(reply.code == code, f"{who} to be refused with {code}, but got {reply.code}")
        self._says(f"{who}: [yellow]{reply.code}[/yellow] {reply.error['message']}")


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise StoryError(f"expected {what}")


def _cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))
