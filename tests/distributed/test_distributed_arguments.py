"""What is refused, on all processes; and an installation without mpi4py."""

import subprocess
import sys

import pytest
from launch import environment, needs_mpi, results

from fastconv.distributed import DataParallel, _mpi
from fastconv.networks import TwoLayerNet
from fastconv.trainer import Trainer


def test_importing_asks_for_no_mpi():
    program = "import sys, fastconv.distributed, fastconv.trainer, fastconv.cli; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], env=environment()).returncode == 0


@pytest.mark.parametrize("make", [DataParallel, lambda net: Trainer(net, [[0.0]], [0], distributed=True)])
def test_without_mpi4py_the_extra_is_named(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    monkeypatch.delattr("mpi4py.MPI", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"several processes needs mpi4py.*pip install 'fastconv\[mpi\]'"):
        make(TwoLayerNet(1, 2, 2))


def test_without_an_mpi_library_its_wheel_is_named(monkeypatch):
    def broken(*_):
        raise RuntimeError("cannot load MPI library\nlibmpi.so.12: no such file")

    monkeypatch.setattr(_mpi, "require", broken)
    with pytest.raises(
        RuntimeError, match=r"an MPI library \(cannot load MPI library\): pip install 'fastconv\[mpi\]'"
    ):
        _mpi.mpi()


@needs_mpi
def test_refused():
    for found in results(2, "arguments.py"):
        name = found.pop("name")
        assert found["messages"] == [found["wanted"]] * 2, name
