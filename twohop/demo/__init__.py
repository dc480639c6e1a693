"""A story with real input, told by the program itself: `twohop demo`."""
