"""Shared by the CUDA kernels: the one place that imports Numba-CUDA, device arrays, launches, products, sums."""
