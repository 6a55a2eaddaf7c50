"""
What the kernels do
===================

Each operation has a list of kernels; the first that takes the call computes it. `fastconv.explain` shows which one that
is and why those before it do not, `show_config` what this machine and installation offer.
"""

import numpy as np

import fastconv as fc

fc.show_config()

# %%
# A 3x3 convolution with many channels is done by Winograd's algorithm, which multiplies less.
rng = np.random.default_rng(0)
x = rng.standard_normal((8, 64, 28, 28), np.float32)
w = rng.standard_normal((64, 64, 3, 3), np.float32)
fc.explain("conv2d", x, w, padding=1)

# %%
# It may be forbidden: sums of products are then formed directly. The error against float64 tells the difference.
exact = fc.conv2d(x.astype(np.float64), w.astype(np.float64), padding=1)
for precision in ("high", "highest"):
    fc.set_float32_conv_precision(precision)
    difference = fc.conv2d(x, w, padding=1) - exact
    print(f"{precision}: error {np.sqrt(np.mean(difference**2) / np.mean(exact**2)):.1e} of the result")
fc.explain("conv2d", x, w, padding=1)
fc.set_float32_conv_precision("high")

# %%
# A backend can be forced; it then never falls back. NumPy's is the formula itself, and the truth.
y = fc.conv2d(x[:1], w, padding=1)
with fc.backend("numpy"):
    print("largest difference from the reference:", np.abs(fc.conv2d(x[:1], w, padding=1) - y).max())
    fc.explain("conv2d", x[:1], w, padding=1)

# %%
# Results come from a pool of buffers, so that memory is not asked of the system in each step.
print(fc.memory_stats())
