"""Where answers are kept that are too large for a document: a bucket in production, a folder on one machine."""
