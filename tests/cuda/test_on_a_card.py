"""What only a card can show; the operations themselves are compared with PyTorch by tests/ops, where one is."""

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv import optim
from fastconv.networks import SimpleConvNet
from fastconv.testing import normal

REASON = fc.backends()["cuda"] or ("" if torch.cuda.is_available() else "PyTorch finds no CUDA device")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=f"needs a CUDA device: {REASON}")]


def test_pytorch_shares_memory_both_ways():
    x = torch.randn(2, 3, 8, 8, device="cuda")
    y = fc.relu(x)
    np.testing.assert_array_equal(torch.as_tensor(y, device="cuda").cpu(), x.clamp_min(0).cpu())


def test_a_step_captured_and_replayed_is_a_step():
    """Replays go on where the capture left off: the parameters are those of as many eager steps."""
    x, t = fc.to_device(normal((20, 1, 28, 28), np.float32)), fc.to_device(np.arange(20) % 10)
    nets = [SimpleConvNet(dtype=np.float32, rng=0).to("cuda") for _ in range(2)]

    def step(net):
        optim.SGD(lr=0.01).update(net.params, net.gradient(x, t))

    side = torch.cuda.Stream()
    with torch.cuda.stream(side), fc.cuda_stream(side):
        step(nets[0])
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), fc.cuda_stream(torch.cuda.current_stream()):
        step(nets[0])
    for _ in range(4):
        graph.replay()
    torch.cuda.synchronize()
    for _ in range(5):
        step(nets[1])
    for key, p in nets[1].params.items():
        np.testing.assert_allclose(fc.to_host(nets[0].params[key]), fc.to_host(p), rtol=1e-5, atol=1e-6)
