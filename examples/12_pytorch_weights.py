"""
Weights from PyTorch and for PyTorch
====================================

The networks of papers have torchvision's names of parameters. A .safetensors file of a state dict goes both ways;
PyTorch itself is not needed.
"""

import tempfile
from pathlib import Path

import numpy as np

from fastconv.networks import ResNet18

rng = np.random.default_rng(0)
x = rng.random((1, 3, 64, 64), np.float32)

# %%
# ``net.save_torch`` writes what PyTorch's ``load_state_dict(safetensors.torch.load_file(path))`` takes.
net = ResNet18(classes=10, rng=1)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "resnet18.safetensors"
    net.save_torch(path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    other = ResNet18(classes=10, rng=2)
    print("before:", np.abs(other.predict(x) - net.predict(x)).max())
    other.load_torch(path)
    print("after:", np.abs(other.predict(x) - net.predict(x)).max())

    # With strict=False, what fits by name is taken, and the rest is told.
    other.replace("fc", [])
    missing, unexpected = other.load_torch(path, strict=False)
    print("missing:", missing, "unexpected:", unexpected)

    # fastconv's own file, for networks of any kind.
    own = Path(folder) / "params.npz"
    net.save_params(own)
    net.load_params(own)

# %%
# A state dict works too: a mapping from PyTorch's names to arrays, or to tensors.
state = {"fc.weight": rng.standard_normal((10, 512), np.float32), "fc.bias": np.zeros(10, np.float32)}
missing, unexpected = net.load_torch(state, strict=False)
print("taken:", np.array_equal(net.params["fc.W"], state["fc.weight"].T), "left as they were:", len(missing))
