"""The nouns of the operator's command, one module each. `twohop.cli` imports them when they are used."""
