"""Hosts that run the worker, each in a file of its own.

A new one is a file with a class that implements `gate.provider.Provider` and `from_settings`, a line here, and a
subclass of the contract suite in `tests/contract/provider_contract.py`.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol

from gate.control import ProviderControl
from gate.errors import SettingsError
from gate.ports import Clock
from gate.provider import Provider
from gate.settings import Settings

PROVIDERS = {
    "runpod": "gate.providers.runpod:RunPodProvider",
    "container": "gate.providers.container:ContainerProvider",
    "local": "gate.providers.local:LocalProvider",
}
"""Where each is, by the name that the setting PROVIDER gives it. Only the one that is chosen is imported."""

CONTROLS = {"runpod": "gate.providers.runpod_control:RunPodControl"}
"""Where the switches and the bill are of those providers that have an API for them."""


class ProviderClass(Protocol):
    """What a provider's class can do beside being one."""

    def from_settings(self, settings: Settings, *, clock: Clock) -> Provider:
        """Return the provider that the settings describe, without connecting yet.

        Raises:
            SettingsError: one of its own settings is missing or wrong.
        """
        ...


class ControlClass(Protocol):
    """What a control's class can do beside being one."""

    def from_settings(self, settings: Settings) -> ProviderControl:
        """Return the control that the settings describe, without connecting yet.

        Raises:
            SettingsError: one of its own settings is missing or wrong.
        """
        ...


def open_provider(settings: Settings, *, clock: Clock) -> Provider:
    """Return the provider that is chosen.

    Raises:
        SettingsError: there is none of that name, or one of its settings is missing or wrong.
    """
    if settings.provider not in PROVIDERS:
        raise SettingsError(f"PROVIDER={settings.provider!r} is not one of: {', '.join(PROVIDERS)}")
    chosen: ProviderClass = _imported(PROVIDERS[settings.provider])
    return chosen.from_settings(settings, clock=clock)


def open_control(settings: Settings) -> ProviderControl | None:
    """Return the switches and the bill of the chosen provider; None if it has no API for them.

    Raises:
        SettingsError: one of its settings is missing or wrong.
    """
    if settings.provider not in CONTROLS:
        return None
    chosen: ControlClass = _imported(CONTROLS[settings.provider])
    return chosen.from_settings(settings)


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
