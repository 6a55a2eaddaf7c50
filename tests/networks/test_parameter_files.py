"""save_params and load_params: formats, foreign and hostile files."""

import collections
import io
import os
import pickle
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastconv.networks import DeepConvNet, MultiLayerNetExtend, SimpleConvNet, TwoLayerNet

rng = np.random.default_rng(7)
SMALL = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
NETS = {
    "TwoLayerNet": (lambda seed: TwoLayerNet(5, 4, 3, rng=seed), (5,)),
    "SimpleConvNet": (lambda seed: SimpleConvNet((1, 8, 8), SMALL, 5, 3, use_batchnorm=True, rng=seed), (1, 8, 8)),
    "DeepConvNet": (lambda seed: DeepConvNet((1, 8, 8), output_size=3, rng=seed), (1, 8, 8)),
    "MultiLayerNetExtend": (lambda seed: MultiLayerNetExtend(5, [4], 3, use_batchnorm=True, rng=seed), (5,)),
}


def small(seed=0, dtype=np.float64):
    return TwoLayerNet(5, 4, 3, 1.0, dtype, rng=seed)


def unchanged(net, before):
    return all(net.params[key] is a and np.array_equal(a, copy) for key, (a, copy) in before.items())


def snapshot(net):
    return {key: (a, a.copy()) for key, a in net.params.items()}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("name", NETS)
def test_a_loaded_network_predicts_the_same(name, suffix, tmp_path):
    make, shape = NETS[name]
    saved, loaded = make(1), make(2)
    x, t = rng.standard_normal((6, *shape)), rng.integers(0, 3, 6)
    for _ in range(3):
        saved.gradient(x, t)  # moves running statistics away from their first values
    scores = saved.predict(x)
    assert (loaded.predict(x) != scores).any()
    saved.save_params(tmp_path / f"net{suffix}")
    loaded.load_params(str(tmp_path / f"net{suffix}"))
    assert_array_equal(loaded.predict(x), scores)
    assert os.listdir(tmp_path) == [f"net{suffix}"]
    for key, owner in loaded._owners.items():
        assert owner.array is loaded.params[key]
    loaded.params["W1"] *= 2
    assert (loaded.predict(x) != scores).any()


