"""An engine with the owner's own code around it: `preprocess` and `postprocess`, or a model of the owner's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gate import wire
from worker.encoding import without_arrays
from worker.engine import Engine, Work, Writes
from worker.log import EventLog
from worker.owner.code import OwnCode, read_code
from worker.owner.engine import OwnEngine
from worker.settings import Limits
from worker.start import warm_up


def open_own(
    path: Path, folder: Path, limits: Limits, *, built_in: Callable[[], Engine], log: EventLog | None = None
) -> Engine:
    """Return the engine that runs the owner's code.

    Args:
        path: the owner's file.
        folder: the model's.
        limits: of one job.
        built_in: makes the engine of the model's task; not called if the file has a model of its own.
        log: gets what goes wrong; standard output if None.

    Raises:
        ModelError: the file is not what it should be.
    """
    code = read_code(path, log=log or EventLog())
    engine = OwnEngine(code, folder, limits) if code.predict else built_in()
    return HookedEngine(code, engine) if code.preprocess or code.postprocess else engine


class HookedEngine:
    """An engine with the owner's code before and after it."""

    def __init__(self, code: OwnCode, engine: Engine) -> None:
        self._code = code
        self._engine = engine
        # Items pass through untouched, so nothing stands between the batcher and the engine.
        self.import_libraries = engine.import_libraries
        self.load = engine.load
        self.compute = engine.compute
        if isinstance(engine, Writes):
            self.room, self.begin, self.step, self.drop = engine.room, engine.begin, engine.step, engine.drop

    def warm_up(self) -> None:
        """Try the engine alone: only the owner knows what the owner's code takes."""
        warm_up(self._engine)

    def prepare(self, body: wire.WorkBody) -> Work:
        """Read a request through the owner's code."""
        sent = dict(body.parameters)
        work = self._engine.prepare(self._preprocess(body))

        def finish(rows: Any) -> Any:
            outputs = work.finish(rows)
            if self._code.postprocess is None:
                return outputs
            # What the owner's own model returns is theirs as it is.
            given = outputs if self._code.predict else without_arrays(outputs)
            made = self._code.call("postprocess", given, sent)
            return self._code.check_json("postprocess", made)

        return Work(items=work.items, finish=finish, written=work.written)

    def _preprocess(self, body: wire.WorkBody) -> wire.WorkBody:
        if self._code.preprocess is None:
            return body
        # A copy: the function may change what it is given, and what was sent is for `postprocess`, too.
        made = self._code.call("preprocess", body.inputs, copy.deepcopy(dict(body.parameters)))
        inputs, parameters = made if isinstance(made, tuple) and len(made) == 2 else (made, body.parameters)
        if isinstance(inputs, tuple) or not isinstance(parameters, dict):
            self._code.fail("preprocess", TypeError("preprocess must return inputs or (inputs, parameters)"))
        self._code.check_json("preprocess", parameters)
        return wire.WorkBody(model=body.model, inputs=inputs, parameters=parameters)
