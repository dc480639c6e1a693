"""Models that write: text generation token by token, with whoever is there, and sequence to sequence in batches."""
