"""Everything that the worker says no with.

    WorkerError
    ├── SettingsError            it does not start
    ├── ModelError               it does not start: this model cannot be served rightly
    │   └── NoDeviceError            not by any engine: the device that it is to run on is not there
    ├── OutOfMemoryError         a batch does not fit; smaller ones may
    ├── BrokenDeviceError        the device answers no more; the process ends, and its host replaces it
    ├── EscapedError             something that no thread survives was raised over a job; it fails that job alone
    └── RefusedError             answered to the sender, with a code and one line
        ├── UnauthenticatedError     not signed by this worker's secret, or stale
        ├── ReplayedError            this very request came before
        ├── TooLargeError            more bytes than a job may have
        ├── TooSlowError             its body does not come
        ├── InputError               the input is at fault
        ├── OwnCodeError             the owner's own code failed (in `worker.owner.code`)
        └── UnavailableError         not now: starting, stopping, or full
            └── UnfinishedError          it was begun, and the worker had to stop

Anything else is a bug or a failing device: code `internal`, with its traceback in the log alone.
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import ClassVar


class WorkerError(Exception):
    """The root of the worker's own errors."""


class SettingsError(WorkerError):
    """The environment is not enough to start with; the message says what to set."""


class ModelError(WorkerError):
    """The model is missing, or needs something that this worker would get wrong."""


class NoDeviceError(ModelError):
    """The device that the owner asks for is not there, so another engine would do no better."""


class OutOfMemoryError(WorkerError):
    """A batch does not fit into the device's memory."""


class BrokenDeviceError(WorkerError):
    """The device's context is gone, as after an illegal access: nothing in this process can use it again."""


class EscapedError(WorkerError):
    """What was raised over a job would have ended its thread, or cannot be handed to whoever waits for it."""


class contained:  # noqa: N801  # it is used as a function is
    """Keeps what a job makes a library, or the owner's code, raise from ending more than that job.

    A thread that ends leaves every later job waiting for ever. `sys.exit` ends one, and so does a panic of a library
    that is written in Rust; a `StopIteration` cannot be set as a future's exception.

    A generator would do, and take four times as long, twice a job.

    Raises:
        EscapedError: one of those was raised.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, exc: BaseException | None, where: TracebackType | None) -> None:
        is_harmless = isinstance(exc, Exception) and not isinstance(exc, StopIteration)
        if exc is not None and not is_harmless and not isinstance(exc, KeyboardInterrupt):
            raise EscapedError(f"{type(exc).__name__}: {exc}") from exc


def let_go(error: BaseException) -> None:
    """Free what the frames of an error hold, a failed batch's tensors for one, before something else is tried.

    An error that went through a context manager is in a circle of references in Python 3.12, and its frames with it:
    they would stay until garbage is looked for.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__


class RefusedError(WorkerError):
    """A request that is not run. The message is one line that the sender may see."""

    code: ClassVar[str]
    http_status: ClassVar[int]


class UnauthenticatedError(RefusedError):
    """Nobody with the secret asked for this, or not lately. Every reason gives the same message to the sender."""

    code = "unauthenticated"
    http_status = 401

    def __init__(self, reason: str) -> None:
        super().__init__("the request is not signed with this worker's secret, or its time has passed")
        self.reason = reason
        """For the log alone: it would help somebody who is guessing."""


class ReplayedError(RefusedError):
    """A request whose signature was taken before."""

    code = "already-exists"
    http_status = 409


class TooLargeError(RefusedError):
    """A request of more bytes than the worker takes."""

    code = "invalid-argument"
    http_status = 413


class TooSlowError(RefusedError):
    """A request whose body takes longer to come than the worker waits."""

    code = "deadline-exceeded"
    http_status = 408


class InputError(RefusedError):
    """Inputs or parameters that the model's task does not take."""

    code = "invalid-argument"
    http_status = 422


class UnavailableError(RefusedError):
    """The worker does not take jobs at the moment; another try may do."""

    code = "unavailable"
    http_status = 503


class UnfinishedError(UnavailableError):
    """The worker had to stop in the middle of a job."""

    def __init__(self) -> None:
        super().__init__("the worker stopped before the job was done; another try may do")
