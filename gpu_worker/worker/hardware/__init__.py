"""What a model needs, what this machine has, and what is chosen of it."""
