"""`twohop demo`: start both hops in a fresh folder and tell the story; exit 0 only if every step went as told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console

from gate.ledgers.sqlite import SqliteLedger
from twohop.demo.client import DemoClient
from twohop.demo.story import Story, StoryError
from twohop.loopback import free_port

_STOP_SECONDS_MAX = 30


@click.command()
def demo() -> None:
    """See a signed-in caller get an answer from a real transformer, and be counted."""
    console = Console(highlight=False)
    console.print("\n[bold]Twohop[/bold]: an expensive model behind your app's sign-in, with a bill that holds.\n")
    with tempfile.TemporaryDirectory(prefix="twohop-demo-") as folder, _hops(Path(folder)) as url:
        ledger = SqliteLedger(str(Path(folder) / "ledger.sqlite3"))
        try:
            asyncio.run(_tell(console, url, ledger))
        except StoryError as exc:
            console.print(f"\n[bold red]The story went wrong:[/bold red] {exc}")
            sys.exit(1)
    console.print("\nEvery step went as told. [bold]make dev[/bold] starts the same and leaves it running.\n")


async def _tell(console: Console, url: str, ledger: SqliteLedger) -> None:
    try:
        async with DemoClient(url) as client:
            await Story(console=console, client=client, ledger=ledger).tell()
    finally:
        await ledger.close()


@contextmanager
def _hops(folder: Path) -> Iterator[str]:
    """Run `twohop dev` in a folder, and yield its address once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "twohop.cli", "dev", "--port", str(port), "--state", str(folder), "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            if "ready" not in process.stdout.readline():
                raise click.ClickException("the two hops did not start; the reason stands above")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS_MAX)
