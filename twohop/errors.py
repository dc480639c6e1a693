"""Every error of the command is one line on stderr that says what to do; exit 2 for bad input, 1 for failures."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

from gate.errors import GateError


class BadInputError(click.ClickException):
    """What the operator typed cannot be. The message names it and says what can."""

    exit_code = 2


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn everything that is expected to go wrong into one line. What is not expected stays a traceback: a bug."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as exc:
        where = exc.ctx.command_path if exc.ctx else "twohop"
        raise BadInputError(f"{one_line(exc.format_message()).rstrip('.')}; see `{where} --help`") from exc
    except GateError as exc:
        raise click.ClickException(one_line(str(exc)) or type(exc).__name__) from exc
    except OSError as exc:
        if exc.errno == errno.EPIPE:  # `twohop jobs | head` is no error; click ends quietly then.
            raise
        raise click.ClickException(one_line(str(exc))) from exc


def one_line(text: str) -> str:
    """Return a text with its line breaks folded into spaces."""
    return " ".join(text.split())
