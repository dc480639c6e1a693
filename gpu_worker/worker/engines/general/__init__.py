"""Models that run through `transformers`: any architecture, batched as well as it allows."""
