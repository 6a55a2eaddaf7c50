"""Arrays changed in place between forward and backward: the book's gradient, or a clear error, never a wrong one."""

import contextlib
import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from fastconv import hooks, layers
from fastconv.layers._layer import Layer
from fastconv.networks import MultiLayerNetExtend, SimpleConvNet
from fastconv.networks._network import Network
from fastconv.testing import normal

DTYPES = (np.float32, np.float64, np.float16)


def convolution(**options):
    return layers.Convolution(normal((3, 2, 3, 3), np.float64), normal(3, np.float64, 1), **options)


# What keeps its input, and refuses one that was changed: a layer and the shape of an input.
REFUSING = {
    "Convolution": (convolution, (2, 2, 6, 5)),
    "Convolution, grouped": (
        lambda: layers.Convolution(normal((4, 1, 3, 3), np.float64), None, groups=2),
        (1, 2, 6, 5),
    ),
    "TransposedConvolution": (lambda: layers.TransposedConvolution(normal((2, 3, 3, 3), np.float64)), (2, 2, 4, 5)),
    "BatchNormalization": (lambda: layers.BatchNormalization(np.ones(12), np.zeros(12)), (5, 12)),
    "BatchNormalization of images": (lambda: layers.BatchNormalization(np.ones(12), np.zeros(12)), (5, 3, 2, 2)),
    "BatchNorm2d": (lambda: layers.BatchNorm2d(3), (4, 3, 5, 5)),
    "Affine of images": (lambda: layers.Affine(normal((12, 4), np.float64), np.zeros(4)), (5, 3, 2, 2)),
    "LeakyRelu": (layers.LeakyRelu, (3, 17)),
    "Sequential": (lambda: layers.Sequential([convolution(), layers.Relu()]), (2, 2, 6, 5)),
    "Sequential that ends in a pooling": (
        lambda: layers.Sequential([convolution(), layers.Relu(), layers.Pooling(2, 2)]),
        (2, 2, 6, 6),
    ),
    "Residual": (lambda: layers.Residual([convolution(pad=1), layers.Relu()], [convolution(pad=1)]), (2, 2, 6, 5)),
}


@pytest.fixture(params=REFUSING)
def refusing(request):
    make, shape = REFUSING[request.param]
    return make(), normal(shape, np.float64, 5)


class TestRefused:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_one_changed_number(self, refusing, dtype):
        layer, x = refusing
        x = x.astype(dtype)
        y = layer.forward(x)
        expected = layer.backward(y)
        x.reshape(-1)[-1] += 1
        if "Batch" in type(layer).__name__ and not np.may_share_memory(layer.x, x):  # a copy in its parameters' dtype
            np.testing.assert_array_equal(layer.backward(y), expected)
            return
        with pytest.raises(RuntimeError, match=r"\.backward: its input was changed in place since forward; .* a copy"):
            layer.backward(y)

    def test_every_place_is_seen(self, refusing):
        layer, x = refusing
        y = layer.forward(x)
        for i in range(x.size):
            before = x.reshape(-1)[i]
            x.reshape(-1)[i] = np.nextafter(before, np.inf)
            with pytest.raises(RuntimeError, match="changed in place"):
                layer.backward(y)
            x.reshape(-1)[i] = before
        layer.backward(y)

    def test_unchanged_or_put_back_is_the_gradient(self, refusing):
        layer, x = refusing
        y = layer.forward(x.copy())
        expected = layer.backward(y)
        y = layer.forward(x)
        np.testing.assert_array_equal(layer.backward(y), expected)
        x += 1
        x -= 1
        if np.array_equal(x, normal(x.shape, np.float64, 5)):
            np.testing.assert_array_equal(layer.backward(y), expected)

    def test_the_result_may_be_changed(self, refusing):
        layer, x = refusing
        y = layer.forward(x)
        dout = normal(y.shape, np.float64, 6)
        expected = layer.backward(dout)
        layer.forward(x)[...] = 3
        np.testing.assert_array_equal(layer.backward(dout), expected)

    def test_rows_exchanged(self, refusing):
        layer, x = refusing
        if len(x) < 2:
            pytest.skip("one image")
        y = layer.forward(x)
        x[...] = x[::-1].copy()
        with pytest.raises(RuntimeError, match="changed in place"):
            layer.backward(y)

    def test_a_strided_input_is_copied(self, refusing):
        layer, x = refusing
        wide = np.repeat(x, 2, axis=-1)
        expected = layer.backward(layer.forward(x))
        y = layer.forward(wide[..., ::2])
        wide[...] = 0
        np.testing.assert_allclose(layer.backward(y), expected, rtol=1e-12, atol=1e-12)

    def test_copies_and_pickles_of_a_layer_go_on(self, refusing):
        layer, x = refusing
        y = layer.forward(x)
        expected = layer.backward(y)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            np.testing.assert_array_equal(other.backward(y), expected)


