"""Which addresses a job may be sent to: a signed request and its text are not for every network."""

from __future__ import annotations

import ipaddress

import httpx

from gate.errors import SettingsError


def checked_address(url: str, *, setting: str) -> httpx.URL:
    """Return an address that is safe to send jobs to: https, or this machine itself.

    Raises:
        SettingsError: it is another. The reason never repeats it, for it may hold a key.
    """
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as exc:
        raise SettingsError(f"{setting} is no address; it looks like https://…/infer") from exc
    if address.userinfo or address.fragment or not address.host or address.scheme not in ("http", "https"):
        raise SettingsError(f"{setting} is not a plain https address; it looks like https://…/infer")
    if address.scheme == "http" and not is_loopback(address):
        raise SettingsError(f"{setting} is http://, which anybody on the way can read; use https://")
    return address


def checked_loopback(url: str, *, setting: str) -> httpx.URL:
    """Return an address of this machine.

    Raises:
        SettingsError: it is another's.
    """
    address = checked_address(url, setting=setting)
    if not is_loopback(address):
        raise SettingsError(f"{setting} is not on this machine; for a worker elsewhere, set PROVIDER=container")
    return address


def is_loopback(address: httpx.URL) -> bool:
    """Return whether an address is this machine's own."""
    if address.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return False
