"""Wrong values raise ValueError, wrong types TypeError, at once, naming the argument."""

import numpy as np
import pytest

import fastconv as fc

X = np.ones((2, 4, 8, 8), np.float32)
W = np.ones((6, 4, 3, 3), np.float32)
DOUT = np.ones((2, 6, 6, 6), np.float32)
NAN = float("nan")

BAD = [
    # call, error, the argument that the message must name
    (lambda: fc.conv2d(X[0, 0], W), ValueError, "x"),
    (lambda: fc.conv2d(X, W[0]), ValueError, "w"),
    (lambda: fc.conv2d(X, W[:, :3]), ValueError, "w"),
    (lambda: fc.conv2d(X, W, np.ones(5)), ValueError, "b"),
    (lambda: fc.conv2d(X, W, np.ones((6, 2))), ValueError, "b"),
    (lambda: fc.conv2d(X.astype(complex), W), TypeError, "x"),
    (lambda: fc.conv2d(X.astype(object), W), TypeError, "x"),
    (lambda: fc.conv2d(X, W.astype("S4")), TypeError, "w"),
    (lambda: fc.conv2d("image", W), TypeError, "x"),
    (lambda: fc.conv2d(None, W), TypeError, "x"),
    (lambda: fc.conv2d(np.ma.masked_array(X), W), TypeError, "x"),
    (lambda: fc.conv2d(X.astype(np.longdouble), W), TypeError, "x"),
    (lambda: fc.conv2d([[1, 2], [3]], W), TypeError, "x"),
    (lambda: fc.conv2d(X, W, stride=0), ValueError, "stride"),
    (lambda: fc.conv2d(X, W, stride=-1), ValueError, "stride"),
    (lambda: fc.conv2d(X, W, stride=1.0), TypeError, "stride"),
    (lambda: fc.conv2d(X, W, stride="2"), TypeError, "stride"),
    (lambda: fc.conv2d(X, W, stride=True), TypeError, "stride"),
    (lambda: fc.conv2d(X, W, stride=(1, 2, 3)), ValueError, "stride"),
    (lambda: fc.conv2d(X, W, stride=(1, 0)), ValueError, "stride"),
    (lambda: fc.conv2d(X, W, padding=-1), ValueError, "padding"),
    (lambda: fc.conv2d(X, W, padding="full"), ValueError, "padding"),
    (lambda: fc.conv2d(X, W, padding="full"), ValueError, "padding"),
    (lambda: fc.conv2d(X, W, padding=(1, 2, 3)), ValueError, "padding"),
    (lambda: fc.conv2d(X, W, padding=((1, 2), (3, -4))), ValueError, "padding"),
    (lambda: fc.conv2d(X, W, padding=0.5), TypeError, "padding"),
    (lambda: fc.conv2d(X, W, dilation=0), ValueError, "dilation"),
    (lambda: fc.conv2d(X, W, dilation=4), ValueError, "kernel size"),
    (lambda: fc.conv2d(X, W, groups=3), ValueError, "w"),
    (lambda: fc.conv2d(X, np.ones((6, 1, 3, 3)), groups=4), ValueError, "groups"),
    (lambda: fc.conv2d(X, W, groups=0), ValueError, "groups"),
    (lambda: fc.conv2d(X, W, groups=1.0), TypeError, "groups"),
    (lambda: fc.conv2d(X, np.ones((6, 4, 9, 3))), ValueError, "kernel size"),
    (lambda: fc.conv2d(np.ones((2, 4, 0, 8)), W), ValueError, "kernel size|x"),
    (lambda: fc.conv2d(X, np.ones((0, 4, 3, 3))), ValueError, "w"),
    (lambda: fc.conv2d(X, W, activation="softplus"), ValueError, "activation"),
    (lambda: fc.conv2d_backward(DOUT[:, :5], X, W), ValueError, "dout"),
    (lambda: fc.conv2d_backward(DOUT[:1], X, W), ValueError, "dout"),
    (lambda: fc.conv2d_backward(DOUT, X, W, needs=True), ValueError, "needs"),
    (lambda: fc.conv_transpose2d(X, W), ValueError, "w"),
    (lambda: fc.conv_transpose2d(DOUT, W, output_padding=1), ValueError, "output_padding"),
    (lambda: fc.conv_transpose2d(DOUT, W, padding=9), ValueError, "padding"),
    (lambda: fc.conv_transpose2d(DOUT, W, groups=4), ValueError, "groups"),
    (lambda: fc.conv_transpose2d(DOUT, W, padding="same"), TypeError, "padding"),
    (lambda: fc.conv_transpose2d_backward(DOUT, DOUT, W), ValueError, "dout"),
    (lambda: fc.im2col(X[0], 3, 3), ValueError, "input_data"),
    (lambda: fc.im2col(X, 9, 3), ValueError, "kernel size"),
    (lambda: fc.im2col(X, 0, 3), ValueError, "filter_h"),
    (lambda: fc.im2col(X, 3, 2.5), TypeError, "filter_w"),
    (lambda: fc.im2col(X, 3, 3, layout="column"), ValueError, "layout"),
    (lambda: fc.im2col(X[0], 3, 3, layout="columns"), ValueError, "input_data"),
    (lambda: fc.im2col(X, 99, 3, layout="columns_n_last"), ValueError, "kernel size"),
    (lambda: fc.col2im(np.ones((5, 5)), X.shape, 3, 3, layout="columns"), ValueError, "col"),
    (lambda: fc.col2im(np.ones((5, 5)), X.shape, 3, 3, layout="unfold"), ValueError, "col"),
    (lambda: fc.col2im(np.ones((5, 5)), X.shape, 3, 3), ValueError, "col"),
    (lambda: fc.col2im(np.ones((5, 5)), (1, 2, 3), 3, 3), ValueError, "input_shape"),
    (lambda: fc.col2im(np.ones((5, 5)), 7, 3, 3), TypeError, "input_shape"),
    (lambda: fc.max_pool2d(X[0, 0], 2), ValueError, "x"),
    (lambda: fc.max_pool2d(X, 0), ValueError, "kernel_size"),
    (lambda: fc.max_pool2d(X, "2"), TypeError, "kernel_size"),
    (lambda: fc.max_pool2d(X, 9), ValueError, "kernel size"),
    (lambda: fc.max_pool2d(X, 2, padding=(1, 2, 3)), ValueError, "padding"),
    (lambda: fc.max_pool2d(np.ones((1, 0, 4, 4)), 2), ValueError, "x"),
    (lambda: fc.max_pool2d_backward(DOUT, np.zeros((2, 6, 6, 6), int), (2, 6, 8, 8), 2), ValueError, "dout"),
    (lambda: fc.max_pool2d_backward(DOUT, np.zeros((2, 6, 6, 5), int), (2, 6, 12, 12), 2), ValueError, "indices"),
    (lambda: fc.max_pool2d_backward(DOUT, np.full((2, 6, 6, 6), 144), (2, 6, 12, 12), 2), ValueError, "indices"),
    (lambda: fc.max_pool2d_backward(DOUT, np.full((2, 6, 6, 6), -1), (2, 6, 12, 12), 2), ValueError, "indices"),
    (lambda: fc.max_pool2d_backward(DOUT, DOUT, (2, 6, 12, 12), 2), TypeError, "indices"),
    (lambda: fc.avg_pool2d(X, 2, divisor_override=0), ValueError, "divisor_override"),
    (lambda: fc.avg_pool2d_backward(DOUT, (2, 6, 8, 8), 2), ValueError, "dout"),
    (lambda: fc.adaptive_avg_pool2d(X, 0), ValueError, "output_size"),
    (lambda: fc.adaptive_avg_pool2d_backward(DOUT, (3, 6, 8, 8)), ValueError, "dout"),
    (lambda: fc.adaptive_avg_pool2d_backward(np.ones((2, 6, 1, 0)), (2, 6, 8, 8)), ValueError, "dout"),
    (lambda: fc.adaptive_avg_pool2d_backward(np.ones((2, 6, 1, 1)), (2, 6, 0, 8)), ValueError, "input_shape"),
    (lambda: fc.adaptive_avg_pool2d_backward(np.ones((2, 0, 1, 1)), (2, 0, 8, 8)), ValueError, "dout"),
    (lambda: fc.global_avg_pool2d_backward(np.ones((2, 6, 1, 1)), (2, 6, 8, 0)), ValueError, "input_shape"),
    (lambda: fc.stochastic_pool2d(X, 2, rng="seed"), TypeError, "rng"),
    (lambda: fc.affine(X, np.ones((5, 3))), ValueError, "x"),
    (lambda: fc.affine(np.ones((2, 3)), np.ones(3)), ValueError, "W"),
    (lambda: fc.affine(np.ones((2, 3)), np.ones((3, 4)), np.ones(3)), ValueError, "b"),
    (lambda: fc.affine(np.float64(3), np.ones((3, 4))), ValueError, "x"),
    (lambda: fc.affine_backward(np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 4))), ValueError, "dout"),
    (lambda: fc.linear(np.ones((2, 3)), np.ones((4, 2))), ValueError, "x"),
    (lambda: fc.batch_norm(X[0], None, None, None, None, True), ValueError, "x"),
    (lambda: fc.batch_norm(X, np.ones(3), None, None, None, True), ValueError, "gamma"),
    (lambda: fc.batch_norm(X, None, None, None, None), ValueError, "running_mean"),
    (lambda: fc.batch_norm(X, None, None, np.ones(4), None), ValueError, "running_mean"),
    (lambda: fc.batch_norm(X, None, None, [0] * 4, [1] * 4, True), TypeError, "running_mean"),
    (lambda: fc.batch_norm(np.ones((1, 4)), None, None, None, None, True), ValueError, "x"),
    (lambda: fc.batch_norm(X, None, None, np.ones(4), np.ones(4), momentum="2"), TypeError, "momentum"),
    (lambda: fc.batch_norm(X, None, None, np.ones(4), np.ones(4), eps="small"), TypeError, "eps"),
    (lambda: fc.batch_norm_backward(X[:1], fc.batch_norm(X, None, None, None, None, True)[1]), ValueError, "dout"),
    (lambda: fc.relu(X.astype(complex)), TypeError, "x"),
    (lambda: fc.relu_backward(X, X[:1]), ValueError, "dout"),
    (lambda: fc.leaky_relu(X, "steep"), TypeError, "negative_slope"),
    (lambda: fc.leaky_relu(X, NAN), ValueError, "negative_slope"),
    (lambda: fc.softmax(X, axis=4), ValueError, "axis"),
    (lambda: fc.softmax(X, axis=1.0), TypeError, "axis"),
    (lambda: fc.softmax(3.0), ValueError, "x"),
    (lambda: fc.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 3])), ValueError, "t"),
    (lambda: fc.softmax_cross_entropy(np.ones((2, 3)), np.array([0, -1])), ValueError, "t"),
    (lambda: fc.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 1, 2])), ValueError, "t"),
    (lambda: fc.softmax_cross_entropy(np.ones((2, 3)), np.array([0.0, 1.0])), TypeError, "t"),
    (lambda: fc.softmax_cross_entropy(X, np.array([0, 1])), ValueError, "x"),
    (lambda: fc.nll_loss(np.ones((2, 3)), np.array([5, 0])), ValueError, "t"),
    (lambda: fc.mean_squared_error(np.ones(3), np.ones(4)), ValueError, "t"),
    (lambda: fc.mean_squared_error(np.ones(3), np.ones(3), "total"), ValueError, "reduction"),
    (lambda: fc.dropout(X, 1.5), ValueError, "ratio"),
    (lambda: fc.dropout(X, NAN), ValueError, "ratio"),
    (lambda: fc.dropout(X, "half"), TypeError, "ratio"),
    (lambda: fc.dropout(X, 0.5, 1.5), TypeError, "rng"),
    (lambda: fc.dropout_backward(X, X > 0, 2), ValueError, "ratio"),
    (lambda: fc.dropout_backward(X, X, 0.5), TypeError, "mask"),
    (lambda: fc.dropout_backward(X, X[0] > 0, 0.5), ValueError, "mask"),
]  # fmt: skip


@pytest.mark.parametrize("call, error, name", BAD, ids=[str(i) for i in range(len(BAD))])
def test_raises_and_names_the_argument(call, error, name):
    with pytest.raises(error, match=rf"^({name})\b"):
        call()


def test_messages_say_what_was_and_what_was_expected():
    with pytest.raises(ValueError) as raised:
        fc.conv2d(X, W[:, :3])
    text = str(raised.value)
    assert "(6, 3, 3, 3)" in text and "(2, 4, 8, 8)" in text and "expected" in text


def test_huge_sizes_are_refused_and_not_computed():
    with pytest.raises((ValueError, MemoryError)):
        fc.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), padding=2**40)
    with pytest.raises((ValueError, MemoryError)):
        fc.conv_transpose2d(np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3)), stride=2**40)
