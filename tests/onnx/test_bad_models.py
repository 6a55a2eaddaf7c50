"""Files that are no models, and models that make no sense: one clear error each, and nothing outside is read."""

import os
import random as chances
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper
from small_models import convolution, model, random, tensor

import fastconv.onnx

GOOD = convolution().SerializeToString()
IMAGES = {"x": ["N", 3, 8, 8]}


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"ONNX", b"\x89PNG\r\n\x1a\n" + bytes(100), b"%PDF-1.4\n" * 20, b"not a model" * 10, GOOD[:10], GOOD[:100],
     GOOD[:-1], GOOD[: len(GOOD) // 2], GOOD[1:], GOOD + b"\xff\xff", bytes(1000)],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_no_models(data, tmp_path):
    with pytest.raises(ValueError, match="model"):
        fastconv.onnx.load(data)
    file = tmp_path / "broken.onnx"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken\.onnx"):
        fastconv.onnx.load(file)


def test_no_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastconv.onnx.load(tmp_path / "missing.onnx")
    with pytest.raises(IsADirectoryError):
        fastconv.onnx.load(tmp_path)
    with pytest.raises(TypeError, match="source: expected a path, bytes or a ModelProto, got int"):
        fastconv.onnx.load(3)


def load(*arguments, **options):
    return fastconv.onnx.load(model(*arguments, **options))


def refused(match, *arguments, **options):
    with pytest.raises(ValueError, match=match):
        load(*arguments, **options)


OUT = {"y": ["N", 4, 8, 8]}


def test_graphs_that_make_no_sense():
    refused("wait for each other.*relu0.*relu1", [("Relu", "b", "a", {}), ("Relu", "a", "b", {})], IMAGES, {"b": [1]})
    refused("relu0.*'nowhere'.*nothing makes", [("Relu", "nowhere", "y", {})], IMAGES, {"y": [1]})
    refused("nothing makes the output 'z'", [("Relu", "x", "y", {})], IMAGES, {"z": [1]})
    refused("'y'.*there already", [("Relu", "x", "y", {}), ("Tanh", "x", "y", {})], IMAGES, {"y": [1]})
    refused("'x'.*there already", [("Relu", "x", "x", {})], IMAGES, {"x": [1]})
    refused("'x'.*wait|wait.*relu0", [("Relu", "y", "y", {})], IMAGES, {"y": [1]})


def test_nodes_in_any_order():
    nodes = [("Relu", "c", "y", {}), ("Tanh", "a", "c", {}), ("Neg", "x", "a", {})]
    made = model(nodes, {"x": [3]}, {"y": [3]})
    x = random(3)
    np.testing.assert_allclose(fastconv.onnx.load(made)(x), np.maximum(np.tanh(-x), 0), rtol=1e-6)


def test_all_unsupported_nodes_are_listed():
    nodes = [
        ("Relu", "x", "a", {}),
        ("GridSample", "a x", "b", {}),
        ("Special", "b", "c", {"domain": "com.example"}),
        ("MaxPool", "c", "d", {"kernel_shape": [2, 2], "auto_pad": "SOMEHOW"}),
        ("Relu", "d", "e", {"alpha": 1.0}),
        ("Det", "e", "y", {}),
    ]
    with pytest.raises(ValueError) as caught:
        load(nodes, IMAGES, {"y": [1]})
    text = str(caught.value)
    assert "5 of 6 nodes are not supported" in text
    for part in (
        "GridSample 'gridsample1' (opset 17)",
        "com.example.Special 'special2'",
        "MaxPool 'maxpool3' (opset 17): attribute auto_pad is 'SOMEHOW'",
        "Relu 'relu4' (opset 17): attributes alpha",
        "Det 'det5'",
    ):
        assert part in text


@pytest.mark.parametrize("opset", [0, 5])
def test_old_opsets(opset):
    refused(f"opset {opset}", [("Relu", "x", "y", {})], IMAGES, OUT, opset=opset)


def test_weights_that_do_not_fit():
    def conv(match, w, b=None, **attributes):
        constants = {"w": w} | ({} if b is None else {"b": b})
        refused(match, [("Conv", "x w" + (" b" if b is not None else ""), "y", attributes)], IMAGES, OUT, constants)

    conv(r"conv0.*filters of shape \(4, 5, 3, 3\).*images of shape", random(4, 5, 3, 3))
    conv(r"conv0.*in 2 groups", random(4, 3, 3, 3), group=2)
    conv(r"conv0.*bias of shape \(5,\)", random(4, 3, 3, 3), random(5))
    conv(r"conv0.*kernel_shape \[5, 5\]", random(4, 3, 3, 3), kernel_shape=[5, 5])
    conv(r"conv0|Conv", random(4, 3, 3))
    vectors = {name: random(4) for name in "abcd"}
    refused("batchnormalization0.*4", [("BatchNormalization", "x a b c d", "y", {})], IMAGES, OUT, vectors)
    refused("Gemm", [("Gemm", "x w", "y", {})], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(4, 2)})
    refused("MatMul", [("MatMul", "x w", "y", {})], {"x": ["N", 3]}, {"y": ["N", 2]}, {"w": random(4, 2)})
    refused("Add|roadcast", [("Add", "x w", "y", {})], {"x": [5, 3]}, {"y": [5, 3]}, {"w": random(4)})


