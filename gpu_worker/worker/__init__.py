"""The worker: runs one model for requests that hop 1 signed, behind any host's front."""
