"""What the work took: its time, its memory, its part of the bill."""
