"""The words of the gate and the rules between them. Pure: no clock, no I/O, no adapter."""
