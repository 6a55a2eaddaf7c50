"""The program's commands on a model, as processes of their own: predict, info MODEL, bench MODEL."""

import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("PIL")

from PIL import Image, ImageDraw  # noqa: E402

import fastconv.onnx  # noqa: E402
from fastconv import cli, layers, networks  # noqa: E402
from fastconv.datasets import load_image  # noqa: E402
from fastconv.networks import Network  # noqa: E402

MODULE = [sys.executable, "-m", "fastconv"]
SCRIPT = [sys.executable, "-c", "import sys; from fastconv.cli import main; sys.exit(main())"]


def run(*arguments, program=MODULE, status=0):
    done = subprocess.run([*program, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def fails(capsys, *arguments):
    """The one line that a user's error gives."""
    with pytest.raises(SystemExit) as ended:
        cli.main([*map(str, arguments)])
    assert ended.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fastconv {arguments[0]}: error: ")
    return line


@pytest.fixture(autouse=True)
def threads_put_back():
    threads = fastconv.get_num_threads()
    yield
    fastconv.set_num_threads(threads)


def write(layers_, path, shape, **options):
    fastconv.onnx.export(Network(layers_), path, shape, **options)
    return path


@pytest.fixture
def colours(tmp_path):
    """A model that says how much red, green and blue a picture of 20 x 30 has."""
    rows = [layers.GlobalAveragePooling(), layers.Flatten(), layers.Affine(np.eye(3, dtype=np.float32))]
    return write(rows, tmp_path / "colours.onnx", (1, 3, 20, 30))


@pytest.fixture
def pictures(tmp_path):
    """A red disc and a blue square, drawn on black."""
    red, blue = Image.new("RGB", (60, 40)), Image.new("RGB", (30, 20))
    ImageDraw.Draw(red).ellipse((10, 5, 45, 35), fill=(250, 40, 0))
    ImageDraw.Draw(blue).rectangle((2, 3, 20, 18), fill=(0, 30, 240))
    paths = tmp_path / "red.png", tmp_path / "blue.bmp"
    for picture, path in zip((red, blue), paths, strict=True):
        picture.save(path)
    return paths


def expected(path, size=(20, 30), mean=0.0, std=1.0):
    x = (load_image(path, size) - np.float32(mean)) / np.float32(std)
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize("program", [MODULE, SCRIPT], ids=["module", "script"])
def test_pictures(program, colours, pictures, tmp_path):
    labels, out = tmp_path / "labels.txt", tmp_path / "scores.npy"
    labels.write_text("rot\ngrün\nblau\n", encoding="utf-8")
    options = "--labels", labels, "--top", 2, "--out", out, "--threads", 1
    done = run("predict", colours, *pictures, *options, program=program)
    scores = np.load(out)
    np.testing.assert_allclose(scores, [expected(path) for path in pictures], rtol=1e-5, atol=1e-6)
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line for line in lines if line in map(str, pictures)] == [str(path) for path in pictures]
    red = lines[lines.index(str(pictures[0])) + 1 :][:2]
    blue = lines[lines.index(str(pictures[1])) + 1 :][:2]
    assert [line.split()[1:] for line in red + blue] == [["0", "rot"], ["1", "grün"], ["2", "blau"], ["1", "grün"]]
    assert float(red[0].split()[0]) == pytest.approx(scores[0, 0], rel=1e-4)
    if find_spec("tqdm"):
        assert "2/2" in done.stderr


def test_one_picture_has_no_bar(colours, pictures, capsys):
    assert cli.main(["predict", str(colours), str(pictures[0])]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    name, *scores = shown.out.splitlines()
    assert name == str(pictures[0])
    assert [line.split()[1] for line in scores] == ["0", "1", "2"]


def test_mean_and_deviation_by_channel(colours, pictures, tmp_path, capsys):
    out = tmp_path / "scores.npz"
    mean, std = [0.5, 0.25, 0.125], [0.5, 2, 4]
    options = ["--mean", "0.5,0.25,0.125", "--std", "0.5,2,4", "--out", out]
    cli.main([*map(str, ["predict", colours, pictures[0], *options])])
    wanted = expected(pictures[0], mean=np.reshape(mean, (3, 1, 1)), std=np.reshape(std, (3, 1, 1)))
    np.testing.assert_allclose(np.load(out)["y"], [wanted], rtol=1e-5, atol=1e-6)


def open_model(path, channels_last=False):
    """A model of images of any size: the result is (N, 2)."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    shape = ["N", "H", "W", 1] if channels_last else ["N", 1, "H", "W"]
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
             helper.make_node("ReduceMax", ["image"], ["most"], axes=[1, 2, 3], keepdims=0),
             helper.make_node("Unsqueeze", ["mean", "axis"], ["a"]), helper.make_node("Unsqueeze", ["most", "axis"], ["b"]),
             helper.make_node("Concat", ["a", "b"], ["statistics"], axis=1)]  # fmt: skip
    given, made = (
        helper.make_tensor_value_info("image", floats, shape),
        helper.make_tensor_value_info("statistics", floats, ["N", 2]),
    )
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    graph = helper.make_graph(nodes, "statistics", [given], [made], [axis])
    versions = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)
    return path


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_model_of_any_size_takes_pictures_as_they_are_or_resized(channels_last, pictures, tmp_path):
    model, out = open_model(tmp_path / "any.onnx", channels_last), tmp_path / "scores.npz"
    for options, size in (([], None), (["--size", "7,9"], (7, 9))):
        cli.main([*map(str, ["predict", model, *pictures, *options, "--out", out])])
        grey = [load_image(path, size, grey=True) for path in pictures]
        np.testing.assert_allclose(np.load(out)["statistics"], [(x.mean(), x.max()) for x in grey], rtol=1e-5)


def test_arrays(colours, tmp_path, capsys):
    x = np.random.default_rng(0).random((13, 3, 20, 30), np.float32)
    np.save(tmp_path / "batch.npy", x)
    np.save(tmp_path / "one.npy", x[3])
    np.savez(tmp_path / "named.npz", x=x[:2].astype(np.float64), t=np.arange(2))
    np.savez(tmp_path / "several.npz", a=x[5], b=x[:1])
    names = "batch.npy", "one.npy", "named.npz", "several.npz"
    out = tmp_path / "scores.npy"
    cli.main([*map(str, ["predict", colours, *(tmp_path / n for n in names), "--out", out, "--batch-size", 5])])
    all_ = np.concatenate([x, x[3:4], x[:2], x[5:6], x[:1]])
    np.testing.assert_allclose(np.load(out), all_.mean(axis=(2, 3)), rtol=1e-5)
    shown = capsys.readouterr().out
    assert str(tmp_path / "batch.npy[12]") in shown and str(tmp_path / "several.npz:b") in shown


def test_a_model_of_a_fixed_number_of_samples(tmp_path, capsys):
    model = write([layers.Flatten()], tmp_path / "four.onnx", (4, 2, 1, 1), dynamic_batch=False, dtype=np.float32)
    x, out = np.arange(12, dtype=np.float32).reshape(6, 2, 1, 1), tmp_path / "out.npy"
    np.save(tmp_path / "x.npy", x)
    cli.main([*map(str, ["predict", model, tmp_path / "x.npy", "--out", out])])
    np.testing.assert_array_equal(np.load(out), x.reshape(6, 2))
    assert "takes 4 at once, got 2" in fails(capsys, "predict", model, tmp_path / "x.npy", "--batch-size", 2)
    assert "takes 4 samples at once, got 2" in fails(capsys, "bench", model, "--batch", 2)


def test_results_that_are_no_scores(tmp_path, capsys):
    model = write([layers.Relu()], tmp_path / "relu.onnx", (1, 2, 3, 3), dtype=np.float32)
    np.save(tmp_path / "x.npy", np.full((1, 2, 3, 3), 7.5, np.float32))
    cli.main(["predict", str(model), str(tmp_path / "x.npy")])
    assert "float32 of shape (2, 3, 3), from 7.5 to 7.5" in capsys.readouterr().out
    (tmp_path / "labels").write_text("a\nb\n")
    message = fails(capsys, "predict", model, tmp_path / "x.npy", "--labels", tmp_path / "labels")
    assert "--labels: 2 names, and the model gives float32 of shape (2, 3, 3)" in message


def test_several_inputs_and_outputs(tmp_path, capsys):
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    values = {name: helper.make_tensor_value_info(name, floats, ["N", 2]) for name in ("a", "b", "file", "product")}
    nodes = [helper.make_node("Add", ["a", "b"], ["file"]), helper.make_node("Mul", ["a", "b"], ["product"])]
    graph = helper.make_graph(nodes, "two", [values["a"], values["b"]], [values["file"], values["product"]])
    model, out = tmp_path / "two.onnx", tmp_path / "out.npz"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    a, b = np.random.default_rng(0).random((2, 5, 2), np.float32)
    np.savez(tmp_path / "x.npz", b=b, a=a)
    np.savez(tmp_path / "half.npz", b=b)
    cli.main([*map(str, ["predict", model, tmp_path / "x.npz", tmp_path / "x.npz", "--out", out])])
    saved = np.load(out)
    np.testing.assert_array_equal(saved["product"], np.concatenate([a * b] * 2))
    with np.load(out) as archive:
        assert sorted(archive.keys()) == ["file", "product"]
    assert "has no array 'a'" in fails(capsys, "predict", model, tmp_path / "half.npz")
    assert "the model has inputs a, b" in fails(capsys, "predict", model, tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", "torch.safetensors"])
def test_a_saved_network_by_name(suffix, tmp_path, capsys):
    if "safetensors" in suffix:
        pytest.importorskip("safetensors")
    net = networks.ResNet18(classes=7, rng=3)
    file, out, x = tmp_path / f"resnet{suffix}", tmp_path / "out.npy", tmp_path / "x.npy"
    (net.save_torch if "torch" in suffix else net.save_params)(file)
    np.save(x, np.random.default_rng(0).random((2, 3, 40, 40)))
    cli.main([*map(str, ["predict", f"ResNet18:{file}", x, "--out", out])])
    np.testing.assert_allclose(np.load(out), net.predict(np.load(x).astype(np.float32)), rtol=1e-4, atol=1e-5)


def test_what_was_trained_predicts_a_picture(tmp_path, pictures):
    net = networks.SimpleConvNet(rng=0, dtype=np.float32)
    net.save_params(tmp_path / "net.npz")
    out = tmp_path / "out.npy"
    run("predict", f"SimpleConvNet:{tmp_path / 'net.npz'}", pictures[0], "--size", 28, "--out", out)
    np.testing.assert_allclose(np.load(out), net.predict(load_image(pictures[0], 28, grey=True)[None]), atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["predict", "nowhere.onnx", "red.png"], "nowhere.onnx: no such file"),
        (["predict", ".", "red.png"], "expected an ONNX file, got a folder"),
        (["predict", "red.png", "red.png"], "cannot be read as an ONNX model"),
        (["predict", "cut.onnx", "red.png"], "cut.onnx"),
        (["predict", "net.npz", "red.png"], "expected NAME:net.npz"),
        (["predict", "NoNet:net.npz", "red.png"], "NoNet:net.npz: fastconv.networks has no NoNet"),
        (["predict", "TwoLayerNet:net.npz", "red.png"], "TwoLayerNet cannot be made without input_size"),
        (["predict", "Network:net.npz", "red.png"], "Network cannot be made without layers"),
        (["predict", "LeNet:net.npz", "red.png"], "net.npz does not fit this network"),
        (["predict", "colours.onnx", "nowhere.png"], "nowhere.png: no such file"),
        (["predict", "colours.onnx", "."], "expected a picture, .npy or .npz, got a folder"),
        (["predict", "colours.onnx", "broken.png"], "cannot read the image broken.png"),
        (["predict", "colours.onnx", "broken.npy"], "broken.npy: cannot be read as .npy"),
        (["predict", "colours.onnx", "broken.npz"], "broken.npz: cannot be read as .npz"),
        (["predict", "colours.onnx", "words.npy"], "words.npy: expected an array of numbers, got <U4"),
        (["predict", "colours.onnx", "objects.npy"], "objects.npy: cannot be read as .npy"),
        (["predict", "colours.onnx", "small.npy"], "small.npy: expected (N, 3, 20, 30), or one sample of it, got shape (2, 3)"),
        (["predict", "colours.onnx", "none.npy"], "none.npy: has no samples"),
        (["predict", "wide.onnx", "red.png"], "a picture has 1 or 3 channels, and the model takes (N, 5)"),
        (["predict", "colours.onnx", "red.png", "--size", "5,6"], "expected shape (N, 3, 20, 30), got (1, 3, 5, 6)"),
        (["predict", "colours.onnx", "red.png", "--size", "5,6,7"], "expected a number or HEIGHT,WIDTH, got '5,6,7'"),
        (["predict", "colours.onnx", "red.png", "--mean", "0.5,0.5"], "--mean: expected one number, or 3"),
        (["predict", "colours.onnx", "red.png", "--mean", "half"], "expected a number, or one for each channel"),
        (["predict", "colours.onnx", "red.png", "--std", "0"], "expected numbers above 0"),
        (["predict", "colours.onnx", "red.png", "--top", "0"], "expected a whole number of at least 1"),
        (["predict", "colours.onnx", "red.png", "--labels", "nowhere.txt"], "nowhere.txt"),
        (["predict", "colours.onnx", "red.png", "--labels", "red.png"], "--labels: red.png is no text"),
        (["predict", "colours.onnx", "red.png", "--labels", "two.txt"], "--labels: 2 names"),
        (["predict", "colours.onnx", "red.png", "--out", "scores.txt"], "--out: expected a name ending in .npy or .npz"),
        (["predict", "colours.onnx", "red.png", "--out", "no/scores.npy"], "--out: there is no folder no"),
        (["predict", "colours.onnx"], "INPUT"),
        (["info", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["info", "red.png"], "cannot be read as an ONNX model"),
        (["info", "net.npz"], "holds parameters without a network"),
        (["info", "colours.onnx", "--size", "9"], "has images of 20 x 30"),
        (["bench", "nowhere.onnx"], "nowhere.onnx: no such file"),
        (["bench", "colours.onnx", "--batch", "0"], "expected a whole number of at least 1"),
    ],
)  # fmt: skip
def test_a_users_error_is_one_line(arguments, message, colours, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.onnx").write_bytes(colours.read_bytes()[:-20])
    (tmp_path / "broken.png").write_bytes(pictures[0].read_bytes()[:60])
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "two.txt").write_text("a\nb\n")
    np.save("words.npy", np.array(["some", "text"]))
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    np.save("small.npy", np.zeros((2, 3)))
    np.save("none.npy", np.zeros((0, 3, 20, 30)))
    np.savez("net.npz", W=np.zeros((2, 2)))
    write([layers.Relu()], tmp_path / "wide.onnx", (1, 5))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert message in fails(capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_error_in_a_process(tmp_path):
    for program in (MODULE, SCRIPT):
        done = run("predict", tmp_path / "nowhere.onnx", "x.png", program=program, status=2)
        assert done.stderr.count("\n") == 1 and "no such file" in done.stderr


def test_a_script_of_a_commands_name_is_still_a_script(tmp_path):
    (tmp_path / "info").write_text("print('my own script')")
    done = subprocess.run([*MODULE, "info"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "my own script\n")
    assert "multiply-adds" not in run("info", program=MODULE).stdout


def test_info_counts_operators_parameters_and_arithmetic(tmp_path):
    conv = layers.Convolution(np.zeros((6, 2, 3, 3), np.float32), np.zeros(6, np.float32), stride=2, groups=2)
    up = layers.TransposedConvolution(np.zeros((6, 4, 2, 2), np.float32))
    rows = [conv, layers.Relu(), up, layers.Relu(), layers.Flatten(), layers.Affine(np.zeros((80, 7), np.float32))]
    model = write(rows, tmp_path / "net.onnx", (1, 4, 9, 7))
    shown = run("info", model, "--batch", 2, "--nodes").stdout
    assert re.search(r"^input +x \(N, 4, 9, 7\) float32$", shown, re.M)
    assert re.search(r"^fastconv +can run it$", shown, re.M)
    assert re.search(rf"^parameters +{6 * 2 * 9 + 6 + 6 * 4 * 4 + 80 * 7:,}$", shown, re.M)
    work = {"Conv": 2 * 6 * 4 * 3 * 18, "ConvTranspose": 2 * 6 * 4 * 3 * 16, "Gemm": 2 * 80 * 7}
    assert f"{sum(work.values()):,} multiply-adds for x (2, 4, 9, 7)" in shown
    for name, count in work.items():
        assert re.search(rf"^{name} +1 .* {count:,} +[\d.]+%$", shown, re.M)
    assert re.search(r"^Relu +2$", shown, re.M)
    assert re.search(rf"^Conv +0/Conv +\(2, 6, 4, 3\) +114 +{work['Conv']:,}$", shown, re.M)


def test_info_of_open_sizes_and_of_what_cannot_be_run(tmp_path, capsys):
    model = open_model(tmp_path / "any.onnx")
    cli.main(["info", str(model)])
    assert "arithmetic   unknown: the model leaves sizes of its input 'image' open" in capsys.readouterr().out
    cli.main(["info", str(model), "--size", "8,9", "--nodes"])
    shown = capsys.readouterr().out
    assert "0 multiply-adds for image (1, 1, 8, 9)" in shown and re.search(r"^Concat .*\(1, 2\)$", shown, re.M)
    proto = onnx.load(model)
    proto.graph.node[0].op_type = "Mystery"
    onnx.save(proto, model)
    cli.main(["info", str(model), "--size", "8,9"])
    assert re.search(r"^fastconv +cannot run it: .*Mystery", capsys.readouterr().out, re.M)
    assert "Mystery" in fails(capsys, "predict", model, model)


def test_what_a_pipe_does_not_read(tmp_path):
    rows = [layers.Relu() for _ in range(3000)]
    model = write(rows, tmp_path / "long.onnx", (1, 5))
    program = " ".join(MODULE)
    done = subprocess.run(f"{program} info {model} --nodes | head -1", shell=True, capture_output=True, text=True)
    assert done.stdout.startswith("model") and done.stderr == ""


def test_bench_of_a_model(colours):
    done = run("bench", colours, "--batch", 1, 3, "--seconds", "0.01", "--threads", 1)
    first, _, header, *lines = done.stdout.splitlines()
    assert first.startswith(f"{colours}, 1 threads; milliseconds")
    assert [line.split()[:2] for line in lines] == [["batch", "1"], ["batch", "3"]]
    runtime = find_spec("onnxruntime") is not None
    assert ("ONNX Runtime" in header) == runtime
    for line in lines:
        best, median, ready, *others = line.split()[2:]
        assert 0 < float(best) <= float(median) and float(ready) > 0
        assert len(others) == 4 * runtime


def test_bench_needs_the_sizes_that_the_model_leaves_open(tmp_path, capsys):
    model = open_model(tmp_path / "any.onnx")
    assert "name them by --size H,W" in fails(capsys, "bench", model)
    cli.main(["bench", str(model), "--size", "8,9", "--seconds", "0.01"])
    assert "batch 1" in capsys.readouterr().out
