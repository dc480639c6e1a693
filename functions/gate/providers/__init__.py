"""Hosts that run the worker, each in a file of its own.

A new one is a file with a class that implements `ports.Provider` and `from_settings`, a line here, and a subclass of
the contract suite in `tests/contract/provider_contract.py`.
"""

from __future__ import annotations

import importlib
from typing import Protocol

from gate.errors import SettingsError
from gate.ports import Clock, Provider
from gate.settings import Settings

PROVIDERS = {
    "runpod": "gate.providers.runpod:RunPodProvider",
    "container": "gate.providers.container:ContainerProvider",
    "local": "gate.providers.local:LocalProvider",
}
"""Where each is, by the name that the setting PROVIDER gives it. Only the one that is chosen is imported."""


class ProviderClass(Protocol):
    """What a provider's class can do beside being one."""

    def from_settings(self, settings: Settings, *, clock: Clock) -> Provider:
        """Return the provider that the settings describe, without connecting yet.

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
    module, _, name = PROVIDERS[settings.provider].partition(":")
    chosen: ProviderClass = getattr(importlib.import_module(module), name)
    return chosen.from_settings(settings, clock=clock)
