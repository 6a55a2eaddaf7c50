"""Which library an array belongs to."""

import numpy as np

gpu_enable = True
try:
    import cupy as cp
except ImportError:
    gpu_enable = False


def get_array_module(x):
    if not gpu_enable:
        return np
    return cp.get_array_module(x)
