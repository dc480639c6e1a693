"""How it grows: with clients, with callers that the ledger knows, with shards of the budget."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from infra.bench.findings import Finding, number, table
from infra.bench.gates import Around, hop1, say
from infra.bench.load import send
from infra.bench.run import Run
from infra.bench.standing import fresh_ledger, standing, surroundings

_CLIENTS = (1, 8, 64, 512)
_KNOWN = (10, 10_000, 1_000_000)
_SHARDS = (1, 8, 64)
_TOKENS = 512
_FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :known - 1)
INSERT OR IGNORE INTO counters SELECT 'usage/caller-' || i, counter, 0 FROM n,
(SELECT 'in_flight' AS counter UNION SELECT 'rate_tat_us')
"""


def measure(run: Run) -> Finding:
    """Vary one thing at a time."""
    with surroundings(run.work("growth"), callers=_TOKENS, cores=run.cores) as around:
        rows = []
        for clients in _CLIENTS:
            fresh_ledger(around)
            rows.append([f"{clients} clients", *_measured(run, around, clients)])
        for known in _KNOWN:
            _fill(fresh_ledger(around), known)
            spread = tuple(around.tokens[: min(_TOKENS, known)])
            rows.append([f"{known:,} known callers", *_measured(run, replace(around, tokens=spread), 64)])
        for shards in _SHARDS:
            fresh_ledger(around, shards=shards)
            rows.append([f"{shards} shards", *_measured(run, around, 64)])
    head = ("what", "calls/s", "p50 ms", "p99 ms")
    text = (
        "One hop 1 and its SQLite ledger, fresh for each line; 64 clients, one shard and an empty ledger unless the "
        f"line says otherwise.\n\n{table(head, rows)}"
    )
    return Finding(part="growth", title="How it grows", day=run.day, text=text, goals=[])


def _measured(run: Run, around: Around, clients: int) -> list[str]:
    gate = hop1()
    with standing(gate, around, home=run.home(gate), cores=run.cores, core=run.cores.gate) as one:
        load = gate.load(around, one.port)
        send(load, clients=clients, seconds=2, core=run.cores.rest, folder=around.folder)
        done = send(load, clients=clients, seconds=run.seconds(3), core=run.cores.rest, folder=around.folder)
    say(f"{clients} clients: {done.calls_per_second:.0f} calls/s")
    return [number(done.calls_per_second), number(done.p50_ms), number(done.p99_ms)]


def _fill(ledger: Path, known: int) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute(_FILL, {"known": known})
    connection.close()
