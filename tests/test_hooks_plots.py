"""Forward hooks, feature maps, and pictures of them."""

import sys
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastconv import hooks, layers, plots
from fastconv.networks import DeepConvNet, SimpleConvNet

rng = np.random.default_rng(11)
X = rng.random((2, 1, 28, 28))


def test_a_hook_sees_inputs_and_output():
    layer, seen = layers.Affine(np.ones((3, 2)), np.zeros(2)), []
    x = rng.random((4, 3))
    with hooks.on_forward(layer, lambda *call: seen.append(call)):
        y = layer.forward(x)
    layer.forward(x)
    [(seen_layer, inputs, output)] = seen
    assert seen_layer is layer and inputs[0] is x and output is y
    assert "forward" not in vars(layer)


def test_a_hook_may_replace_the_output():
    layer = layers.Relu()
    handle = hooks.on_forward(layer, lambda layer, inputs, y: -y)
    assert_array_equal(layer.forward(np.array([1.0, -1.0])), [-1, 0])
    handle.remove()
    handle.remove()
    assert_array_equal(layer.forward(np.array([1.0, -1.0])), [1, 0])


def test_hooks_of_one_layer_are_removed_in_reverse_order():
    layer, order = layers.Relu(), []
    first = hooks.on_forward(layer, lambda *_: order.append(1))
    second = hooks.on_forward(layer, lambda *_: order.append(2))
    layer.forward(np.ones(1))
    assert order == [1, 2]
    with pytest.raises(RuntimeError, match="reverse order"):
        first.remove()
    second.remove()
    layer.forward(np.ones(1))
    assert order == [1, 2, 1]
    first.remove()
    assert "forward" not in vars(layer)


@pytest.mark.system("F18")
def test_feature_maps_of_all_layers():
    net = SimpleConvNet(weight_init_std="he", rng=0)
    scores = net.predict(X)
    maps = hooks.feature_maps(net, X)
    assert list(maps) == list(net.layers)
    assert maps["Conv1"].min() < 0  # before the ReLU, though the network applies both in one pass elsewhere
    assert_array_equal(maps["Relu1"], np.maximum(maps["Conv1"], 0))
    assert maps["Pool1"].shape == (2, 30, 12, 12)
    assert_allclose(maps["Affine2"], scores, rtol=1e-10)
    assert_allclose(net.predict(X), scores, rtol=1e-10)


def test_feature_maps_by_position():
    net = DeepConvNet(rng=0)
    maps = hooks.feature_maps(net, X, [4, 0])
    assert list(maps) == [4, 0]
    assert maps[0].shape == (2, 16, 28, 28) and maps[4].shape == (2, 16, 14, 14)


def test_hooks_are_removed_when_something_fails():
    net = SimpleConvNet(rng=0)
    with pytest.raises(KeyError, match="Conv9"):
        hooks.feature_maps(net, X, ["Conv1", "Conv9"])
    with pytest.raises(ValueError, match="to match x"):
        hooks.feature_maps(net, rng.random((1, 2, 28, 28)))
    assert not any("forward" in vars(layer) for layer in net.layers.values())


def test_hooks_work_on_any_object_with_forward():
    net = SimpleNamespace(layers={"double": SimpleNamespace(forward=lambda x: 2 * x)})
    net.predict = lambda x: net.layers["double"].forward(x)
    forward = net.layers["double"].forward
    assert_array_equal(hooks.feature_maps(net, np.ones(2))["double"], [2, 2])
    assert net.layers["double"].forward is forward


def test_learning_curve(tmp_path):
    trainer = SimpleNamespace(
        train_loss_list=list(np.exp(-np.arange(40) / 10)), train_acc_list=[0.5, 0.9], test_acc_list=[0.4, 0.8]
    )
    figure = plots.learning_curve(trainer, tmp_path / "curve.png")
    loss, accuracy = figure.axes
    assert_allclose(loss.lines[0].get_ydata(), trainer.train_loss_list)
    assert len(loss.lines) == 2
    assert [list(line.get_ydata()) for line in accuracy.lines] == [[0.5, 0.9], [0.4, 0.8]]
    assert [line.get_label() for line in accuracy.lines] == ["train", "test"]
    assert matplotlib.image.imread(tmp_path / "curve.png").std() > 0


