"""The CPU engine: choice of the instruction set, threads, buffers."""
