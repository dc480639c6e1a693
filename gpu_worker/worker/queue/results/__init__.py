"""What jobs made, on its way to the queue: results until they are acknowledged, streams, progress."""