def test_what_only_the_sizes_of_inputs_show():
    made = load([("Add", "x w", "y", {})], {"x": ["N", "M"]}, {"y": ["N", "M"]}, {"w": random(4)})
    assert made(random(2, 4)).shape == (2, 4)
    with pytest.raises(ValueError, match=r"add0.*\(2, 3\).*\(4,\)"):
        made(random(2, 3))
    assert made(random(2, 4)).shape == (2, 4)


def test_inputs_that_do_not_fit():
    made = fastconv.onnx.load(GOOD)
    x = random(2, 3, 8, 8)
    for bad in (random(2, 3, 8, 9), random(2, 4, 8, 8), random(3, 8, 8)):
        with pytest.raises(ValueError, match=r"input 'x': expected shape \(N, 3, 8, 8\), got"):
            made(bad)
    with pytest.raises(TypeError, match="input 'x': expected dtype float32, got complex64"):
        made(x.astype(np.complex64))
    with pytest.raises(TypeError, match="input 'x' is missing"):
        made()
    with pytest.raises(TypeError, match="input 'z' is none of x"):
        made(z=x)
    with pytest.raises(TypeError, match="input 'x' was given twice"):
        made(x, x=x)
    with pytest.raises(TypeError, match="takes 1 inputs"):
        made(x, x)
    np.testing.assert_array_equal(made(x.astype(np.float64)), made(x))
    two = load([("Add", "a b", "y", {})], {"a": ["N"], "b": ["N"]}, {"y": ["N"]})
    with pytest.raises(ValueError, match="input 'b'"):
        two(random(2), random(3))


def test_tensors_that_do_not_fit():
    for change, match in (
        (lambda t: t.dims.append(3), "bytes do not fit"),
        (lambda t: t.dims.__setitem__(0, -4), r"cannot have the shape \[-4, 3, 3, 3\]"),
        (lambda t: t.dims.__setitem__(0, 2**50), "cannot have the shape"),
        (lambda t: setattr(t, "raw_data", t.raw_data[:-1]), "bytes do not fit"),
        (lambda t: setattr(t, "data_type", 16), "BFLOAT16"),
        (lambda t: setattr(t, "data_type", 99), "type 99"),
        (lambda t: (t.ClearField("raw_data"), t.float_data.extend([1.0, 2.0])), "initializer 'w'"),
    ):
        made = convolution()
        change(made.graph.initializer[0])
        with pytest.raises(ValueError, match=rf"initializer 'w'.*{match}|{match}"):
            fastconv.onnx.load(made)


def test_types_that_are_not_supported():
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [sequence], [tensor("y", [1])])
    with pytest.raises(ValueError, match="input 'x': is not a tensor"):
        fastconv.onnx.load(helper.make_model(graph))
    refused("STRING", [("Identity", "x", "y", {})], {"x": [1]}, {"y": [1]}, kind=TensorProto.STRING)


