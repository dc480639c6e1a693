"""Benchmarks of hop 1 beside what a user would pick instead: `python -m infra.bench`."""
