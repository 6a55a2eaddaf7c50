"""The program ``fastconv``: in this process, and as a process of its own."""

import importlib.metadata
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
from mnist_files import FOLDER, needs_mnist, write_idx

import fastconv
from fastconv import _bench, _ceiling, cli, networks

PROGRAM = [sys.executable, "-c", "import sys; from fastconv.cli import main; sys.exit(main())"]


@pytest.fixture
def quick(tmp_path, monkeypatch):
    """Options of a short training that writes to tmp_path."""
    monkeypatch.setattr(cli, "_TIMED_SECONDS", 0)
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    return ["train", "--net", "mlp", "--epochs", "2", "--out", str(tmp_path / "out")]


@pytest.fixture(autouse=True)
def settings_put_back():
    threads = fastconv.get_num_threads()
    yield
    fastconv.set_backend(None)
    fastconv.set_num_threads(threads)


def accuracy(output):
    return float(output.partition("test accuracy")[2].split()[0].rstrip("%")) / 100


def test_train_trains_and_saves(quick, tmp_path, capsys):
    assert cli.main(quick) == 0
    shown = capsys.readouterr()
    assert accuracy(shown.out) > 0.8
    assert "NumPy reference" in shown.out
    assert "img/s" in shown.err
    assert "loss=" in shown.err
    picture = tmp_path / "out" / "mlp-digits.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    saved = np.load(tmp_path / "out" / "mlp-digits.npz")
    assert sorted(saved) == ["W1", "W2", "b1", "b2"]
    assert saved["W1"].dtype == np.float32


def test_saved_parameters_have_the_accuracy_that_was_printed(quick, tmp_path, capsys):
    cli.main([*quick, "--dtype", "float64"])
    _, (x_test, t_test) = fastconv.datasets.load_digits()
    net = networks.MultiLayerNet(784, [100], 10)
    net.load_params(tmp_path / "out" / "mlp-digits.npz")
    assert net.accuracy(x_test, t_test) == pytest.approx(accuracy(capsys.readouterr().out), abs=1e-4)


def test_the_same_seed_gives_the_same_parameters(quick, tmp_path):
    results = []
    for seed in ("1", "1", "2"):
        cli.main([*quick, "--seed", seed])
        results.append(np.load(tmp_path / "out" / "mlp-digits.npz")["W1"])
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam"])
def test_every_optimizer_learns_at_its_own_rate(quick, optimizer, capsys):
    cli.main([*quick, "--optimizer", optimizer, "--epochs", "4"])
    assert accuracy(capsys.readouterr().out) > 0.8


def test_options_reach_the_training(quick, capsys, monkeypatch):
    seen = {}

    def step(network, x, t):
        seen.setdefault("batch", len(x))
        seen.setdefault("threads", fastconv.get_num_threads())
        seen.setdefault("rates", []).append(trainers[0].optimizer.lr)
        return plain_gradient(network, x, t)

    def make(*given, **options):
        trainers.append(cli_trainer(*given, **options))
        return trainers[-1]

    trainers, cli_trainer, plain_gradient = [], cli.Trainer, networks.MultiLayerNet.gradient
    make.optimizers = cli_trainer.optimizers
    monkeypatch.setattr(cli, "Trainer", make)
    monkeypatch.setattr(networks.MultiLayerNet, "gradient", step)
    options = ["--batch-size", "100", "--epochs", "1", "--lr", "0.5", "--optimizer", "sgd", "--threads", "1"]
    cli.main([*quick, *options, "--backend", "numpy"])
    assert seen["batch"] == 100
    assert seen["threads"] == 1
    steps = trainers[0].max_iter
    np.testing.assert_allclose(seen["rates"][:steps], 0.5 * np.linspace(1, 0, steps, endpoint=False))
    assert "NumPy reference" not in capsys.readouterr().out
    seen.clear()
    trainers.clear()
    cli.main([*quick, *options, "--schedule", "constant"])
    assert set(seen["rates"]) == {0.5}


