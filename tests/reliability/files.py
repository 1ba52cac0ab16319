"""Mutated model files: whatever is in a file, `fastnn.load` refuses it, or what it makes can be used.

Files are mutated as bytes, and as what they say: parts of the header and of the description replaced, removed, added,
swapped, and wrapped again so that the file is sound but for that; and arrays of other shapes and types. What loads
predicts, trains and is saved, in child processes.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import io
import json
import random
import resource
import shutil
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
from fastnn.kernels import special

from .children import count_in_children

COUNT = 100_000
MOST_MEMORY = 8 * 2**30  # bytes of address space: a file of some kB must not need more

NONSENSE: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 7, 50, 1000, 10**6, 10**9, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400,
    0.5, -0.5, 1.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), "", "class", "values", "float32",
    "float64", "Layer", "Tanh", "\ud800", "\0", [], [1], [[]], {}, {"class": "Tanh", "settings": {}}, {"same_as": 0},
    "x" * 1000,
]  # fmt: skip
NAMES = [
    "trained", "rows", "start", "kernels", "target", "state", "own", "same_as", "class", "settings", "lr", "per",
    "after", "_memory", "_ins", "_outs", "__class__", "__dict__", "f", "update", "checked", "given", "stamp",
    "of_numbers", "fitted", "trainable", "l1", "eps", "alpha", "leaky_param", "steps", "run", "more", "dtype", "",
]  # fmt: skip

CLASSES = ["LayerNorm", "Dropout", "Standardize", "RMSprop", "RProp", "WarmUp", "MAELoss", "ELU", "Bend", "Constant"]


class Bend(fastnn.ActivationFunction):
    """An activation of a user's own."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def f(self, x: Any) -> Any:
        return x / (1 + np.abs(self.strength * x))

    def df(self, x: Any) -> Any:
        return 1 / (1 + np.abs(self.strength * x)) ** 2


def networks() -> list[fastnn.NeuralNetwork]:
    """Networks with much in them."""
    L, rng = fastnn.Layer, np.random.default_rng(0)
    shared = L(4, 4, fastnn.ELU(0.5), seed=rng)
    plain = fastnn.NeuralNetwork(
        [L(3, 5, fastnn.LeakyReLU(), seed=rng), L(5, 2, fastnn.Identity(), seed=rng)], fastnn.MSELoss(), 0.01
    )
    staged = fastnn.NeuralNetwork(
        [
            fastnn.Standardize(), L(3, 20, Bend(0.5), seed=rng), fastnn.BatchNorm(), fastnn.Dropout(0.1),
            L(20, 4, fastnn.GELU(), seed=rng, l2=0.01, max_norm=3.0), fastnn.LayerNorm(), fastnn.GaussianNoise(0.1),
            L(4, 3, fastnn.Identity(), seed=rng),
        ],
        fastnn.CrossEntropyLoss(0.1), fastnn.WarmUp(fastnn.CosineDecay(0.01, 20), 3), fastnn.Adam(), clip_norm=1.0,
        dtype="float32",
    )  # fmt: skip
    twice = fastnn.NeuralNetwork(
        [L(3, 4, fastnn.Tanh(), seed=rng), shared, shared, L(4, 1, fastnn.Identity(), seed=rng)],
        fastnn.HuberLoss(0.7), fastnn.StepDecay(0.01, 2), fastnn.NAdam(), clip_value=0.5,
    )  # fmt: skip
    return [plain, staged, twice]


def use(net: fastnn.NeuralNetwork, folder: Path) -> None:
    """Predict, train, fit, save and load."""
    rng = np.random.default_rng(0)
    ins, outs = net.layers[0].ins, net.layers[-1].outs
    X = rng.normal(size=(8, ins))
    y = rng.integers(0, outs, 8) if net.loss_function.target == "class" else rng.random((8, outs))
    columns = y if y.ndim == 1 else y.T
    net.predict(X)
    if not any(isinstance(layer, fastnn.BatchNorm) for layer in net.layers):  # which refuses a sample alone
        net.train(X.T, columns)
    net.train(X.T, columns, batch_size=3)
    net.fit(X, y, epochs=2, batch_size=4, verbose=0, seed=0)
    net.gradients(X.T, columns)
    net.predict(X)
    net.save(folder / "again")
    fastnn.load(folder / "again", custom=[Bend]).predict(X)


# --- mutations -------------------------------------------------------------------------------


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a file and the bytes of its arrays."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def wrapped(header: dict[str, Any], body: bytes) -> bytes:
    """A file of them."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with one to three changes."""
    header, body = split(data)
    if rng.random() < 0.3:
        return changed_bytes(data, rng, 8 + int.from_bytes(data[:8], "little"))
    description = json.loads(header["__metadata__"]["fastnn"])
    arrays = rng.random() < 0.3
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        kind = rng.random()
        if arrays and kind < 0.8:
            header, body = changed_arrays(header, body, rng)
        elif kind < 0.1:
            change(header, rng)
        else:
            change(description, rng)
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        text = json.dumps(description)
        if rng.random() < 0.05:  # something named twice
            text = text.replace('"layers":', '"steps": 0, "steps": 1, "layers":')
        if rng.random() < 0.03:
            text = text.replace("null", "[" * rng.choice([20, 2000, 200_000]) + "]" * 20)
        metadata["fastnn"] = text
    return wrapped(header, body)


