"""A GPU cloud that costs nothing: RunPod's APIs, workers that start, idle and crash, a bill, and a virtual clock."""
