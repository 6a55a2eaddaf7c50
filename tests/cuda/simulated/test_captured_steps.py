"""Training steps captured and replayed: the same bits as plain steps, on the same memory, with new numbers each time.

The simulator's graph is a list of launches, none of which runs when it is captured.
"""

from types import SimpleNamespace

import numpy as np
import pytest

import fastconv as fc
from fastconv import hooks, layers, optim
from fastconv.kernels._cuda import graphs, pool
from fastconv.kernels._cuda.kernels import capture
from fastconv.layers._layer import Layer
from fastconv.networks import MultiLayerNetExtend, Network, SimpleConvNet
from fastconv.testing import normal
from fastconv.trainer import Trainer

CONV = {"filter_num": 2, "filter_size": 3, "pad": 1, "stride": 1}
X, T = normal((12, 5), np.float32), np.arange(12) % 3
IMAGES = normal((12, 1, 4, 4), np.float32, 1)
N = 4
OPTIMISERS = {
    **Trainer.optimizers,
    "sgd": lambda: optim.SGD(0.1, weight_decay=0.01),
    "the book's adam": optim.BookAdam,
}


def perceptron(**options):
    return MultiLayerNetExtend(5, [4], 3, dtype=np.float32, rng=0, **options).to("cuda")


def convolutional(**options):
    return SimpleConvNet((1, 4, 4), CONV, 4, 3, "he", np.float32, rng=0, **options).to("cuda")


def batches(count, data=X):
    for k in range(count):
        at = np.arange(k * N, (k + 1) * N) % len(data)
        yield data[at], T[at]