def changed_bytes(data: bytes, rng: random.Random, header: int) -> bytes:
    """Some bytes overwritten, flipped, removed, put in or cut off."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(header if rng.random() < 0.8 else len(data))
        at = min(at, max(0, len(out) - 1))
        count = rng.choice([1, 1, 2, 8, 64])
        kind = rng.randrange(5)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + count] = rng.randbytes(count)
        elif kind == 2:
            del out[at : at + count]
        elif kind == 3:
            out[at:at] = rng.choice([b"0", b"9", b"-", b"{", b"]", b'"', b"\\", b"e9", b",", rng.randbytes(count)])
        else:
            del out[rng.randrange(len(out) + 1) :]
    return bytes(out)


def change(tree: Any, rng: random.Random) -> None:
    """Change something in a tree of dicts and lists."""
    places = []  # a container and a key

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(tree)
    if not places:
        return
    node, key = rng.choice(places)
    other, at = rng.choice(places)
    kind = rng.randrange(8)
    if kind <= 2:
        node[key] = copy.deepcopy(rng.choice(NONSENSE))
    elif kind == 3:
        del node[key]
    elif kind == 4:
        node[key] = copy.deepcopy(other[at])
    elif kind == 5 and isinstance(node, dict):
        node[rng.choice(NAMES)] = copy.deepcopy(rng.choice(NONSENSE))
    elif kind == 6 and isinstance(node, dict):
        node[rng.choice(NAMES)] = node.pop(key)
    elif kind == 7:
        value = node[key]
        names = [
            "LayerNorm",
            "Dropout",
            "Standardize",
            "RMSprop",
            "RProp",
            "WarmUp",
            "MAELoss",
            "ELU",
            "Bend",
            "Constant",
        ]
        if isinstance(value, str):
            node[key] = rng.choice(names)
        elif isinstance(value, (int, float)):
            node[key] = value * rng.choice([-1, 2, 10, 0.5]) + rng.choice([-1, 0, 1])


def changed_arrays(header: dict[str, Any], body: bytes, rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """The same with an array removed, added, renamed, or of another shape, type or content; the file is sound."""
    arrays: dict[str, list[Any]] = {}
    for name, about in header.items():
        try:
            begin, end = about["data_offsets"]
            arrays[name] = [about["dtype"], list(about["shape"]), body[begin:end]]
        except (KeyError, TypeError, ValueError):
            continue
    if not arrays:
        return header, body
    name = rng.choice(list(arrays))
    kind = rng.randrange(6)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[rng.choice(["optimizer.0", "optimizer.9", "layers.0.W", "layers.7.b", "x", "callback.0.best", ""])] = [
            *arrays[name]
        ]
    elif kind == 2:
        shape = [rng.choice([0, 1, 2, 3, 5, 17]) for _ in range(rng.choice([0, 1, 2, 2, 3]))]
        arrays[name] = ["F64", shape, bytes(8 * int(np.prod(shape, dtype=np.int64)))]
    elif kind == 3:
        size = int(np.prod(arrays[name][1], dtype=np.int64))
        code, bytes_each = rng.choice([("F32", 4), ("F64", 8), ("I64", 8), ("U8", 1), ("F16", 2), ("BOOL", 1)])
        arrays[name] = [code, arrays[name][1], rng.randbytes(size * bytes_each)]
    elif kind == 4:
        arrays[name][1] = arrays[name][1][::-1]
    else:
        arrays[name][2] = rng.randbytes(len(arrays[name][2]))
    out: dict[str, Any] = {k: v for k, v in header.items() if k == "__metadata__"}
    whole = io.BytesIO()
    for key, (code, shape, content) in arrays.items():
        begin = whole.tell()
        whole.write(content)
        out[key] = {"dtype": code, "shape": shape, "data_offsets": [begin, whole.tell()]}
    return out, whole.getvalue()


# --- cases -----------------------------------------------------------------------------------


@lru_cache
def originals() -> tuple[list[bytes], Path]:
    """The files to mutate, and a folder; all that the cases need is compiled."""
    warnings.simplefilter("ignore")
    special.when = "never"  # a kernel for each architecture would take the time of a hundred cases
    folder = tempfile.mkdtemp(prefix="fastnn-files-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path, files = Path(folder), []
    for net in networks():
        use(net, path)
        net.save(path / "net")
        files.append((path / "net").read_bytes())
    X = np.ones((8, 3))  # a checkpoint is a network, too
    net.fit(X, X[:, :1], callbacks=[fastnn.Checkpoint(path / "run"), fastnn.EarlyStopping()], verbose=0)
    files.append((path / "run").read_bytes())
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    return files, path


def case(number: int, seed: int) -> str:
    """What becomes of one mutated file: refused or worked; any other error is raised."""
    files, folder = originals()
    rng = random.Random(f"{seed} {number}")
    (folder / "mutated").write_bytes(mutated(rng.choice(files), rng))
    try:
        net = fastnn.load(folder / "mutated", custom=[Bend])
    except (ValueError, OSError):
        return "refused"
    if max(max(layer.ins, layer.outs) for layer in net.layers) <= 10_000:
        # Rates and weights that are not finite, and settings that an own class has taken unseen
        with contextlib.suppress(ValueError, fastnn.DivergedError, fastnn.FormulaError):
            use(net, folder)
    return "worked"


def run(count: int, seed: int) -> dict[str, int]:
    """How many mutated files were tried, refused and worked, and how many crashed, hung or ended in another error."""
    return count_in_children(__name__, count, seed)
