"""Whole programs in the styles of CS231n, DeZero and of single files: the same output by plain Python and on fastconv."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STYLES = Path(__file__).parent / "styles"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def run(folder, *arguments, report=False):
    environment = os.environ | {"FASTCONV_CACHE": "", "FASTCONV_REPORT": "1" if report else ""}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def same_but_for_rounding(theirs, ours, rtol):
    """Equal texts, and numbers that agree."""
    assert NUMBER.sub("#", theirs) == NUMBER.sub("#", ours)
    np.testing.assert_allclose(*([float(n) for n in NUMBER.findall(text)] for text in (ours, theirs)), rtol=rtol)


NAMES = {
    "course": {
        *(
            f"cs231n.fast_layers.conv_{way}_{end}"
            for way in ("forward", "backward")
            for end in ("fast", "strides", "im2col")
        ),
        *("cs231n.fast_layers.max_pool_forward_fast", "cs231n.fast_layers.max_pool_backward_fast"),
        *("cs231n.im2col.im2col_indices", "cs231n.im2col.col2im_indices"),
    },
    "single": {"__main__.im2col", "__main__.col2im", "__main__.maxpool"},
    "zero": {
        f"zero.functions_conv.{name}"
        for name in (
            *("Conv2d", "Deconv2d", "Conv2DGradW", "Pooling", "Pooling2DGrad", "AveragePooling"),
            *("im2col_array", "col2im_array"),
        )
    },
}


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-9), ("float32", 2e-4)])
@pytest.mark.parametrize("style", NAMES)
def test_a_program_computes_the_same(style, dtype, rtol):
    theirs, _ = run(STYLES / style, "train.py", dtype)
    ours, report = run(STYLES / style, "-m", "fastconv", "train.py", dtype, report=True)
    same_but_for_rounding(theirs, ours, rtol)
    replaced = {line.split()[0] for line in report.splitlines() if line.split()[1] == "replaced"}
    assert replaced == NAMES[style], report


def test_the_course_needs_no_compiler(tmp_path):
    """Where the extension module was not compiled, its functions come from fastconv."""
    folder = tmp_path / "course"
    shutil.copytree(STYLES / "course", folder, ignore=shutil.ignore_patterns("__pycache__"))
    theirs, _ = run(folder, "train.py")
    (folder / "cs231n" / "im2col_cython.py").unlink()
    plain = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert plain.returncode and "compile the extension first" in plain.stdout
    ours, _ = run(folder, "-m", "fastconv", "train.py")
    same_but_for_rounding(theirs, ours, 1e-9)


def test_check_does_not_run_the_script():
    table, _ = run(STYLES / "zero", "-m", "fastconv", "--check", "train.py")
    assert "zero.functions_conv.Conv2d " in table and "8 replaced" in table
    assert not NUMBER.search(table)


# What changes a program's own results must leave its object in place: (file, text, other text, name, why).
CHANGES = [
    ("course/cs231n/fast_layers.py", 'mode="constant"', 'mode="edge"', "conv_forward_fast", "forward of"),
    ("course/cs231n/fast_layers.py", "db = np.sum(dout, axis=(0, 2, 3))", "db = np.mean(dout, axis=(0, 2, 3))", "conv_backward_strides", "backward of"),
    ("course/cs231n/fast_layers.py", "dx = dx / np.sum(mask, axis=(3, 5), keepdims=True)", "pass", "max_pool_backward_fast", "backward of windows of 2 x 2"),
    ("course/cs231n/fast_layers.py", "conv_backward_fast = conv_backward_strides", "conv_backward_fast = None", "conv_forward_fast", "no function conv_backward_fast"),
    ("course/cs231n/fast_layers.py", '    F, _, HH, WW = w.shape\n    stride, pad = conv_param["stride"], conv_param["pad"]\n    assert', '    F, _, HH, WW = w.shape\n    print(w.shape)\n    stride, pad = conv_param["stride"], conv_param["pad"]\n    assert', "conv_forward_strides", "its code calls 'print'"),
    ("course/cs231n/fast_layers.py", "x_cols = im2col_indices(x.reshape(N * C", "x_cols = im2col(x.reshape(N * C", "", ""),  # which is never run
    ("course/cs231n/im2col.py", "cols = cols.reshape", "cols = cols.copy().reshape", "", ""),  # no difference
    ("course/cs231n/im2col.py", "reshape(field_height * field_width * x.shape[1], -1)", "reshape(field_height * field_width * x.shape[1], -1)[::-1]", "im2col_indices", "windows of"),
    ("zero/zero/functions_conv.py", "            y += b\n", "            y += 2 * b\n", "Conv2d", "forward of filters"),
    ("zero/zero/functions_conv.py", "col.argmax(axis=2)", "KH * KW - 1 - col[:, :, ::-1].argmax(axis=2)", "Pooling", "the function behind it"),
    ("zero/zero/functions_conv.py", "self.no_bias = True", "self.has_bias = True", "", ""),  # nobody looks at it
    ("zero/zero/functions_conv.py", "def __init__(self, stride=1, pad=0):\n        super().__init__()\n        self.stride, self.pad = pair", "def __init__(self, stride=1, pad=0, groups=1):\n        super().__init__()\n        self.stride, self.pad = pair", "Conv2d", "its parameters are"),
    ("zero/zero/functions_conv.py", ".mean(axis=(2, 3))", ".sum(axis=(2, 3))", "AveragePooling", "forward of windows"),
    ("single/train.py", "np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))", 'np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect")', "im2col", "windows of"),
    ("single/train.py", "def maxpool(x, size=2):", "def maxpool(x, size=2, ceil=False):", "", ""),  # one more, at its default
    ("single/train.py", ".max(axis=(3, 5))", ".mean(axis=(3, 5))", "maxpool", "windows of"),
]  # fmt: skip


@pytest.mark.parametrize(
    "file, text, other, name, why", CHANGES, ids=lambda v: v if "/" not in v and len(v) < 25 else ""
)
def test_what_differs_stays_the_programs_own(tmp_path, file, text, other, name, why):
    style, _, inside = file.partition("/")
    shutil.copytree(STYLES / style, tmp_path / style, ignore=shutil.ignore_patterns("__pycache__"))
    source = (tmp_path / style / inside).read_text()
    assert text in source
    (tmp_path / style / inside).write_text(source.replace(text, other))
    plain = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path / style, capture_output=True, text=True, check=False
    )
    environment = os.environ | {"FASTCONV_CACHE": "", "FASTCONV_REPORT": "1"}
    ours = subprocess.run(
        [sys.executable, "-m", "fastconv", "train.py"],
        cwd=tmp_path / style,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ours.returncode == plain.returncode, ours.stderr
    same_but_for_rounding(plain.stdout, ours.stdout, 1e-9)
    verdicts = {line.split()[0].rpartition(".")[2]: line for line in ours.stderr.splitlines() if " left " in line}
    if name:
        assert why in verdicts[name], ours.stderr
    else:
        assert not verdicts, ours.stderr
