"""What is computed together: batches across requests, and texts that are written side by side."""
