"""Which of its modes `twohop cost` was asked for, and in which form: one of each, and only together if they fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from twohop.errors import BadInputError

_MODES = {
    "worst": "--worst",
    "actual": "--actual",
    "quick": "--quick",
    "compare": "--compare",
    "what_if": "--what-if",
}
_FORMS = {"as_json": "--json", "as_csv": "--csv", "html": "--html", "explain": "--explain"}
_DO_NOT_FIT = {
    "worst": {"html"},
    "actual": {"html", "explain"},
    "quick": {"html"},
    "compare": {"explain"},
    "what_if": {"explain"},
}
"""The report holds the comparison and the tornado, so these two may stand beside it."""


def check(given: Mapping[str, Any]) -> None:
    """Say at once which options do not go together.

    Raises:
        BadInputError: two of them do not; the reason names both.
    """
    if math.isnan(given["wait_seconds"]):
        raise BadInputError("--wait is no number of seconds")
    modes = [name for name in _MODES if given[name]]
    forms = [name for name in _FORMS if given[name]]
    for found, names in ((modes, _MODES), (forms, _FORMS)):
        if len(found) > 1:
            raise BadInputError(f"{' and '.join(names[name] for name in found)}: choose one of them")
    for mode in modes:
        for form in set(forms) & _DO_NOT_FIT[mode]:
            raise BadInputError(f"{_MODES[mode]} cannot be had with {_FORMS[form]}")