def test_learning_curve_of_a_short_training():
    trainer = SimpleNamespace(train_loss_list=[1.0], train_acc_list=[0.5], test_acc_list=[0.5], final_test_acc=0.75)
    loss, accuracy = plots.learning_curve(trainer).axes
    assert len(loss.lines) == 1
    assert_array_equal(accuracy.lines[-1].get_ydata(), [0.75, 0.75])


def test_learning_curve_with_a_validation_and_of_a_regression():
    trainer = SimpleNamespace(
        train_loss_list=[2.0, 1.0], train_acc_list=[0.5], test_acc_list=[], val_acc_list=[0.4, 0.6]
    )
    _, accuracy = plots.learning_curve(trainer).axes
    assert [(line.get_label(), list(line.get_ydata())) for line in accuracy.lines] == [
        ("train", [0.5]),
        ("validation", [0.4, 0.6]),
    ]
    trainer = SimpleNamespace(
        train_loss_list=[2.0, 1.0], train_acc_list=[], test_acc_list=[], val_acc_list=[], val_loss_list=[3.0, 2.0],
        test_loss_list=[4.0], final_test_acc=None, final_test_loss=1.5,
    )  # fmt: skip
    _, loss = plots.learning_curve(trainer).axes
    assert loss.get_ylabel() == "loss"
    assert [list(line.get_ydata()) for line in loss.lines] == [[4.0], [3.0, 2.0], [1.5, 1.5]]


@pytest.mark.system("F21")
def test_error_per_loop(tmp_path):
    figure = plots.error_per_loop([3, 2, 0], tmp_path / "errors.png")
    (line,) = figure.axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 3], [3, 2, 0])
    assert matplotlib.image.imread(tmp_path / "errors.png").std() > 0
    assert plots.error_per_loop([0]).axes[0].get_ylim()[1] > 1
    with pytest.raises(ValueError, match="errors: expected at least one loop"):
        plots.error_per_loop([])


def shown(figure):
    """The images of a figure, in order."""
    return [ax.images[0].get_array() for ax in figure.axes if ax.images]


def test_image_grid(tmp_path):
    images = rng.standard_normal((5, 4, 6))
    figure = plots.image_grid(images, columns=2, titles=list("abcde"), path=tmp_path / "grid.png")
    assert len(figure.axes) == 6
    for image, picture in zip(images, shown(figure), strict=True):
        assert_allclose(picture, (image - image.min()) / np.ptp(image))
    assert [ax.get_title() for ax in figure.axes] == [*"abcde", ""]
    assert matplotlib.image.imread(tmp_path / "grid.png")[..., :3].std() > 0.1


def test_colours_and_constant_images():
    figure = plots.image_grid(rng.random((2, 3, 4, 5)))
    assert [picture.shape for picture in shown(figure)] == [(4, 5, 3)] * 2
    assert_array_equal(shown(plots.image_grid(np.full((1, 2, 2), 7.0)))[0], np.zeros((2, 2)))


@pytest.mark.system("F18")
def test_filters_and_feature_maps():
    net = SimpleConvNet(weight_init_std="he", rng=0)
    assert len(shown(plots.show_filters(net.params["W1"]))) == 30
    assert len(shown(plots.show_filters(rng.random((4, 6, 3, 3)), columns=6))) == 24
    assert [p.shape for p in shown(plots.show_filters(rng.random((2, 3, 5, 5))))] == [(5, 5, 3)] * 2
    maps = hooks.feature_maps(net, X[:1], ["Relu1"])["Relu1"]
    assert len(shown(plots.show_feature_maps(maps))) == len(shown(plots.show_feature_maps(maps[0]))) == 30


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 3, 3), (0, 3, 3), (1, 1, 1, 3, 3)])
def test_wrong_images(shape):
    with pytest.raises(ValueError, match="images: expected"):
        plots.image_grid(np.zeros(shape))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastconv\[demo\]'"):
        plots.image_grid(np.zeros((1, 2, 2)))
