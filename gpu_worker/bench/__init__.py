"""Benchmarks of the worker; each module runs by itself, from `gpu_worker`: `python -m bench.encoder`."""
