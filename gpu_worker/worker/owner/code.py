"""The owner's own code: one Python file whose functions replace steps of a job. docs/your-own-code.md tells how.

What goes wrong in them is the owner's to see, with a traceback in the log; the caller gets one line. A ValueError
that the file itself raises is meant for the caller, and its message is told.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NoReturn, Protocol

from worker.errors import InputError, ModelError, RefusedError, WorkerError
from worker.hardware.failures import device_errors
from worker.log import EventLog

_MODULE = "own_code"
_MESSAGE_CHARS_MAX = 300
_ARGUMENTS = {
    "load": ("folder",),
    "preprocess": ("inputs", "parameters"),
    "predict": ("model", "batch", "parameters"),
    "postprocess": ("outputs", "parameters"),
}


class Load(Protocol):
    """Reads the model. It is called once, before any job; the folder is the one that MODEL names."""

    def __call__(self, folder: Path, /) -> Any:
        """Return whatever `predict` is to be given."""


class Preprocess(Protocol):
    """Makes of what a caller sent what the model takes. Several threads may be in it at once."""

    def __call__(self, inputs: Any, parameters: dict[str, Any], /) -> Any:
        """Return inputs, or a tuple of inputs and parameters."""


class Predict(Protocol):
    """Runs the model on elements of any jobs that have the same parameters. One thread at a time is in it."""

    def __call__(self, model: Any, batch: list[Any], parameters: dict[str, Any], /) -> list[Any]:
        """Return one output for each element of the batch, in order."""


class Postprocess(Protocol):
    """Makes of what the model gave what the caller gets. Several threads may be in it at once."""

    def __call__(self, outputs: Any, parameters: dict[str, Any], /) -> Any:
        """Return what JSON can carry. The parameters are those that the caller sent."""


class OwnCodeError(RefusedError):
    """The owner's code failed. The sender learns no more than that."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500

    def __init__(self) -> None:
        super().__init__("the model's own code failed on this input")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCode:
    """The owner's functions, those that there are."""

    path: Path
    events: EventLog
    load: Load | None = None
    preprocess: Preprocess | None = None
    predict: Predict | None = None
    postprocess: Postprocess | None = None

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one of the functions for a job.

        Raises:
            InputError: the owner says that the input is at fault.
            OwnCodeError: it failed, which is in the log.
            WorkerError: as it came: of the device, for one.
        """
        try:
            with _device_errors():
                return getattr(self, name)(*arguments)
        except WorkerError:
            raise
        except (Exception, SystemExit) as exc:  # `exit()` in a helper that was once a script
            if isinstance(exc, ValueError) and str(exc).strip() and self._raised_here(exc):
                raise InputError(" ".join(str(exc).split())[:_MESSAGE_CHARS_MAX]) from exc
            self.fail(name, exc)

    def fail(self, name: str, exc: BaseException) -> NoReturn:
        """Tell the owner what went wrong in a function, and the caller that something did."""
        self.events.error("own_code.failed", exc, file=self.path.name, function=name)
        raise OwnCodeError from exc

    def check_json(self, name: str, outputs: Any) -> Any:
        """Return outputs that JSON can carry.

        Raises:
            OwnCodeError: it cannot; the log names the function that made them.
        """
        try:
            json.dumps(outputs, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            self.fail(name, TypeError(f"{name} returned what JSON cannot carry: {exc}"))
        return outputs

    def _raised_here(self, exc: BaseException) -> bool:
        """Return whether the file itself raised it: a library's message says nothing to the caller, or too much."""
        trace = exc.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return trace is not None and trace.tb_frame.f_code.co_filename == str(self.path)


def read_code(path: Path, *, log: EventLog) -> OwnCode:
    """Import the owner's file, and check its functions.

    Raises:
        ModelError: there is no such file, it cannot be imported, or a function of it takes other arguments.
    """
    path = path.resolve()
    module = _import(path)
    found = {name: getattr(module, name) for name in _ARGUMENTS if hasattr(module, name)}
    if not found:
        raise ModelError(f"CODE={path.name} has none of the functions {', '.join(_ARGUMENTS)}")
    if ("load" in found) != ("predict" in found):
        has, lacks = ("load", "predict") if "load" in found else ("predict", "load")
        raise ModelError(f"CODE={path.name} has {has} but no {lacks}; they take the model's place together")
    for name, function in found.items():
        _check_arguments(path, name, function)
    return OwnCode(path=path, events=log, **found)


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelError(f"CODE={path.name} is no Python file here; give the path of one")
    module = importlib.util.module_from_spec(spec)
    # Where it is looked for by what takes a class apart: dataclasses and pickle do.
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        raise ModelError(f"CODE={path.name} cannot be imported: {type(exc).__name__}: {exc}") from exc
    return module


def _check_arguments(path: Path, name: str, function: Any) -> None:
    wanted = f"{name}({', '.join(_ARGUMENTS[name])})"
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise ModelError(f"CODE={path.name}: {name} must be a plain function, {wanted}")
    signature = inspect.signature(function)
    try:
        signature.bind(*_ARGUMENTS[name])
    except TypeError as exc:
        raise ModelError(f"CODE={path.name}: {name}{signature} must take {wanted}: {exc}") from None


def _device_errors() -> AbstractContextManager[None]:
    # Importing torch takes seconds, and code that does not use it has no device to fail.
    return device_errors() if "torch" in sys.modules else nullcontext()
