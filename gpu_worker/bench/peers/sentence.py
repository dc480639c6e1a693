"""A handler as most tutorials have it, with `sentence-transformers`."""

from __future__ import annotations

import sys
from importlib import import_module

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = import_module("sentence_transformers").SentenceTransformer(sys.argv[1], device=sys.argv[3])
app = FastAPI()


class Question(BaseModel):
    """What is to be embedded."""

    text: str


@app.post("/embed")
async def embed(question: Question) -> dict[str, list[float]]:
    """Return the sentence's vector."""
    return {"embedding": model.encode(question.text, show_progress_bar=False).tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
