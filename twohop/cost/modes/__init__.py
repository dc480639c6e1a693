"""The modes of `twohop cost`: each shows what was asked and returns the amount that may be too high."""

from twohop.cost.modes.actual import actual
from twohop.cost.modes.asked import check
from twohop.cost.modes.forecast import forecast
from twohop.cost.modes.quick import quick
from twohop.cost.modes.worst import Typed, worst

__all__ = ["Typed", "actual", "check", "forecast", "quick", "worst"]
