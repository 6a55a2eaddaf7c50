"""The kernels, one folder per op, and the engine that they share."""
