"""Where jobs and counters are kept: Firestore in production, SQLite on one machine."""
