"""What only a card can show; the operations themselves are compared with PyTorch by tests/ops, where one is."""

import numpy as np
import pytest
import torch

import fastconv as fc
from fastconv import optim
from fastconv.networks import DeepConvNet, SimpleConvNet
from fastconv.testing import normal
from fastconv.trainer import Trainer

REASON = fc.backends()["cuda"] or ("" if torch.cuda.is_available() else "PyTorch finds no CUDA device")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=f"needs a CUDA device: {REASON}")]


def test_pytorch_shares_memory_both_ways():
    x = torch.randn(2, 3, 8, 8, device="cuda")
    y = fc.relu(fc.to_device(x))
    np.testing.assert_array_equal(torch.as_tensor(y, device="cuda").cpu(), x.clamp_min(0).cpu())


def test_tensors_give_tensors_on_any_stream():
    x, w = torch.randn(64, 3, 32, 32, device="cuda"), torch.randn(8, 3, 3, 3, device="cuda")
    expected = torch.nn.functional.conv2d(x.double(), w.double(), padding=1).relu()
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            y, _ = fc.max_pool2d(fc.relu(fc.conv2d(x * 1, w, padding=1)), 2)
            assert isinstance(y, torch.Tensor)
            close = torch.allclose(y.double(), torch.nn.functional.max_pool2d(expected, 2), rtol=1e-4, atol=1e-4)
        assert close


def test_cupy_arrays_give_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    x = cupy.asarray(normal((2, 3, 8, 8), np.float32))
    for stream in (cupy.cuda.Stream.null, cupy.cuda.Stream(non_blocking=True)):
        with stream:
            y = fc.relu(x - 0.5)
            assert isinstance(y, cupy.ndarray)
            np.testing.assert_array_equal((y + 0).get(), np.maximum(x.get() - 0.5, 0))


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


@pytest.mark.parametrize("make", [SimpleConvNet, DeepConvNet])
def test_our_own_graph_makes_the_steps_that_plain_calls_make(make):
    """Adam's rates and the dropout's masks differ from step to step, and so do the batches, from either side."""
    x, t = normal((120, 1, 28, 28), np.float32), np.arange(120) % 10
    nets = [make(dtype=np.float32, rng=0).to("cuda") for _ in range(2)]
    optimisers = [optim.Adam(), optim.Adam()]
    step, losses = nets[0].capture(x[:20], t[:20], optimisers[0]), []
    for k in range(6):
        at = slice(20 * k, 20 * k + 20)
        batch = (x[at], t[at]) if k % 2 else (fc.to_device(x[at]), fc.to_device(t[at]))
        step(*batch)
        optimisers[1].update(nets[1].params, nets[1].gradient(*batch))
        losses.append((step.loss, nets[1].last_loss))
    assert step.captured and optimisers[0].iter == 6
    for ours, plain in losses:
        assert float(ours) == float(plain)
    for key, p in nets[1].params.items():
        np.testing.assert_array_equal(fc.to_host(nets[0].params[key]), fc.to_host(p))


def test_the_trainer_replays_its_steps():
    x, t = normal((200, 1, 28, 28), np.float32), np.arange(200) % 10
    trainers = []
    for captures in (True, False):
        net = SimpleConvNet(dtype=np.float32, rng=0)
        trainer = Trainer(net, x, t, x, t, 2, 20, "adam", verbose=False, seed=0, device="cuda")
        trainer._captures = captures
        trainer.train()
        trainers.append(trainer)
    assert trainers[0]._captures and trainers[0]._step.captured
    assert trainers[0].train_loss_list == trainers[1].train_loss_list