@pytest.fixture
def outside(tmp_path):
    """A folder for a model, and a file that is not in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4096))
    return folder, secret


def with_data(folder, location, offset=None, length=None):
    """The model of `convolution` with its filters in another file."""
    made = convolution()
    w = made.graph.initializer[0]
    raw = w.raw_data
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            w.external_data.add(key=key, value=str(value))
    file = folder / "model.onnx"
    file.write_bytes(made.SerializeToString())
    return file, raw


def test_data_beside_the_model(outside):
    folder, _ = outside
    x = random(1, 3, 8, 8)
    right = fastconv.onnx.load(GOOD)(x)
    (folder / "inner").mkdir()
    for location, offset in (("w.bin", None), ("inner/w.bin", 64), ("./w.bin", 0)):
        file, raw = with_data(folder, location, offset, None if offset is None else 432)
        (folder / location).write_bytes(bytes(offset or 0) + raw)
        np.testing.assert_array_equal(fastconv.onnx.load(file)(x), right)
    os.chdir(folder)
    np.testing.assert_array_equal(fastconv.onnx.load("model.onnx")(x), right)
    with pytest.raises(ValueError, match=r"'w'.*'\./w\.bin'; give the path"):
        fastconv.onnx.load(file.read_bytes())


def test_nothing_outside_of_the_folder_is_read(outside):
    folder, secret = outside
    (folder / "link.bin").symlink_to(secret)
    (folder / "up").symlink_to(secret.parent)
    opened = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    for location in (
        "../secret.bin", str(secret), "link.bin", "up/secret.bin", "inner/../../secret.bin", "", ".", "..",
        "/dev/zero", "..\\secret.bin", "C:\\secret.bin", "a\0b",
    ):  # fmt: skip
        file, _ = with_data(folder, location)
        opened.clear()
        with pytest.raises(ValueError, match=r"initializer 'w'.*(outside of|not in) the model's folder"):
            fastconv.onnx.load(file)
        assert all(str(folder) in name for name in opened if "secret" in name or "zero" in name)
        assert not [name for name in opened if name.endswith(("secret.bin", "link.bin", "/dev/zero"))]


def test_data_that_does_not_fit(outside):
    folder, _ = outside
    for content, offset, length, match in (
        (None, None, None, "not in the model's folder"),
        (400, None, None, "400 bytes, not 432"),
        (432, 8, None, "432 bytes, not 440"),
        (500, -4, None, "do not fit"),
        (500, None, 400, "400 bytes from byte 0"),
        (500, "x", None, "not a number"),
        (500, 2**70, None, "500 bytes"),
    ):
        file, _ = with_data(folder, "w.bin", offset, length)
        (folder / "w.bin").unlink(missing_ok=True)
        if content is not None:
            (folder / "w.bin").write_bytes(bytes(content))
        with pytest.raises(ValueError, match=match):
            fastconv.onnx.load(file)
    (folder / "w.bin").unlink()
    os.mkfifo(folder / "w.bin")  # reading it would wait for ever
    with pytest.raises(ValueError, match="not in the model's folder"):
        fastconv.onnx.load(file)


def test_mutated_bytes():
    """A damaged file is a ValueError, or still a model; it neither crashes nor hangs."""
    nodes = [
        ("Conv", "x w b", "c", {"pads": [1, 1, 1, 1]}),
        ("Clip", "c low high", "d", {}),
        ("MaxPool", "d", "e", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Shape", "e", "s", {}),
        ("Gather", "s zero", "n", {}),
        ("Reshape", "e to", "f", {}),
        ("Gemm", "f v", "g", {}),
        ("Softmax", "g", "y", {}),
    ]
    constants = {
        "w": random(4, 3, 3, 3), "b": random(4), "low": np.float32(0), "high": np.float32(6), "zero": np.int64(0),
        "to": np.array([-1, 64]), "v": random(64, 5),
    }  # fmt: skip
    made = model(nodes, {"x": ["N", 3, 8, 8]}, {"y": ["N", 5]}, constants)
    good, x, rng, kept = made.SerializeToString(), random(1, 3, 8, 8), chances.Random(5), 0
    weights = [good.find(np.asarray(constants[name]).tobytes()) for name in ("w", "v")]
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data))
            while any(start <= at < start + 400 for start in weights):  # damage there is a model all the same
                at = rng.randrange(len(data))
            if rng.random() < 0.7:
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, data[at] ^ 1 << rng.randrange(8)))
            elif rng.random() < 0.5:
                del data[at : at + rng.randrange(1, 9)]
            else:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
        try:
            damaged = fastconv.onnx.load(bytes(data))
            if [v.shape for v in damaged.inputs] == [("N", 3, 8, 8)]:
                damaged(x)
            kept += 1
        except (ValueError, TypeError):
            continue
    assert kept > 20
