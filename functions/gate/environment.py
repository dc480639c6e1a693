"""The environment, read one variable at a time, with errors that name it and say what to write where."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gate.errors import SettingsError

_DIGITS_MAX = 9


class Secret:
    """A value that never shows itself in a log, an error or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value. The one place to search for when asking who uses a secret."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(****)"


class Environment:
    """Variables by name. Blank ones count as absent.

    Each method raises `SettingsError` for a value that it cannot take.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, name: str, default: str) -> str:
        """Return a text, or the default."""
        return self._env.get(name, "").strip() or default

    def needed(self, name: str, remedy: str) -> str:
        """Return a text that must be there; the remedy is told if it is not."""
        value = self.text(name, "")
        need(value, name, remedy)
        return value

    def secret(self, name: str) -> Secret:
        """Return a value that does not show itself; false if it is absent."""
        return Secret(self.text(name, ""))

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """Return what stands between commas, as values that do not show themselves."""
        return tuple(Secret(word) for word in self.words(name))

    def words(self, name: str) -> tuple[str, ...]:
        """Return what stands between commas."""
        return tuple(word.strip().rstrip("/") for word in self._env.get(name, "").split(",") if word.strip())

    def flag(self, name: str) -> bool:
        """Return true or false; false if it is absent."""
        return self.one_of(name, ("true", "false"), "false") == "true"

    def one_of(self, name: str, allowed: type[StrEnum] | tuple[str, ...], default: str) -> str:
        """Return one of several words."""
        value, choices = self.text(name, default), [str(choice) for choice in allowed]
        if value not in choices:
            raise SettingsError(f"{name}={value!r} is not one of: {', '.join(choices)}")
        return value

    def number(self, name: str, default: int, *, least: int, most: int = 10**9 - 1) -> int:
        """Return a whole number within bounds."""
        value = self.text(name, str(default))
        if not value.isdecimal() or len(value) > _DIGITS_MAX or not least <= int(value) <= most:
            raise SettingsError(f"{name}={value[:20]!r} is not a whole number from {least} to {most}")
        return int(value)


def need(value: object, name: str, remedy: str) -> None:
    """Refuse a setting that is empty.

    Raises:
        SettingsError: names it and the remedy.
    """
    if not value:
        where = "" if "secrets:set" in remedy else "; settings are lines in functions/.env"
        raise SettingsError(f"{name} is not set: {remedy}{where}")