def test_large_inputs_are_looked_at_whole():
    """Beyond one piece of the fingerprint, at the borders of pieces and at the end."""
    layer = layers.LeakyRelu()
    for count in (32_768, 32_769, 262_145, 3_000_001):
        x = np.zeros(count, np.float32)
        layer.forward(x)
        for i in {0, 1, 31, count // 2, 32_767, 32_768, 65_535, count - 2, count - 1} & set(range(count)):
            x[i] = 1e-30
            with pytest.raises(RuntimeError, match="changed in place"):
                layer.backward(x)
            x[i] = 0
        layer.backward(x)


class BookRelu:
    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dout = dout.copy()
        dout[self.mask] = 0
        return dout


class TestRelu:
    @pytest.mark.parametrize("dtype", (np.float32, np.float64))
    @pytest.mark.parametrize("shape", [(), (1,), (9,), (33,), (3, 5), (2, 3, 7, 5), (0, 4)])
    def test_the_books_gradient_whatever_was_changed(self, shape, dtype):
        ours, book = layers.Relu(), BookRelu()
        x = np.array(normal(shape, dtype))
        x.reshape(-1)[:4] = np.array([np.nan, 0, -0.0, -1], dtype)[: x.size]
        dout = np.array(normal(shape, dtype, 1))
        expected = book.forward(np.atleast_1d(x))
        h = ours.forward(x)
        np.testing.assert_array_equal(h.reshape(expected.shape), expected)
        h += normal(shape, dtype, 2)  # a shortcut
        x[...] = 1
        np.testing.assert_array_equal(ours.backward(dout).reshape(expected.shape), book.backward(np.atleast_1d(dout)))
        np.testing.assert_array_equal(ours.mask, book.mask.reshape(shape))
        assert ours.mask.dtype == bool
        assert ours.mask.shape == shape

    @pytest.mark.parametrize("dtype", (np.float16, np.int32, ">f4"))
    def test_other_dtypes_and_layouts(self, dtype):
        given = (4 * normal((6, 8), np.float64)).astype(dtype)[:, ::2]
        relu, book = layers.Relu(), BookRelu()
        expected, y = book.forward(given), relu.forward(given)
        np.testing.assert_array_equal(y, expected)
        given[...] = 5
        np.testing.assert_array_equal(relu.backward(y), book.backward(y))

    def test_mask_before_forward_and_wrong_shapes(self):
        relu = layers.Relu()
        assert relu.mask is None
        relu.forward(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"dout: expected shape \(2, 3\) \(the shape of relu's x\), got \(3, 2\)"):
            relu.backward(np.ones((3, 2)))

    def test_an_assigned_result_is_used_until_the_next_forward(self):
        relu = layers.Relu()
        relu.forward(np.array([1.0, -1.0]))
        relu.out = np.array([0.0, 2.0])
        np.testing.assert_array_equal(relu.backward(np.ones(2)), [0, 1])
        np.testing.assert_array_equal(relu.mask, [True, False])
        relu.forward(np.array([1.0, -1.0]))
        np.testing.assert_array_equal(relu.backward(np.ones(2)), [1, 0])
        assert relu.out is None

    @pytest.mark.parametrize("backend", ["numpy", "numba", "cython"])
    def test_every_backend(self, backend):
        import fastconv as fc

        if fc.backends()[backend]:
            pytest.skip(fc.backends()[backend])
        relu, x, dout = layers.Relu(), normal((7, 13), np.float32), normal((7, 13), np.float32, 1)
        with fc.backend(backend):
            h = relu.forward(x)
            h -= 1
            np.testing.assert_array_equal(relu.backward(dout), np.where(x <= 0, 0, dout))


def test_pooling_and_dropout_do_not_mind():
    x, rng = normal((2, 3, 6, 6), np.float64), np.random.default_rng(0)
    for make in (
        lambda: layers.Pooling(2, 2),
        lambda: layers.MinPooling(2, 2),
        lambda: layers.AveragePooling(2, 2),
        lambda: layers.Dropout(0.5, rng=3),
        lambda: layers.Dropout2d(0.5, rng=3),
    ):
        one, other = make(), make()
        y = one.forward(x)
        dout = rng.standard_normal(y.shape)
        expected = one.backward(dout)
        given = x.copy()
        other.forward(given)[...] = 7
        given[...] = 7
        np.testing.assert_array_equal(other.backward(dout), expected)


def test_recurrent_steps_and_squared_errors_refuse():
    step = layers.RecurrentStep(normal((3, 2), np.float64), normal((3, 3), np.float64, 1))
    for changed, what in ((0, "input"), (1, "input h"), (2, "result")):
        x, h = normal((4, 2), np.float64), normal((4, 3), np.float64, 1)
        arrays = x, h, step.forward(x, h)
        arrays[changed][0, 0] += 1
        with pytest.raises(RuntimeError, match=rf"RecurrentStep\.backward: its {what} was changed in place"):
            step.backward(np.ones((4, 3)))
    loss, y = layers.IdentityWithLoss(), normal((4, 2), np.float64)
    loss.forward(y, np.zeros((4, 2)))
    y *= 2
    with pytest.raises(RuntimeError, match=r"IdentityWithLoss\.backward: its input was changed"):
        loss.backward()


class TestInNetworks:
    def net(self):
        rng = np.random.default_rng(0)
        net = SimpleConvNet((1, 28, 28), dtype=np.float32)
        return net, rng.standard_normal((100, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, 100)

    def test_a_backward_pass_by_hand_behind_predict(self):
        net, x, t = self.net()
        net.loss(x, t)
        x += 1
        dout = net.last_layer.backward()
        found = list(net.layers.values())
        for layer in reversed(found[1:]):
            dout = layer.backward(dout)
        with pytest.raises(RuntimeError, match=r"Convolution\.backward: its input was changed"):
            found[0].backward(dout)

    def test_gradient_takes_no_fingerprints(self, monkeypatch):
        from fastconv.layers import _kept

        net, x, t = self.net()
        expected = net.gradient(x, t)
        monkeypatch.setattr(_kept, "fingerprint", lambda array: pytest.fail("a fingerprint was taken"))
        for key, g in net.gradient(x, t).items():
            np.testing.assert_array_equal(g, expected[key])

    def test_a_layer_goes_from_hand_to_network_and_back(self):
        net, x, t = self.net()
        first = net.layers["Conv1"]
        other = normal(x.shape, np.float32, 9)
        y = first.forward(other)
        expected = first.backward(y)
        net.gradient(x, t)
        other += 1
        first.backward(y)  # of the network's x, which nobody changed
        other -= other
        first.forward(x)
        other = normal(x.shape, np.float32, 9)
        first.forward(other)
        np.testing.assert_array_equal(first.backward(y), expected)

    @pytest.mark.parametrize("place", ["hook", "layer"])
    def test_foreign_code_inside_a_network_is_not_trusted(self, place):
        """What changes the input of the layer before it: a hook, or a layer that is not fastconv's."""
        keep = SimpleNamespace()

        class InPlace(Layer):
            def forward(self, x):
                keep.x *= 2
                return x

            def backward(self, dout):
                return dout

        conv = layers.Convolution(normal((3, 1, 3, 3), np.float32), None, pad=1)
        affine = layers.Affine(normal((3 * 28 * 28, 10), np.float32) * 0.01)
        found = [layers.LeakyRelu(), conv, *([InPlace()] if place == "layer" else []), affine]
        net = Network({str(i): layer for i, layer in enumerate(found)})
        _, x, t = self.net()
        original = conv.forward

        def forward(x, **options):
            keep.x = x
            return original(x, **options)

        if place == "layer":
            conv.forward = forward
            with pytest.raises(RuntimeError, match=r"Convolution\.backward: its input was changed"):
                net.gradient(x, t)
        else:

            def hook(layer, inputs, output):
                inputs[0][...] = 1

            with hooks.on_forward(conv, hook), pytest.raises(RuntimeError, match=r"Convolution\.backward: its input"):
                net.gradient(x, t)

    def test_networks_with_batch_normalisation(self):
        net = MultiLayerNetExtend(784, [50, 30], 10, use_batchnorm=True)
        x, t = normal((64, 784), np.float64), np.arange(64) % 10
        g = net.gradient(x, t)
        expected = net.gradient(x.copy(), t)
        assert all(np.array_equal(g[key], expected[key]) for key in g)

    def test_an_interrupt_at_the_border_of_a_pass_leaves_nothing_private(self, monkeypatch):
        from fastconv.layers import _kept

        net, x, t = self.net()

        def interrupted(self, *error):
            raise KeyboardInterrupt

        monkeypatch.setattr(_kept.private, "__exit__", interrupted)
        with contextlib.suppress(KeyboardInterrupt):
            net.predict(x)
        monkeypatch.undo()
        layer = convolution()
        x = normal((2, 2, 6, 5), np.float64)
        y = layer.forward(x)
        x += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            layer.backward(y)
