"""Hosts that run the worker, each in a file of its own. A new one is one file and one line in `bootstrap`."""
