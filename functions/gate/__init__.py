"""The gate: everything hop 1 does between a client's request and the GPU worker's answer."""
