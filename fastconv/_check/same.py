"""The padding that is called "same"."""


def same_upper(
    extents: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) with which ``ceil(extent / stride)`` windows fit, the odd one at the end.

    TensorFlow's rule, and ONNX's SAME_UPPER; PyTorch's for stride 1, the only one that it takes.
    """
    pads: list[int] = []
    for n, k, s, d in zip(extents, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads += total // 2, total - total // 2
    top, bottom, left, right = pads
    return top, bottom, left, right
