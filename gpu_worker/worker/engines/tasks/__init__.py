"""One module for each task that reads: its parameters, its inputs, and what it makes of the model's output."""
