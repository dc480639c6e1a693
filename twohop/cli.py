"""`twohop`: what the owner of a gate types. Each command's module is imported when that command is used."""

from __future__ import annotations

import importlib

import click

from gate.ports import Clock
from gate.settings import LedgerKind
from twohop.configured import LedgerOptions
from twohop.errors import one_line_errors
from twohop.session import Session

_SECTIONS = {
    "Try it on this machine": {
        "dev": ("twohop.dev.command:dev", "Run both hops here: SQLite, dev sign-in, the model on this CPU."),
        "demo": ("twohop.demo.command:demo", "See a caller get an answer, be counted, and be refused."),
    },
    "Know what it costs": {
        "cost": (
            "twohop.commands.cost:cost",
            "The month's bill, what could change it, and the most that can be lost.",
        ),
        "prices": (
            "twohop.commands.prices:prices",
            "What everything costs, how old the number is, and refreshing it.",
        ),
        "prove": ("twohop.commands.prove:prove", "The ceiling, tried against everything that can go wrong."),
    },
    "Decide who may do what": {
        "init": ("twohop.commands.init:init", "Write the first plans and the first budget, where there are none."),
        "plan": ("twohop.commands.plan:plan", "Plans: show and change what callers may do."),
        "user": ("twohop.commands.user:user", "One user: their plan, their own limits, disabled or not."),
        "token": ("twohop.commands.token:token", "API tokens: made for a user, listed, found, revoked."),
        "cache": ("twohop.commands.cache:cache", "Answers that are given again, at no GPU cost."),
        "kill": ("twohop.commands.kill:kill", "How much is switched off; switch off more."),
        "revive": ("twohop.commands.kill:revive", "Switch on again, with a name and a reason."),
        "threshold": (
            "twohop.commands.threshold:threshold",
            "At what share of a budget it is switched off by itself.",
        ),
        "budget": ("twohop.commands.budget:budget", "What may be spent: by all, by a cohort, by a model."),
    },
    "See what happened": {
        "usage": ("twohop.commands.usage:usage", "Who used what, and what is left."),
        "jobs": ("twohop.commands.jobs:jobs", "The ledger, a line a job."),
        "alerts": ("twohop.commands.alerts:alerts", "What is wrong right now, and what the watchdog told."),
        "sweep": ("twohop.commands.sweep:sweep", "Settle the holds that nobody finished."),
        "export": ("twohop.commands.export:export", "The ledger for other tools: rows of FOCUS."),
    },
}
"""The help is written here too, so that `twohop --help` imports no command."""

_PLACES = {name: place for section in _SECTIONS.values() for name, (place, _) in section.items()}


class _LazyGroup(click.Group):
    """Finds commands by name and imports them late; gives every expected error one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in _PLACES:
            return None
        module, _, name = _PLACES[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, help_) for name, (_, help_) in commands.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        with one_line_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with one_line_errors():
            return super().invoke(ctx)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--ledger", type=click.Choice([kind.value for kind in LedgerKind]), help="Where jobs are counted.")
@click.option("--project", metavar="ID", help="The Firebase project, for Firestore.")
@click.option("--sqlite-path", metavar="PATH", help="The file, for SQLite.")
@click.pass_context
def cli(ctx: click.Context, ledger: str | None, project: str | None, sqlite_path: str | None) -> None:
    """An expensive model behind your app's own sign-in, with a bill that cannot surprise you.

    Which ledger: the options below; else LEDGER, GCLOUD_PROJECT and SQLITE_PATH from the environment; else from
    functions/.env; else the dev ledger in this folder; else the default project of .firebaserc.
    """
    clock: Clock | None = ctx.obj
    ctx.obj = Session(LedgerOptions(kind=ledger, project=project, sqlite_path=sqlite_path), clock=clock)


def main() -> None:
    """Run the command line."""
    cli(prog_name="twohop")


if __name__ == "__main__":
    main()
