"""What the routes ask of a request and of an answer alike, before they put it into their own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gate.domain.answer import Answer
from gate.endpoints.api.errors import ModelNotFoundError
from gate.errors import ConflictError, InvalidRequestError
from gate.service import Gate


def plain_name(model: str) -> str:
    """Return a model's name as it is served: a hub's id without its owner."""
    return model.rpartition("/")[2].lower()


def check_model(name: str, gate: Gate) -> None:
    """Refuse a model that is not served.

    Raises:
        ModelNotFoundError: it is not.
    """
    if plain_name(name) != gate.model_name:
        raise ModelNotFoundError(
            f"no model {name[:80]!r}",
            public_message=f"There is no model {name[:80]!r} here. `GET /v1/models` lists those that there are.",
        )


@contextmanager
def task_told(parameter: str, sentence: str) -> Iterator[None]:
    """Say of which task a model is not, where the worker does not know the one parameter that all of that task take.

    Raises:
        InvalidRequestError: it says so.
    """
    try:
        yield
    except InvalidRequestError as exc:
        if f"unknown parameter '{parameter}'" in exc.public_message:
            raise InvalidRequestError(sentence) from exc
        raise


def outputs_of(answer: Answer) -> Any:
    """Return an answer's outputs.

    Raises:
        ConflictError: they are not in it, because `submit` began the job with the same key, and made more than fits.
    """
    if answer.outputs is None and answer.job.result_url:
        raise ConflictError(
            f"the outputs of {answer.job.job_id} are stored elsewhere",
            public_message="This key began a job whose outputs are too large to be answered here. Ask `job` for it.",
        )
    return answer.outputs
