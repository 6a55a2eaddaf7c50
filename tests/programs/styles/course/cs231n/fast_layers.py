"""Convolution by strides and by im2col, max pooling by reshaping and by im2col."""

import numpy as np

try:
    from .im2col_cython import col2im_6d_cython, col2im_cython, im2col_cython
except ImportError:
    print("compile the extension first")
from .im2col import im2col_indices


def conv_forward_im2col(x, w, b, conv_param):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    stride, pad = conv_param["stride"], conv_param["pad"]
    assert (W + 2 * pad - WW) % stride == 0, "width does not work"
    assert (H + 2 * pad - HH) % stride == 0, "height does not work"
    rows, columns = (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1
    x_cols = im2col_cython(x, HH, WW, pad, stride)
    out = w.reshape(F, -1).dot(x_cols) + b.reshape(-1, 1)
    out = out.reshape(F, rows, columns, N).transpose(3, 0, 1, 2)
    return out, (x, w, b, conv_param, x_cols)


def conv_backward_im2col(dout, cache):
    x, w, b, conv_param, x_cols = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    db = np.sum(dout, axis=(0, 2, 3))
    F, _, HH, WW = w.shape
    flat = dout.transpose(1, 2, 3, 0).reshape(F, -1)
    dw = flat.dot(x_cols.T).reshape(w.shape)
    dx = col2im_cython(w.reshape(F, -1).T.dot(flat), *x.shape, HH, WW, pad, stride)
    return dx, dw, db


def conv_forward_strides(x, w, b, conv_param):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    stride, pad = conv_param["stride"], conv_param["pad"]
    assert (W + 2 * pad - WW) % stride == 0, "width does not work"
    assert (H + 2 * pad - HH) % stride == 0, "height does not work"
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="constant")
    H, W = H + 2 * pad, W + 2 * pad
    rows, columns = (H - HH) // stride + 1, (W - WW) // stride + 1
    strides = x.itemsize * np.array((H * W, W, 1, C * H * W, stride * W, stride))
    windows = np.lib.stride_tricks.as_strided(padded, shape=(C, HH, WW, N, rows, columns), strides=strides)
    x_cols = np.ascontiguousarray(windows).reshape(C * HH * WW, N * rows * columns)
    out = (w.reshape(F, -1).dot(x_cols) + b.reshape(-1, 1)).reshape(F, N, rows, columns)
    return np.ascontiguousarray(out.transpose(1, 0, 2, 3)), (x, w, b, conv_param, x_cols)


def conv_backward_strides(dout, cache):
    x, w, b, conv_param, x_cols = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    N, _, rows, columns = dout.shape
    db = np.sum(dout, axis=(0, 2, 3))
    flat = dout.transpose(1, 0, 2, 3).reshape(F, -1)
    dw = flat.dot(x_cols.T).reshape(w.shape)
    dx_cols = w.reshape(F, -1).T.dot(flat).reshape(C, HH, WW, N, rows, columns)
    return col2im_6d_cython(dx_cols, *x.shape, HH, WW, pad, stride), dw, db


conv_forward_fast = conv_forward_strides
conv_backward_fast = conv_backward_strides


def max_pool_forward_fast(x, pool_param):
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    if height == width == stride and x.shape[2] % height == 0 and x.shape[3] % width == 0:
        out, kept = max_pool_forward_reshape(x, pool_param)
        return out, ("reshape", kept)
    out, kept = max_pool_forward_im2col(x, pool_param)
    return out, ("im2col", kept)


def max_pool_backward_fast(dout, cache):
    method, kept = cache
    if method == "reshape":
        return max_pool_backward_reshape(dout, kept)
    return max_pool_backward_im2col(dout, kept)


def max_pool_forward_reshape(x, pool_param):
    N, C, H, W = x.shape
    height, width = pool_param["pool_height"], pool_param["pool_width"]
    windows = x.reshape(N, C, H // height, height, W // width, width)
    out = windows.max(axis=3).max(axis=4)
    return out, (x, windows, out)


def max_pool_backward_reshape(dout, cache):
    x, windows, out = cache
    mask = windows == out[:, :, :, np.newaxis, :, np.newaxis]
    dx = mask * dout[:, :, :, np.newaxis, :, np.newaxis]
    dx = dx / np.sum(mask, axis=(3, 5), keepdims=True)
    return dx.reshape(x.shape).astype(x.dtype)


def max_pool_forward_im2col(x, pool_param):
    N, C, H, W = x.shape
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    assert (H - height) % stride == 0, "invalid height"
    assert (W - width) % stride == 0, "invalid width"
    rows, columns = (H - height) // stride + 1, (W - width) // stride + 1
    x_cols = im2col_indices(x.reshape(N * C, 1, H, W), height, width, padding=0, stride=stride)
    places = np.argmax(x_cols, axis=0)
    out = x_cols[places, np.arange(x_cols.shape[1])].reshape(rows, columns, N, C).transpose(2, 3, 0, 1)
    return out, (x, x_cols, places, pool_param)


def max_pool_backward_im2col(dout, cache):
    x, x_cols, places, pool_param = cache
    N, C, H, W = x.shape
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx_cols = np.zeros_like(x_cols)
    dx_cols[places, np.arange(dx_cols.shape[1])] = dout.transpose(2, 3, 0, 1).flatten()
    return col2im_cython(dx_cols, N * C, 1, H, W, height, width, 0, stride).reshape(x.shape)
