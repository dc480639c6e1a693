"""A handler as most tutorials have it, with plain `transformers`: one request at a time."""

from __future__ import annotations

import sys
from importlib import import_module

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

transformers = import_module("transformers")  # ships no types
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
model = transformers.AutoModel.from_pretrained(sys.argv[1]).eval().to(sys.argv[3])
app = FastAPI()


class Question(BaseModel):
    """What is to be embedded."""

    text: str


@app.post("/embed")
async def embed(question: Question) -> dict[str, list[float]]:
    """Return the normalized mean of the tokens' states."""
    inputs = tokenizer(question.text, truncation=True, max_length=256, return_tensors="pt").to(sys.argv[3])
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    vector = torch.nn.functional.normalize(states.mean(dim=1), dim=1)
    return {"embedding": vector[0].tolist()}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
