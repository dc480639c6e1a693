"""The owner's own code: steps around a task, or a model in its place. docs/your-own-code.md tells how."""
