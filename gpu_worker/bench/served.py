"""Servers under load, in turns, A B C A B C …, with the same texts in a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.clients import Round, run_round
from bench.corpus import Mix
from bench.live import Live, least_cosine

COSINE_MIN = 0.999
"""A vector that agrees less with plain fp32 is another vector."""
CHECKED_EVERY = 16
"""Each so-manieth text's answers are compared with the right ones."""
_SHIFT = 96
"""Texts that each round begins further on; whole blocks, so that every beginning is as good."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Case:
    """What the clients do."""

    mix: Mix
    clients: int

    def __str__(self) -> str:
        """Return its title."""
        return f"{self.mix}, {self.clients} client{'s' if self.clients > 1 else ''}"


@dataclass(slots=True, kw_only=True)
class Served:
    """What a server gave in a case, round by round."""

    texts_per_second: list[float] = field(default_factory=list)
    texts_per_cpu_second: list[float] = field(default_factory=list)
    """By the time that the server computed, which others on the machine cannot take from it. 0: not known."""
    latencies_ms: list[float] = field(default_factory=list)
    """Of all rounds."""
    cosine_min: float = 1.0
    checked: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Tell whether all was answered, and rightly."""
        return not self.failures and self.checked > 0 and self.cosine_min >= COSINE_MIN

    def add(self, more: Served) -> None:
        """Count further rounds."""
        self.texts_per_second += more.texts_per_second
        self.texts_per_cpu_second += more.texts_per_cpu_second
        self.latencies_ms += more.latencies_ms
        self.cosine_min = min(self.cosine_min, more.cosine_min)
        self.checked += more.checked
        self.failures += more.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How long and how often."""

    rounds: int
    seconds: float
    """Of a round, until no more is sent; the answers that are out then are waited for. One client has half of it."""
    seconds_max: float
    """Of all rounds: no round begins after."""

    def seconds_of(self, case: Case) -> float:
        """Return the seconds of a round of a case; one client has no crowd to wait for."""
        return self.seconds if case.clients > 1 else self.seconds / 2


Texts = Mapping[Mix, Sequence[str]]
Results = dict[Case, dict[str, Served]]
"""By case and server's name."""


def right_vectors(plain: Live, texts: Texts) -> dict[Mix, dict[int, Sequence[float]]]:
    """Return the vectors that others' are compared with, by the number of the text, from plain `transformers`."""
    return {
        mix: {number: plain.embed(mixed[number]) for number in range(0, len(mixed), CHECKED_EVERY)}
        for mix, mixed in texts.items()
    }


def warm_up(lives: Sequence[Live], texts: Texts, *, clients: int, seconds: float) -> None:
    """Let every server do its first-time work, for each mix, before it counts."""
    for one in lives:
        for mixed in texts.values():
            run_round(one.port, _maker(one, mixed), clients=clients, seconds=seconds, first=0, keep=())


def measure(
    lives: Sequence[Live],
    texts: Texts,
    right: Mapping[Mix, Mapping[int, Sequence[float]]],
    *,
    cases: Sequence[Case],
    load: Load,
    say: Say,
) -> Results:
    """Run the rounds, and return what each server gave; of a run that is ended early, what whole rounds gave.

    Raises:
        SystemExit: it is ended in its first round.
    """
    results = _nothing(lives, cases)
    until = time.monotonic() + load.seconds_max
    for number in range(load.rounds):
        if number and time.monotonic() > until:
            say(f"no time for more than {number} rounds")
            break
        found = _nothing(lives, cases)
        try:
            for case in cases:
                for one in lives:
                    served = found[case][one.server.name]
                    mixed = _Mixed(texts=texts[case.mix], right=right[case.mix], first=_SHIFT * number)
                    _run(one, mixed, clients=case.clients, seconds=load.seconds_of(case), served=served)
                    rate = served.texts_per_second[-1]
                    say(f"round {number + 1}  {case!s:28}  {one.server.name:32} {rate:8.1f} texts/s")
        except SystemExit:
            if not number:
                raise
            say(f"stopped; {number} rounds were whole")
            break
        for case, named in found.items():
            for name, served in named.items():
                results[case][name].add(served)
    return results


def _nothing(lives: Sequence[Live], cases: Sequence[Case]) -> Results:
    return {case: {one.server.name: Served() for one in lives} for case in cases}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mixed:
    texts: Sequence[str]
    right: Mapping[int, Sequence[float]]
    first: int


def _run(one: Live, mixed: _Mixed, *, clients: int, seconds: float, served: Served) -> None:
    texts, right, first = mixed.texts, mixed.right, mixed.first
    # A fast server goes round the texts; what is kept is kept once, from the first time round.
    keep = {at for at in range(first, first + len(texts)) if at % len(texts) in right}
    before = one.process.cpu_seconds()
    done = run_round(one.port, _maker(one, texts), clients=clients, seconds=seconds, first=first, keep=keep)
    _add(served, done, cpu_seconds=one.process.cpu_seconds() - before)
    answers = [(at % len(texts), body) for at, body in done.kept]
    served.cosine_min = min(served.cosine_min, least_cosine(one.server, answers, right))
    served.checked += len(answers)


def _add(served: Served, done: Round, *, cpu_seconds: float) -> None:
    served.texts_per_second.append(done.texts_per_second)
    served.texts_per_cpu_second.append(len(done.latencies_ms) / cpu_seconds if cpu_seconds else 0.0)
    served.latencies_ms += done.latencies_ms
    served.failures += done.failures


def _maker(one: Live, texts: Sequence[str]) -> Callable[[int], bytes]:
    makers = [one.server.request(text) for text in texts]
    return lambda number: makers[number % len(makers)]()
