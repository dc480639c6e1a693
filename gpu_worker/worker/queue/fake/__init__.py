"""A queue to try workers against. It speaks RunPod's calls, and goes wrong as told."""