@pytest.mark.parametrize("net", ["simple", "deep"])
def test_convolutional_networks_train_on_files(net, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    write_idx(tmp_path, "t10k", rng.integers(0, 256, (30, 28, 28), np.uint8), rng.integers(0, 10, 30, np.uint8))
    options = ["--data", str(tmp_path), "--net", net, "--epochs", "1", "--batch-size", "8", "--out", str(tmp_path)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cli.main(["train", "--dataset", "fashion", *options]) == 0
    shown = capsys.readouterr().out
    assert "note: only the t10k files are in" in shown
    assert "24 images to train, 6 to test" in shown
    assert (tmp_path / f"{net}-fashion.npz").is_file()


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(("net", "epochs", "least"), [("simple", 3, 0.96), ("deep", 8, 0.98)])
def test_accuracy_on_mnist(net, epochs, least, tmp_path, capsys):
    options = ["--data", str(FOLDER), "--net", net, "--epochs", str(epochs), "--out", str(tmp_path)]
    cli.main(["train", "--dataset", "mnist", *options])
    assert accuracy(capsys.readouterr().out) >= least


def test_the_default_training_reaches_97_percent(tmp_path, capsys):
    pytest.importorskip("sklearn")
    cli.main(["train", "--out", str(tmp_path)])
    assert accuracy(capsys.readouterr().out) >= 0.97
    assert (tmp_path / "simple-digits.npz").is_file()


def error_line(arguments, capsys):
    """What a wrong command line prints; it must end with the exit code 2 and one line."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    return shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: {train,predict,info,bench}"),
        (["dance"], "invalid choice: 'dance'"),
        (["train", "--net", "huge"], "invalid choice: 'huge'"),
        (["train", "--epochs", "0"], "expected a whole number of at least 1, got '0'"),
        (["train", "--batch-size", "many"], "expected a whole number of at least 1, got 'many'"),
        (["train", "--lr", "-1"], "expected a number above 0, got '-1'"),
        (["train", "--lr", "nan"], "expected a number above 0, got 'nan'"),
        (["train", "--lr", "fast"], "expected a number above 0, got 'fast'"),
        (["train", "--seed", "x"], "expected a whole number of at least 0, got 'x'"),
        (["train", "--dataset", "mnist", "--data", "nowhere"], "no such folder: nowhere"),
        (["train", "--dataset", "mnist", "--data", __file__], "not a folder: "),
        (["train", "--dataset", "cifar10", "--data", "."], "no CIFAR-10 batches in ."),
        (["train", "--data", "."], "the digits are bundled"),
        (["bench", "--seconds", "0"], "expected a number above 0, got '0'"),
    ],
)
def test_a_users_error_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in error_line(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_an_unusable_out_folder_is_one_line(quick, tmp_path, capsys):
    (tmp_path / "out").write_text("in the way")
    assert "--out: cannot make the folder" in error_line(quick, capsys)


def test_a_file_that_cannot_be_written_is_one_line(quick, tmp_path, capsys):
    (tmp_path / "out" / "mlp-digits.npz").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        cli.main(quick)
    assert ended.value.code == 2
    assert "mlp-digits.npz" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("package", ["tqdm", "matplotlib", "sklearn"])
def test_a_missing_extra_is_one_line(package, quick, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    line = error_line(quick, capsys)
    assert f"needs {package}, which is not installed" in line
    assert "fastconv[demo]" in line


def test_a_backend_that_cannot_be_used_is_one_line(quick, capsys):
    unusable = [name for name, reason in fastconv.backends().items() if reason]
    if not unusable:
        pytest.skip("every backend can be used here")
    assert f"backend '{unusable[0]}' cannot be used" in error_line([*quick, "--backend", unusable[0]], capsys)


def test_ctrl_c_saves_what_was_trained(quick, tmp_path):
    with subprocess.Popen(
        [*PROGRAM, *quick, "--epochs", "100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        shown = b""
        deadline = time.monotonic() + 60
        while not re.search(rb"epoch ([2-9]|\d\d+)/", shown) and time.monotonic() < deadline:
            shown += process.stderr.read1(4096)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    *_, interrupted, parameters, curve = out.decode().splitlines()
    assert interrupted.startswith("interrupted after step ")
    assert 28 < int(interrupted.split()[3]) < 100000 * 28
    assert parameters.split() == ["parameters", str(tmp_path / "out" / "mlp-digits.npz")]
    assert curve.split() == ["learning", "curve", str(tmp_path / "out" / "mlp-digits.png")]
    networks.MultiLayerNet(784, [100], 10).load_params(tmp_path / "out" / "mlp-digits.npz")
    assert (tmp_path / "out" / "mlp-digits.png").is_file()


def test_ctrl_c_before_the_training_ends_quietly(quick, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli._DATASETS, "digits", interrupted)
    assert cli.main(quick) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_as_a_process(tmp_path):
    done = subprocess.run([*PROGRAM, "train", "--epochs", "0"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--epochs" in done.stderr


def test_the_program_is_installed():
    (program,) = importlib.metadata.entry_points(group="console_scripts", name="fastconv")
    assert program.load() is cli.main


def test_info_names_versions_backends_and_extras(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert fastconv.__version__ in shown
    for name in (*fastconv.backends(), "extra demo", "extra numba"):
        assert name in shown
    assert f"scikit-learn {cli._version('scikit-learn')}" in shown
    assert cli._version("no-such-package") == "(missing)"


def test_info_measures_the_machine_when_asked(capsys, monkeypatch):
    monkeypatch.setattr(_ceiling, "SECONDS", 0.001)
    assert cli.main(["info", "--ceiling"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"multiply-adds +\d+ GFLOP/s", shown)
    assert re.search(r"memory, 256 MiB +\d+ GB/s", shown)


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"fastconv {fastconv.__version__}\n"


def test_bench_shows_a_line_for_each_row(capsys, monkeypatch):
    row = next(name for name in _bench.ROWS if name.startswith("batch norm"))
    monkeypatch.setattr(_bench, "ROWS", {row: _bench.ROWS[row]})
    assert cli.main(["bench", "--seconds", "0.001", "--threads", "1", "--dtype", "float64"]) == 0
    first, _, header, line = capsys.readouterr().out.splitlines()
    assert first.startswith("float64, batches of 100, 1 threads")
    assert line.startswith(row)
    best, median, *others = line.removeprefix(row).split()
    assert 0 < float(best) <= float(median)
    assert len(others) == 3 * (1 + ("PyTorch" in header))


def test_bench_without_one_of_its_processes_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(_bench, "ROWS", {"unknown to the processes": None})
    with pytest.raises(SystemExit) as ended:
        cli.main(["bench", "--seconds", "0.001"])
    assert ended.value.code == 2
    assert "ended unexpectedly" in capsys.readouterr().err.splitlines()[-1]


def test_ctrl_c_ends_the_bench_and_its_processes(tmp_path):
    with subprocess.Popen(
        [*PROGRAM, "bench", "--seconds", "30"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"float32")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=25)  # returns when the last process that could write has ended
    assert process.returncode == 130
    assert err == b"interrupted\n"


def test_bench_refuses_to_compare_different_results():
    class Liar:
        def __init__(self, total):
            self.stdin = self
            self.stdout = self
            self.total = total

        def write(self, _):
            pass

        def flush(self):
            pass

        def readline(self):
            return f'{{"sum": {self.total}, "seconds": [1.0]}}'

    with pytest.raises(RuntimeError, match="result of fastconv is not the reference's"):
        _bench._measure_row("a row", {"fastconv": Liar(1.0), "numpy": Liar(1.1)})


@pytest.mark.parametrize("name", _bench.ROWS)
def test_every_row_runs_on_every_side(name):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    row, totals = _bench.ROWS[name], []
    arrays = row.arrays(np.float64)
    totals.append(_bench._sum(row.ours(fastconv, *arrays)()))
    totals.append(_bench._sum(row.torch(torch, *map(torch.from_numpy, arrays))()))
    assert totals[0] == pytest.approx(totals[1], rel=1e-9)
    assert torch.get_num_threads() == threads


@pytest.mark.skipif(not fastconv.backends()["cuda"], reason="there is a card")
def test_a_device_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--device", "cuda"])
    assert ended.value.code == 2
    assert "error: arrays on a CUDA device cannot be used: " in capsys.readouterr().err
