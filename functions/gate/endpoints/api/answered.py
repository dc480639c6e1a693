"""What the routes ask of a request and of an answer alike, before they put it into their own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gate.domain.answer import Answer
from gate.endpoints.api.errors import JobGoesOnError, ModelNotFoundError
from gate.endpoints.api.routes import Asked
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


def outputs_of(answer: Answer, asked: Asked) -> Any:
    """Return the outputs of an answer to a request.

    Raises:
        JobGoesOnError: the job outlives the request.
        ConflictError: they are not in it, because the job outlived an earlier request of the same key, and made more
            than fits.
    """
    if answer.outputs is None and not answer.job.state.final:
        raise _goes_on(answer.job.job_id, has_key=asked.idempotency_key is not None)
    if answer.outputs is None and answer.job.result_url:
        raise ConflictError(
            f"the outputs of {answer.job.job_id} are stored elsewhere",
            public_message="This key began a job whose outputs are too large to be answered here. Ask `job` for it.",
        )
    return answer.outputs


def _goes_on(job_id: str, *, has_key: bool) -> JobGoesOnError:
    wait_on = "Send it again with the same Idempotency-Key to wait on, or ask" if has_key else "Ask"
    return JobGoesOnError(
        f"job {job_id} outlives its request",
        public_message=f"This request is still running, as job {job_id}. {wait_on} `job` for its answer.",
        details={"job_id": job_id, "has_key": has_key},
    )
