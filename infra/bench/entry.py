"""Hop 1 as it is deployed, but for one address: the public keys of the sign-in are a local server's.

`functions-framework --source` is given this file instead of `functions/main.py`.
"""

from __future__ import annotations

import os

import main
from gate.callers import keys

# It is read when the first verifier is made, at the first call.
keys.FIREBASE_JWKS_URL = os.environ["BENCH_JWKS_URL"]

infer, quota = main.infer, main.quota
