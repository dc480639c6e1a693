"""Hop 1 as it is deployed, but for one address: the public keys of the sign-in are a local server's.

`functions-framework --source` is given this file instead of `functions/main.py`.
"""

from __future__ import annotations

import os

from gate.callers import keys

keys.FIREBASE_CERTIFICATES_URL = os.environ["BENCH_CERTIFICATES_URL"]

from main import infer, quota  # noqa: E402 - the address is read when the first verifier is made

__all__ = ["infer", "quota"]
