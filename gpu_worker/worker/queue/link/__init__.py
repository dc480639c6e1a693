"""The connection to the queue: its addresses, kept connections, and waits between tries."""
