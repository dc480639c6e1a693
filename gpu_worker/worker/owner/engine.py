"""An engine of the owner's own: `load` and `predict` of one Python file, with batches across requests as for any."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate import wire
from worker.engine import Item, Work
from worker.errors import InputError, ModelError, RefusedError
from worker.owner.code import OwnCode
from worker.settings import Limits

_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What the elements of one request have in common."""

    parameters: Mapping[str, Any]
    key: str
    """The parameters as JSON: jobs with the same key may share a batch."""


class OwnEngine:
    """Takes a list, or anything else as one element, and returns one output for each, as `predict` gives it.

    An element counts a token for every four characters of its JSON.
    """

    def __init__(self, code: OwnCode, folder: Path, limits: Limits) -> None:
        self._code = code
        self._folder = folder
        self._limits = limits
        self._model: Any = None

    def import_libraries(self) -> None:
        """Do nothing: the owner's file imported what it needs."""

    def load(self) -> None:
        """Call the owner's `load`."""
        assert self._code.load is not None  # the file was checked
        try:
            self._model = self._code.load(self._folder)
        except (Exception, SystemExit) as exc:
            raise ModelError(f"CODE={self._code.path.name}: load failed: {type(exc).__name__}: {exc}") from exc

    def warm_up(self) -> None:
        """Do nothing: only the owner knows what the model takes, and `load` may try it."""

    def prepare(self, body: wire.WorkBody) -> Work:
        """Take a request apart."""
        single = not isinstance(body.inputs, list)
        elements = [body.inputs] if single else body.inputs
        if not 0 < len(elements) <= self._limits.items_max:
            raise InputError(f"inputs has {len(elements)} elements, and must have from 1 to {self._limits.items_max}")
        job = _Job(body.parameters, json.dumps(body.parameters, sort_keys=True))
        items = [self._item(element, index, job) for index, element in enumerate(elements)]

        def finish(rows: Sequence[Any]) -> Any:
            for row in rows:
                if isinstance(row, RefusedError):
                    raise row
            outputs = rows[0] if single else list(rows)
            # What goes to `postprocess` may be anything.
            return outputs if self._code.postprocess else self._code.check_json("predict", outputs)

        return Work(items=items, finish=finish)

    def compute(self, items: Sequence[Item]) -> Sequence[Any]:
        """Run the owner's `predict`, on all elements with the same parameters at once.

        What fails is a row of its own, so that it fails its own request alone.
        """
        rows: dict[int, Any] = {}
        groups: dict[str, list[int]] = {}
        for place, item in enumerate(items):
            groups.setdefault(item.payload[1].key, []).append(place)
        for places in groups.values():
            rows.update(zip(places, self._predict_safely([items[place] for place in places]), strict=True))
        return [rows[place] for place in range(len(items))]

    def _item(self, element: Any, index: int, job: _Job) -> Item:
        chars, chars_max = _chars(element), self._limits.item_chars_max
        if chars > chars_max:
            raise InputError(f"inputs[{index}] has {chars} characters as JSON, and may have {chars_max}")
        return Item(length=1 + chars // _CHARS_PER_TOKEN, payload=(element, job))

    def _predict_safely(self, items: Sequence[Item]) -> list[Any]:
        """Return outputs; where a batch of several jobs fails, try each job alone to find the one at fault."""
        jobs: dict[_Job, list[int]] = {}
        for place, item in enumerate(items):
            jobs.setdefault(item.payload[1], []).append(place)
        if len(jobs) > 1:
            try:
                return self._predict(items)
            except RefusedError:
                rows: dict[int, Any] = {}
                for places in jobs.values():
                    rows.update(zip(places, self._predict_safely([items[place] for place in places]), strict=True))
                return [rows[place] for place in range(len(items))]
        try:
            return self._predict(items)
        except RefusedError as exc:
            return [exc] * len(items)

    def _predict(self, items: Sequence[Item]) -> list[Any]:
        parameters = copy.deepcopy(dict(items[0].payload[1].parameters))
        made = self._code.call("predict", self._model, [item.payload[0] for item in items], parameters)
        if not isinstance(made, list) or len(made) != len(items):
            got = f"{len(made)} outputs" if isinstance(made, list) else type(made).__name__
            self._code.fail("predict", TypeError(f"predict must return a list of {len(items)} outputs, not {got}"))
        return made


def _chars(element: Any) -> int:
    """Return how long an element is as JSON. What `preprocess` made need not be JSON, and then counts as nothing."""
    try:
        return len(json.dumps(element, ensure_ascii=False))
    except (TypeError, ValueError):
        return 0
