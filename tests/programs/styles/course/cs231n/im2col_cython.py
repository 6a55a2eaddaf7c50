"""In the place of the extension module, so that plain Python runs the program too."""

import numpy as np

from .im2col import col2im_indices, im2col_indices


def im2col_cython(x, field_height, field_width, padding, stride):
    return im2col_indices(x, field_height, field_width, padding, stride)


def col2im_cython(cols, N, C, H, W, field_height, field_width, padding, stride):
    return col2im_indices(cols, (N, C, H, W), field_height, field_width, padding, stride)


def col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride):
    cols = cols.transpose(0, 1, 2, 4, 5, 3)
    return col2im_indices(np.ascontiguousarray(cols).reshape(C * HH * WW, -1), (N, C, H, W), HH, WW, pad, stride)
