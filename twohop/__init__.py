"""The operator's command: `twohop`."""
