"""Bytes as JSON Web Tokens and Keys write them."""

from __future__ import annotations

import binascii


def read_base64url(text: str) -> bytes:
    """Return the bytes that a text means in base64url without padding: RFC 7515, 2.

    Raises:
        ValueError: it has another character, or no such length.
    """
    if "+" in text or "/" in text or "=" in text:
        raise ValueError("base64, and not base64url without padding")
    in_base64 = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4)
    return binascii.a2b_base64(in_base64, strict_mode=True)
