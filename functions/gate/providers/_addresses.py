"""Which addresses a job may be sent to: a signed request and its text are not for every network."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from gate.errors import SettingsError


def checked_address(url: str, *, setting: str) -> SplitResult:
    """Return an address that is safe to send jobs to: https, or this machine itself.

    Raises:
        SettingsError: it is another. The reason never repeats it, for it may hold a key.
    """
    try:
        address = urlsplit(url)
        _ = address.port  # Reading it is what finds out that it is none.
    except ValueError as exc:
        raise SettingsError(f"{setting} is no address; it looks like https://…/infer") from exc
    if not url.isascii() or not url.isprintable() or " " in url:
        raise SettingsError(f"{setting} has characters that no address has; was a line break copied with it?")
    if "@" in address.netloc or address.fragment or not address.hostname or address.scheme not in ("http", "https"):
        raise SettingsError(f"{setting} is not a plain https address; it looks like https://…/infer")
    if address.scheme == "http" and not is_loopback(address):
        raise SettingsError(f"{setting} is http://, which anybody on the way can read; use https://")
    return address


def checked_loopback(url: str, *, setting: str) -> SplitResult:
    """Return an address of this machine.

    Raises:
        SettingsError: it is another's.
    """
    address = checked_address(url, setting=setting)
    if not is_loopback(address):
        raise SettingsError(f"{setting} is not on this machine; for a worker elsewhere, set PROVIDER=container")
    return address


def is_loopback(address: SplitResult) -> bool:
    """Return whether an address is this machine's own."""
    if address.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.hostname or "").is_loopback
    except ValueError:
        return False
