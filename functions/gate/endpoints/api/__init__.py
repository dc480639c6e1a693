"""HTTP as others speak it: OpenAI's routes under `/v1`, Hugging Face's `/models/{model}`, and their description."""
