"""The client of a Twohop gate for scripts, in the words of the JavaScript client."""

from twohop_client.client import Stream, TwohopClient
from twohop_client.errors import TwohopError

__all__ = ["Stream", "TwohopClient", "TwohopError"]