def test_the_default_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = small(1), small(2)
    one.save_params()
    two.load_params()
    assert_array_equal(two.params["W1"], one.params["W1"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_the_books_pickle(protocol, kind, tmp_path):
    one, two = small(1), small(2)
    one.params["W1"] = np.asfortranarray(one.params["W1"])
    path = tmp_path / "params.pkl"
    path.write_bytes(pickle.dumps(kind(one.params), protocol))
    two.load_params(path)
    for key, a in one.params.items():
        assert_array_equal(two.params[key], a)
        assert two.params[key].flags.c_contiguous


def test_the_books_pickle_from_numpy_1(tmp_path):
    one, two = small(1), small(2)
    content = pickle.dumps(one.params, 3)
    assert b"numpy._core.multiarray" in content
    (tmp_path / "params.pkl").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    two.load_params(tmp_path / "params.pkl")
    assert_array_equal(two.params["W2"], one.params["W2"])


class Python2Pickler(pickle._Pickler):
    """Writes what Python 2 writes, where text and bytes are one type, str."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text.encode("latin1") if isinstance(text, str) else text
        if self.proto == 0:
            self.write(b"S" + repr(content)[1:].encode("latin1") + b"\n")
        elif len(content) < 256:
            self.write(b"U" + bytes([len(content)]) + content)
        else:
            self.write(b"T" + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(thing, protocol):
    file = io.BytesIO()
    Python2Pickler(file, protocol).dump(thing)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_the_books_pickle_from_python_2(protocol, kind, tmp_path):
    one, two = small(1), small(2)
    one.params["W1"] = np.asfortranarray(one.params["W1"])
    content = python2_pickle(kind(one.params), protocol)
    with pytest.raises(UnicodeDecodeError, match="'ascii' codec"):
        pickle.loads(content)
    (tmp_path / "params.pkl").write_bytes(content)
    two.load_params(tmp_path / "params.pkl")
    for key, a in one.params.items():
        assert_array_equal(two.params[key], a)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_code_in_a_pickle_from_python_2_is_not_run(protocol, tmp_path):
    net = small()
    content = python2_pickle({**net.params, "b2": Hostile(tmp_path / "run")}, protocol)
    (tmp_path / "params.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="only arrays are admitted"):
        net.load_params(tmp_path / "params.pkl")
    assert not (tmp_path / "run").exists()


def test_the_dtype_of_the_network_stays(tmp_path):
    small(1).save_params(tmp_path / "net.npz")
    net = small(2, np.float32)
    net.load_params(tmp_path / "net.npz")
    assert {p.dtype for p in net.params.values()} == {np.dtype(np.float32)}


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_code_in_a_pickle_is_not_run(tmp_path):
    net = small()
    before = snapshot(net)
    for i, content in enumerate((Hostile(tmp_path / "run"), {**net.params, "b2": Hostile(tmp_path / "run")})):
        path = tmp_path / f"{i}.pkl"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match="only arrays are admitted"):
            net.load_params(path)
    with pytest.raises(ValueError, match="no parameter file"):
        path = tmp_path / "objects.npz"
        np.savez(path, **{**net.params, "W1": np.array([Hostile(tmp_path / "run")], object)})
        net.load_params(path)
    assert not (tmp_path / "run").exists()
    assert unchanged(net, before)


def wrong_key(p):
    return {**p, "W9": p["W1"]}


def missing_key(p):
    return {key: a for key, a in p.items() if key != "b1"}


def wrong_shape(p):
    return {**p, "b2": np.zeros(4)}


def same_size_but_transposed(p):
    return {**p, "W1": p["W1"].T.copy()}


def integers(p):
    return {**p, "b2": np.zeros(3, int)}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pkl"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wrong_key, r"missing \[\], unknown \['W9'\]"),
        (missing_key, r"missing \['b1'\], unknown \[\]"),
        (wrong_shape, r"expected b2 of shape \(3,\)"),
        (same_size_but_transposed, r"expected W1 of shape \(5, 4\)"),
        (integers, "int64 under 'b2'"),
    ],
)
def test_a_file_of_another_network_changes_nothing(change, message, suffix, tmp_path):
    from safetensors.numpy import save_file

    net = small()
    before = snapshot(net)
    arrays = change({key: a + 1 for key, a in net.params.items()})
    arrays["b2"] = arrays["b2"].astype(np.int64) if change is integers else arrays["b2"]
    path = tmp_path / f"net{suffix}"
    match suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".safetensors":
            save_file(arrays, path)
        case ".pkl":
            path.write_bytes(pickle.dumps(arrays))
    with pytest.raises(ValueError, match=message):
        net.load_params(path)
    assert unchanged(net, before)


@pytest.mark.parametrize("content", [b"", b"not what the suffix says", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pkl"])
def test_broken_files(content, suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    net = small()
    before = snapshot(net)
    with pytest.raises(ValueError, match="no parameter file"):
        net.load_params(path)
    assert unchanged(net, before)


@pytest.mark.parametrize("value", [[1, 2], {"W1": [1.0]}, {1: np.zeros(2)}])
def test_pickles_of_other_things(value, tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(ValueError, match="to hold"):
        small().load_params(path)


def test_names_and_missing_files(tmp_path):
    net = small()
    for name in ("net.txt", "net"):
        with pytest.raises(ValueError, match=r"\.npz, \.safetensors or \.pkl"):
            net.save_params(tmp_path / name)
    with pytest.raises(ValueError, match="ending in"):
        net.load_params(tmp_path / "net.txt")
    for suffix in (".npz", ".safetensors", ".pkl"):
        with pytest.raises(FileNotFoundError):
            net.load_params(tmp_path / f"missing{suffix}")
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    small(1).save_params(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        small(2).save_params(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


class Stated:
    """Pickled as the call of a function that NumPy's arrays name, and then the state that the object gets."""

    def __init__(self, function, args, state):
        self.parts = function, args, state

    def __reduce__(self):
        return self.parts


MADE = np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b")
ODD = {
    "memory as it is": (np.ndarray, ((2,),), None),
    "an array from nothing": (np._core.multiarray._reconstruct, (np.ndarray, (2,), b"b"), None),
    "more than the file has": (*MADE, (1, (2**40,), np.dtype("f8"), False, b"12345678")),
    "a negative size": (*MADE, (1, (-1,), np.dtype("f8"), False, b"12345678")),
    "objects": (*MADE, (1, (1,), np.dtype("O"), False, [1])),
    "a structured dtype": (np.dtype, ("f4,f8", False, True), None),
    "a dtype's state of six": (np.dtype, ("f8", False, True), (3, "<", None, -1, -1, 0)),
    "an unknown byte order": (np.dtype, ("f8", False, True), (3, "?", None, None, None, -1, -1, 0)),
}


@pytest.mark.parametrize("name", ODD)
def test_pickles_that_numpy_would_trust_are_refused(name, tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({"W1": Stated(*ODD[name])}, 2))
    net = small()
    before = snapshot(net)
    with pytest.raises(ValueError, match=r"net\.pkl"):
        net.load_params(path)
    assert unchanged(net, before)


def test_a_pickle_with_a_length_or_a_place_beyond_its_end(tmp_path):
    path = tmp_path / "net.pkl"
    for content in (b"\x80\x05\x96" + (2**33).to_bytes(8, "little") + b".", b"\x80\x02}r\xff\xff\xff\x7f."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="no parameter file") as raised:
            small().load_params(path)
        assert not isinstance(raised.value.__cause__, MemoryError)


def archive_of(path, shape, data, method):
    import io
    import zipfile

    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("W1.npy", header.getvalue() + data)


@pytest.mark.parametrize("shape", [(2**60,), (2**31, 2**31), (3,)])
def test_an_archive_whose_array_is_not_as_large_as_it_says(shape, tmp_path):
    path = tmp_path / "net.npz"
    archive_of(path, shape, bytes(32), 8)
    with pytest.raises(ValueError, match=r"net\.npz.*W1\.npy of \d+ bytes cannot be float64 of shape") as raised:
        small().load_params(path)
    assert not isinstance(raised.value.__cause__, MemoryError)


def test_an_archive_that_points_to_before_its_beginning(tmp_path):
    path = tmp_path / "net.npz"
    small().save_params(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 42 : at + 46] = b"\xff\xff\xff\xfe"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no parameter file"):
        small().load_params(path)


def test_a_killed_save_leaves_a_whole_file(tmp_path):
    import subprocess
    import sys
    import time

    path = tmp_path / "net.npz"
    small(0).save_params(path)
    program = (
        "import sys; from fastconv.networks import TwoLayerNet\n"
        "nets = [TwoLayerNet(5, 4, 3, rng=i) for i in (0, 1)]\n"
        "print('ready', flush=True)\n"
        "while True:\n    for net in nets: net.save_params(sys.argv[1])\n"
    )
    for i in range(8):
        writer = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(0.003 * i)
        writer.kill()
        writer.wait()
        writer.stdout.close()
        net = small(2)
        net.load_params(path)
        assert any((net.params["W1"] == TwoLayerNet(5, 4, 3, rng=k).params["W1"]).all() for k in (0, 1)) or i == 0
