"""What keeps the ledger true and the bill small while nobody looks: the sweeper."""
