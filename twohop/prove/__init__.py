"""Drives hop 1 over a GPU cloud that costs nothing, lets everything go wrong, and holds the ledger to the bill."""