def same(one, other):
    for key, p in one.params.items():
        np.testing.assert_array_equal(fc.to_host(p), fc.to_host(other.params[key]))
    for a, b in zip(one.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(fc.to_host(a), fc.to_host(b))


def train(make, make_optimiser, steps=6, rate=None, data=X):
    """The network after captured steps, after the same plain ones, and both lists of losses."""
    results = []
    for captures in (True, False):
        net, optimiser, losses = make(), make_optimiser(), []
        step = net.capture(data[:N], T[:N], optimiser) if captures else None
        for k, (x, t) in enumerate(batches(steps, data)):
            if rate is not None:
                optimiser.lr = rate(k)
            if step:
                step(x, t)
                losses.append(step.loss)
            else:
                optimiser.update(net.params, net.gradient(x, t))
                losses.append(net.last_loss)
        assert step is None or step.captured
        results.append((net, optimiser, [float(loss) for loss in losses]))
    return results


@pytest.mark.parametrize("name", OPTIMISERS)
def test_replayed_steps_are_plain_steps(name):
    (net, optimiser, losses), (plain, expected, plain_losses) = train(perceptron, OPTIMISERS[name])
    same(net, plain)
    assert losses == plain_losses and len(set(losses)) == len(losses)
    assert getattr(optimiser, "iter", 6) == getattr(expected, "iter", 6) == 6


@pytest.mark.parametrize("options", [{}, {"use_batchnorm": True}], ids=str)
def test_convolutions(options):
    (net, _, losses), (plain, _, plain_losses) = train(lambda: convolutional(**options), optim.Adam, 4, data=IMAGES)
    same(net, plain)
    assert losses == plain_losses


def test_dropout_draws_another_mask_whenever_it_is_replayed():
    nets = train(lambda: perceptron(use_dropout=True), optim.SGD)
    same(nets[0][0], nets[1][0])
    step_net = nets[0][0]
    masks = []
    step = step_net.capture(X[:N], T[:N], optim.SGD())
    for _ in range(6):
        step(X[:N], T[:N])
        masks.append(fc.to_host(step_net.layers["Dropout1"].mask).tobytes())
    assert len(set(masks)) > 3


def test_dropout_without_a_generator_follows_numpys_seed():
    def make():
        np.random.seed(3)  # noqa: NPY002
        weights = normal((5, 6), np.float32, 1), normal((6, 3), np.float32, 2)
        row = layers.Affine(weights[0]), layers.Dropout(0.5), layers.Affine(weights[1])
        return Network(dict(enumerate(row))).to("cuda")

    nets = train(make, optim.SGD)
    same(nets[0][0], nets[1][0])


def test_a_learning_rate_that_changes():
    nets = train(perceptron, optim.Momentum, rate=lambda k: 0.1 / (k + 1))
    same(nets[0][0], nets[1][0])


def test_nothing_is_computed_when_a_step_is_captured_and_nothing_launched_by_python_after():
    net, optimiser = perceptron(), optim.Adam()
    step = net.capture(X[:N], T[:N], optimiser)
    for x, t in batches(3):
        step(x, t)
    assert step.captured
    net.gradient = net.predict = None  # no Python of the network's runs any more
    launches = step._graph._graph._launches
    step._graph._graph._launches = []
    before = {key: fc.to_host(p).copy() for key, p in net.params.items()}
    step(X[:N], T[:N])
    for key, p in before.items():
        np.testing.assert_array_equal(fc.to_host(net.params[key]), p)
    step._graph._graph._launches = launches
    step(X[:N], T[:N])
    assert any((fc.to_host(net.params[key]) != p).any() for key, p in before.items())


def test_the_graphs_memory_is_its_own():
    """Plain work between replays neither takes the graph's memory nor changes what it computes."""
    net, plain = convolutional(), convolutional()
    step = net.capture(IMAGES[:N], T[:N], optim.SGD(0.1))
    optimiser = optim.SGD(0.1)
    for x, t in batches(5, IMAGES):
        step(x, t)
        optimiser.update(plain.params, plain.gradient(x, t))
        net.accuracy(IMAGES, T, batch_size=5)
        junk = [fc.to_device(np.full(2000, np.nan, np.float32)) for _ in range(20)]
        del junk
        pool.empty_cache()
    same(net, plain)


def test_a_batch_of_another_size_takes_a_plain_step():
    net, plain, optimiser = perceptron(), perceptron(), optim.Adam()
    step, other = net.capture(X[:N], T[:N], optimiser), optim.Adam()
    for k in range(7):
        n = N - (k % 3 == 2)
        step(X[k : k + n], T[k : k + n])
        other.update(plain.params, plain.gradient(X[k : k + n], T[k : k + n]))
    assert step.captured and optimiser.iter == 7
    same(net, plain)


def test_one_hot_targets_device_batches_and_wider_types():
    nets = [perceptron() for _ in range(2)]
    steps = [net.capture(X[:N], np.eye(3)[T[:N]], optim.SGD(0.1)) for net in nets]
    for x, t in batches(4):
        steps[0](x.astype(np.float64), np.eye(3)[t])
        steps[1](fc.to_device(x), fc.to_device(t))
    same(*nets)


def test_rows_of_data_on_the_device():
    net, plain, optimiser = perceptron(), perceptron(), optim.SGD(0.1)
    step = net.capture(X, T, optim.SGD(0.1), rows=N)
    for k in range(5):
        places = (np.arange(N) * 5 + k) % len(X)
        step(places)
        optimiser.update(plain.params, plain.gradient(X[places], T[places]))
    assert step.captured
    same(net, plain)


def test_replaced_parameters_are_noticed(tmp_path):
    net, optimiser = perceptron(), optim.Momentum(0.1)
    net.save_params(tmp_path / "start.npz")
    step = net.capture(X[:N], T[:N], optimiser)
    for x, t in batches(4):
        step(x, t)
    net.load_params(tmp_path / "start.npz")
    optimiser.v = None
    for x, t in batches(4):
        step(x, t)
    assert step.captured
    plain, other = perceptron(), optim.Momentum(0.1)
    for x, t in batches(4):
        other.update(plain.params, plain.gradient(x, t))
    same(net, plain)


def test_hooks_see_every_step():
    net, seen = perceptron(), []
    step = net.capture(X[:N], T[:N], optim.SGD())
    for x, t in batches(3):
        step(x, t)
    with hooks.on_forward(net.layers["Affine1"], lambda layer, inputs, output: seen.append(output.shape)):
        step(X[:N], T[:N])
        step(X[:N], T[:N])
    assert seen == [(N, 4)] * 2
    step(X[:N], T[:N])
    assert len(seen) == 2


class Curious(Layer):
    """Looks at its numbers on the host."""

    runs_on_cuda = True

    def forward(self, x):
        fc.to_host(x)
        return x

    def backward(self, dout):
        return dout


def test_a_step_that_needs_the_host_is_refused_and_nothing_is_changed():
    def make():
        weights = normal((5, 6), np.float32, 1), normal((6, 3), np.float32, 2)
        return Network({"1": layers.Affine(weights[0]), "2": Curious(), "3": layers.Affine(weights[1])}).to("cuda")

    net, optimiser = make(), optim.Adam()
    step = net.capture(X[:N], T[:N], optimiser)
    step(X[:N], T[:N])
    step(X[:N], T[:N])
    before, loss = {key: fc.to_host(p).copy() for key, p in net.params.items()}, float(net.last_loss)
    with pytest.raises(RuntimeError, match="the step cannot be captured: it copies to the host"):
        step(X[:N], T[:N])
    assert optimiser.iter == 2 and not step.captured and capture.get() is None and float(net.last_loss) == loss
    for key, p in before.items():
        np.testing.assert_array_equal(fc.to_host(net.params[key]), p)
    trainer = Trainer(make(), X, T, X, T, 1, N, "adam", verbose=False, seed=0, device="cuda")
    trainer.train()  # plainly, then
    assert trainer.optimizer.iter == len(trainer.train_loss_list) == 3


def test_the_trainer_captures_its_steps():
    results = []
    for captures in (True, False):
        trainer = Trainer(perceptron(), X, T, X, T, 2, N, "adam", verbose=False, seed=0, shuffle=True, device="cuda")
        trainer._captures = captures
        trainer.train()
        results.append(trainer)
        assert (trainer._step is not None and trainer._step.captured) is captures
    same(results[0].network, results[1].network)
    assert results[0].train_loss_list == results[1].train_loss_list
    assert len(set(results[0].train_loss_list)) == 6


def test_what_cannot_be_captured_says_so():
    net = perceptron()
    with pytest.raises(TypeError, match=r"optimizer: expected one of fastconv\.optim, got int"):
        net.capture(X[:N], T[:N], 1)
    with pytest.raises(TypeError, match=r"t: expected labels .* on the device"):
        net.capture(X[:N], T[:N], optim.SGD())(fc.to_device(X[:N]), fc.to_device(np.eye(3)[T[:N]]))
    with pytest.raises(TypeError, match=r"expected a network on 'cuda', this one is on 'cpu'"):
        perceptron().to("cpu").capture(X[:N], T[:N], optim.SGD())
    net.gradient = None
    with pytest.raises(TypeError, match="own gradient"):
        net.capture(X[:N], T[:N], optim.SGD())


class Driver:
    """The driver's functions that a graph needs, which note their calls."""

    def __init__(self, failing=()):
        self.calls, self.failing = [], failing
        mode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")
        flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=SimpleNamespace(value=1))
        self.driver, self.binding = self, SimpleNamespace(CUstreamCaptureMode=mode, CUstream_flags=flags)

    def __getattr__(self, name):
        def call(*args):
            self.calls.append((name, *args))
            if name in self.failing:
                raise OSError(f"Call to {name} results in CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
            return {"cuStreamCreate": 7, "cuStreamEndCapture": "graph", "cuGraphInstantiate": "ready"}.get(name)

        return call


@pytest.fixture
def driven(monkeypatch):
    """A capture by the driver's graph, on a driver that is made up."""

    def make(*failing):
        driver = Driver(failing)
        monkeypatch.setattr(graphs, "Graph", lambda: graphs.DriverGraph(driver))
        monkeypatch.setattr(
            graphs.cuda, "external_stream", lambda handle: SimpleNamespace(handle=handle), raising=False
        )
        return driver, graphs.Capture(dict)

    return make


def names(driver):
    return [call[0] for call in driver.calls]


CAPTURED = ["cuStreamCreate", "cuStreamBeginCapture", "launch", "cuStreamEndCapture", "cuGraphInstantiate"]


class Launchable:
    """A compiled kernel that notes how it is launched."""

    def __init__(self, driver):
        self.driver = driver

    def __getitem__(self, configuration):
        assert configuration[:2] == (3, 128) and configuration[2].handle == 7
        return self.driver.launch


def launch_on(driver):
    def work():
        capture.get().launch(Launchable(driver), 3, 128, ("numbers",))

    return work


def test_the_drivers_functions_are_called_in_order(driven):
    driver, captured = driven()
    captured.run(launch_on(driver))
    assert names(driver) == [*CAPTURED, "cuGraphDestroy", "cuStreamDestroy"]
    assert ("cuStreamCreate", 1) in driver.calls and ("cuStreamBeginCapture", 7, "relaxed") in driver.calls
    assert ("cuGraphInstantiate", "graph", 0) in driver.calls
    assert graphs.stream.get() == 0 and capture.get() is None
    captured.replay()
    with fc.cuda_stream(SimpleNamespace(handle=9)):
        captured.replay()
    assert driver.calls[-2:] == [("cuGraphLaunch", "ready", 0), ("cuGraphLaunch", "ready", 9)]
    del captured
    assert driver.calls[-1] == ("cuGraphExecDestroy", "ready")


@pytest.mark.parametrize("failing", ["cuStreamBeginCapture", "launch", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_what_the_driver_refuses_leaves_nothing_open(driven, failing):
    driver, captured = driven(failing)
    with pytest.raises(graphs.Refused, match="the step cannot be captured: Call to"):
        captured.run(launch_on(driver))
    assert names(driver)[-1] == "cuStreamDestroy" and names(driver).count("cuStreamDestroy") == 1
    assert names(driver).count("cuStreamEndCapture") == (failing != "cuStreamBeginCapture")
    assert graphs.stream.get() == 0 and capture.get() is None


def test_another_error_on_the_way_is_that_error(driven):
    driver, captured = driven()

    def work():
        raise ValueError("of the work's own")

    with pytest.raises(ValueError, match="own"):
        captured.run(work)
    assert names(driver)[-3:] == ["cuStreamEndCapture", "cuGraphDestroy", "cuStreamDestroy"]


def test_too_many_changing_numbers_are_refused():
    captured = graphs.Capture(dict)
    with pytest.raises(graphs.Refused, match="bytes of numbers"):
        captured.changing(np.dtype(np.float64), 1000, list)


def test_pytorchs_momentum_takes_a_new_rate_for_all_of_its_velocity():
    def make():
        return optim.SGD(0.1, momentum=0.9)

    rates = [0.1, 0.1, 0.1, 0.02, 0.02, 0.3]
    (net, optimiser, _), (plain, expected, _) = train(perceptron, make, rate=lambda k: rates[k])
    same(net, plain)
    assert optimiser._marks == expected._marks


@pytest.mark.parametrize("grouped", [False, True])
def test_steps_of_several_rates_or_counts_are_refused(grouped):
    """The trainer makes plain steps then."""
    net, optimiser = perceptron(), optim.Adam({"W1": 0.1, "*": 0.01} if grouped else 0.1)
    if not grouped:
        optimiser.update({"other": fc.to_device(np.ones(2))}, {"other": fc.to_device(np.ones(2))})
    step = net.capture(X[:N], T[:N], optimiser)
    with pytest.raises(RuntimeError, match="differ in their rates or counts"):
        for _ in range(4):
            step(X[:N], T[:N])
    assert optimiser.iter == 2 + (not grouped) and not step.captured


def test_an_optimisers_state_moves_with_the_network():
    net, plain, optimiser, expected = perceptron(), perceptron().to("cpu"), optim.Adam(), optim.Adam()
    net.to("cpu")
    for k, (x, t) in enumerate(batches(6)):
        if k in (2, 4):
            net.to("cuda" if k == 2 else "cpu")
        optimiser.update(net.params, net.gradient(x, t))
        expected.update(plain.params, plain.gradient(x, t))
    for key, p in plain.params.items():
        np.testing.assert_allclose(net.params[key], p, rtol=1e-4, atol=1e-6)


def test_a_training_on_the_device_is_resumed(tmp_path):
    def make():
        return Trainer(perceptron(), X, T, epochs=1, mini_batch_size=N, verbose=False, device="cuda", seed=0,
                       optimizer="Adam", validation=(X[:N], T[:N]))  # fmt: skip

    whole, first, second = make(), make(), make()
    whole.train()
    for _ in range(2):
        first.train_step()
    first.save_checkpoint(tmp_path / "a.npz")
    second.resume(tmp_path / "a.npz")
    second.train()
    assert [float(loss) for loss in second.train_loss_list] == [float(loss) for loss in whole.train_loss_list]
    assert second.val_loss_list == whole.val_loss_list
    same(second.network, whole.network)
