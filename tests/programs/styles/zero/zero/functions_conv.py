"""Convolutions and poolings as functions whose gradients are functions too."""

import numpy as np

from zero import cuda
from zero.core import Function


def pair(x):
    return x if isinstance(x, tuple) else (x, x)


def get_conv_outsize(size, kernel, stride, pad):
    return (size + 2 * pad - kernel) // stride + 1


def im2col_array(img, kernel_size, stride, pad, to_matrix=True):
    N, C, H, W = img.shape
    (KH, KW), (SH, SW), (PH, PW) = pair(kernel_size), pair(stride), pair(pad)
    OH, OW = get_conv_outsize(H, KH, SH, PH), get_conv_outsize(W, KW, SW, PW)
    xp = cuda.get_array_module(img)
    padded = xp.pad(img, ((0, 0), (0, 0), (PH, PH + SH - 1), (PW, PW + SW - 1)))
    col = xp.empty((N, C, KH, KW, OH, OW), dtype=img.dtype)
    for u in range(KH):
        for v in range(KW):
            col[:, :, u, v] = padded[:, :, u : u + SH * OH : SH, v : v + SW * OW : SW]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * OH * OW, -1) if to_matrix else col


def col2im_array(col, img_shape, kernel_size, stride, pad, to_matrix=True):
    N, C, H, W = img_shape
    (KH, KW), (SH, SW), (PH, PW) = pair(kernel_size), pair(stride), pair(pad)
    OH, OW = get_conv_outsize(H, KH, SH, PH), get_conv_outsize(W, KW, SW, PW)
    if to_matrix:
        col = col.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)
    img = np.zeros((N, C, H + 2 * PH + SH - 1, W + 2 * PW + SW - 1), dtype=col.dtype)
    for u in range(KH):
        for v in range(KW):
            img[:, :, u : u + SH * OH : SH, v : v + SW * OW : SW] += col[:, :, u, v]
    return img[:, :, PH : H + PH, PW : W + PW]


class Conv2d(Function):
    def __init__(self, stride=1, pad=0):
        super().__init__()
        self.stride, self.pad = pair(stride), pair(pad)

    def forward(self, x, W, b):
        col = im2col_array(x, W.shape[2:], self.stride, self.pad, to_matrix=False)
        y = np.tensordot(col, W, ((1, 2, 3), (1, 2, 3)))
        if b is not None:
            y += b
        return np.rollaxis(y, 3, 1)

    def backward(self, gy):
        x, W, b = self.inputs
        gx = Deconv2d(self.stride, self.pad, x.shape[2:])(gy, W, None)
        gW = Conv2DGradW(self)(x, gy)
        gb = None if b.data is None else SumPixels()(gy)
        return gx, gW, gb


class Deconv2d(Function):
    def __init__(self, stride=1, pad=0, outsize=None):
        super().__init__()
        self.stride, self.pad, self.outsize = pair(stride), pair(pad), outsize

    def forward(self, x, W, b):
        C, OC, KH, KW = W.shape
        N, C, H, Wd = x.shape
        if self.outsize is None:
            size = [
                s * (n - 1) + k - 2 * p for n, s, k, p in zip((H, Wd), self.stride, (KH, KW), self.pad, strict=True)
            ]
        else:
            size = pair(self.outsize)
        col = np.rollaxis(np.tensordot(W, x, (0, 1)), 3)
        y = col2im_array(col, (N, OC, *size), (KH, KW), self.stride, self.pad, to_matrix=False)
        if b is not None:
            self.no_bias = True
            y += b.reshape((1, b.size, 1, 1))
        return y

    def backward(self, gy):
        x, W, b = self.inputs
        return Conv2d(self.stride, self.pad)(gy, W, None), Conv2DGradW(self)(gy, x), None


class Conv2DGradW(Function):
    def __init__(self, conv2d):
        W = conv2d.inputs[1]
        self.kernel_size, self.stride, self.pad = W.shape[2:], conv2d.stride, conv2d.pad

    def forward(self, x, gy):
        col = im2col_array(x, self.kernel_size, self.stride, self.pad, to_matrix=False)
        return np.tensordot(gy, col, ((0, 2, 3), (0, 4, 5)))


class SumPixels(Function):
    def forward(self, x):
        return x.sum(axis=(0, 2, 3))


class Pooling(Function):
    def __init__(self, kernel_size, stride=1, pad=0):
        super().__init__()
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad

    def forward(self, x):
        col = im2col_array(x, self.kernel_size, self.stride, self.pad, to_matrix=False)
        N, C, KH, KW, OH, OW = col.shape
        col = col.reshape(N, C, KH * KW, OH, OW)
        self.indexes = col.argmax(axis=2)
        return col.max(axis=2)

    def backward(self, gy):
        return Pooling2DGrad(self)(gy)


class Pooling2DGrad(Function):
    def __init__(self, mpool2d):
        self.mpool2d = mpool2d
        self.kernel_size, self.stride, self.pad = mpool2d.kernel_size, mpool2d.stride, mpool2d.pad
        self.input_shape, self.dtype = mpool2d.inputs[0].shape, mpool2d.inputs[0].dtype
        self.indexes = mpool2d.indexes

    def forward(self, gy):
        N, C, OH, OW = gy.shape
        KH, KW = pair(self.kernel_size)
        col = np.zeros((N, C, KH * KW, OH, OW), dtype=self.dtype)
        np.put_along_axis(col, self.indexes[:, :, None], gy[:, :, None], 2)
        col = col.reshape(N, C, KH, KW, OH, OW)
        return col2im_array(col, self.input_shape, self.kernel_size, self.stride, self.pad, to_matrix=False)


class AveragePooling(Function):
    def __init__(self, kernel_size, stride=1, pad=0):
        super().__init__()
        self.kernel_size, self.stride, self.pad = kernel_size, stride, pad
        self.input_shape = None

    def forward(self, x):
        self.input_shape = x.shape
        return im2col_array(x, self.kernel_size, self.stride, self.pad, to_matrix=False).mean(axis=(2, 3))
