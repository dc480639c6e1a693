"""`/v1/models`: which models a caller may name."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from gate.endpoints.api.answered import plain_name
from gate.endpoints.api.errors import ModelNotFoundError
from gate.endpoints.api.routes import Asked, Reply
from gate.service import Gate


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is served."""

    id: str
    created: int
    """Seconds since 1970 UTC: when this process began to serve it."""
    object: Literal["model"] = "model"
    owned_by: str = "twohop"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The models that a caller may name."""

    data: list[Model]
    object: Literal["list"] = "list"


class ModelsEndpoint:
    """Lists models. It counts as no use."""

    def __init__(self, gate: Gate, *, served_since: datetime) -> None:
        self._gate = gate
        self._created = int(served_since.timestamp())

    async def list(self, asked: Asked) -> Reply:
        """Answer `GET /v1/models`."""
        return Reply(body=ModelList(data=[self._model(name) for name in await self._gate.models(asked.caller)]))

    async def get(self, asked: Asked) -> Reply:
        """Answer `GET /v1/models/{model}`."""
        name = plain_name(asked.path["model"])
        if name not in await self._gate.models(asked.caller):
            raise ModelNotFoundError(f"no model {name[:80]!r}")
        return Reply(body=self._model(name))

    def _model(self, name: str) -> Model:
        return Model(id=name, created=self._created)
