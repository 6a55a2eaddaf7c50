"""Files that are right, and ways to make them wrong."""

import collections
import gzip
import io
import json
import math
import os
import pickle
import struct
import subprocess
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

_SIZES = [0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**60, 2**63, 2**64 - 1]


def arrays(seed: int) -> dict[str, np.ndarray]:
    """The parameters of a small network, TwoLayerNet(5, 4, 3)."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (5, 4), "b1": (4,), "W2": (4, 3), "b2": (3,)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def idx(r: Random) -> bytes:
    shape = r.choice([(3,), (2, 4, 5), (0, 4, 5), (1,) * 70, (6, 28, 28)])
    pixels = np.random.default_rng(r.randrange(9)).integers(0, 256, math.prod(shape), np.uint8)
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + pixels.tobytes()


def idx_gzip(r: Random) -> bytes:
    plain = idx(r)
    return gzip.compress(mutate(r, plain) if r.random() < 0.5 else plain, 1, mtime=0)


def cifar_binary(r: Random) -> bytes:
    records = np.random.default_rng(r.randrange(9)).integers(0, 256, (r.choice([1, 2]), 3073), np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def cifar_python(r: Random) -> bytes:
    pixels = np.random.default_rng(r.randrange(9)).integers(0, 256, (2, 3072), np.uint8)
    batch: dict[bytes, Any] = {b"data": pixels, b"labels": [3, r.choice([9, 300, -1, "x"]) if r.random() < 0.1 else 1]}
    return pickle.dumps(batch, r.choice([0, 2, 2, 4]))


def npz(r: Random) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if r.random() < 0.4 else np.savez
    save(file, allow_pickle=False, **arrays(r.randrange(5)))
    if r.random() < 0.3:  # headers changed inside of a whole archive
        return _rezipped(r, file.getvalue())
    return file.getvalue()


def _rezipped(r: Random, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            member = old.read(name)
            kind = r.random()
            if kind < 0.3:
                shape = tuple(r.choice([4, 2**20, 2**31, 2**40, 2**60]) for _ in range(r.choice([1, 2])))
                header = io.BytesIO()
                np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
                member = header.getvalue() + bytes(32)
            elif kind < 0.5:
                member = mutate(r, member)
            new.writestr(zipfile.ZipInfo(name), member, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def safetensors(r: Random) -> bytes:
    header: dict[str, Any] = {}
    data = b""
    for name, a in arrays(r.randrange(5)).items():
        header[name] = {"dtype": "F64", "shape": list(a.shape), "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    if r.random() < 0.5:
        victim = header[r.choice(list(header))]
        key = r.choice(["shape", "data_offsets"])
        victim[key][r.randrange(len(victim[key]))] = r.choice(_SIZES)
        if r.random() < 0.2:
            victim["dtype"] = r.choice(["F32", "I64", "BOOL", "BF16", "U8", "X"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", r.choice(_SIZES) if r.random() < 0.1 else len(text)) + text + data


class Call:
    """What a pickle makes by a call when it is loaded without care."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


def _payloads(marker: str) -> list[Any]:
    touch = f"open({marker!r}, 'w').close()"
    return [
        Call(os.system, f"touch {marker}"),
        Call(eval, touch),
        Call(exec, touch),
        Call(open, marker, "w"),
        Call(subprocess.Popen, ["touch", marker]),
        Call(getattr, os, "system"),
        Call(np.load, marker),
        Call(np.ndarray.tofile, np.zeros(1), marker),
        Call(np.ndarray, (2**33,)),
        Call(np.empty, (2**33,)),
        Call(bytearray, 2**33),
        Call(collections.Counter, "abc"),
    ]


def pkl(r: Random, marker: str = "/nowhere") -> bytes:
    content: Any = arrays(r.randrange(5))
    if r.random() < 0.3:
        content[r.choice(list(content))] = r.choice(_payloads(marker))
    elif r.random() < 0.1:
        content = collections.OrderedDict(content)
    try:
        raw = pickle.dumps(content, r.choice([0, 1, 2, 3, 4, 5]))
    except Exception:  # a payload that this protocol cannot say
        raw = pickle.dumps({"W1": Call(os.getcwd)})
    if r.random() < 0.15:
        raw = raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    if r.random() < 0.05:  # the oldest opcodes: INST and GLOBAL by hand
        raw = r.choice([b"(S'touch %s'\nios\nsystem\n.", b"cposix\nsystem\n(S'touch %s'\ntR."]) % marker.encode()
    return raw


FORMATS: dict[str, tuple[str, Callable[[Random], bytes], float]] = {  # suffix, a file, share of the inputs
    "idx": ("", idx, 0.2),
    "idx gzip": (".gz", idx_gzip, 0.15),
    "cifar binary": (".bin", cifar_binary, 0.1),
    "cifar python": ("", cifar_python, 0.15),
    "npz": (".npz", npz, 0.12),
    "safetensors": (".safetensors", safetensors, 0.13),
    "pkl": (".pkl", pkl, 0.15),
}


def mutate(r: Random, content: bytes) -> bytes:
    """A few bytes flipped, cut off, inserted, repeated or made into a length that is wrong."""
    data = bytearray(content)
    for _ in range(r.choice([1, 1, 1, 2, 4])):
        if not data:
            return bytes(r.randrange(256) for _ in range(r.randrange(9)))
        at = min(int(len(data) * r.random() ** r.choice([1, 3])), len(data) - 1)  # headers more often than data
        kind = r.randrange(8)
        if kind == 0:
            data[at] ^= 1 << r.randrange(8)
        elif kind == 1:
            data[at] = r.randrange(256)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + r.choice([1, 2, 4, 16])]
        elif kind == 4:
            data[at:at] = bytes(r.randrange(256) for _ in range(r.choice([1, 4, 8])))
        elif kind == 5:
            data[at:at] = data[at : at + r.choice([4, 32, 128])]
        elif kind == 6:
            width, order = r.choice([(2, "<H"), (4, "<I"), (4, ">I"), (8, "<Q")])
            data[at : at + width] = struct.pack(order, r.choice(_SIZES) % 256**width)
        else:
            data[at : at + 8] = data[: len(data[at : at + 8])]
    return bytes(data)


def draw(seed: int, i: int, marker: str) -> tuple[str, str, bytes]:
    """Input i of a seed: its format, its suffix, its bytes."""
    r = Random(f"{seed} file {i}")
    name = r.choices(list(FORMATS), [share for _, _, share in FORMATS.values()])[0]
    suffix, make, _ = FORMATS[name]
    content = pkl(r, marker) if name == "pkl" else make(r)
    kind = r.random()
    if kind < 0.8:
        content = mutate(r, content)
    elif kind < 0.9:  # a splice of two
        other = pkl(r, marker) if name == "pkl" else make(r)
        content = content[: r.randrange(len(content) + 1)] + other[r.randrange(len(other) + 1) :]
    return name, suffix, content
