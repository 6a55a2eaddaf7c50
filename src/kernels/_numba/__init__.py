"""Shared by the Numba kernels: compilation and threads, vectors in registers, scratch, elementary functions."""
