"""One job, from its signed body to its result, behind whatever front it came in by."""
