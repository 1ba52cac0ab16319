"""Checkpoints that are damaged, or made up: the fit refuses them and nothing has changed, or it goes on rightly."""

import copy
import functools
import json
import pathlib
import random
import struct
import tempfile

from fastnn import DivergedError
from fastnn.training import checkpoint

from .children import count_in_children
from .fits import KINDS, fit, network, result

COUNT = 50_000
WATCHERS = ("reducer", "logger", "own", "stopper")
DONE = 3  # epochs in the checkpoints
STRANGE = [
    None, True, False, 0, 1, -1, 2, 3, 1000, 10**9, 2**62, 2**63, 10**30, 0.0, -1.5, 1e300, float("nan"), float("inf"),
    "", "x", "loss", "Adam", "RAdam", "Layer", "own", [], [0], [[]], [1, 2, 3], [0.5] * 3, {}, {"a": 1},
    {"class": "Adam", "settings": {}}, {"class": "CosineDecay", "settings": {"lr": 0.1, "per": "step"}},
]  # fmt: skip


def run(count: int, seed: int) -> dict[str, int]:
    """Try that many: bytes, JSON or arrays changed; of half of the latter the sum is taken for right."""
    ends = count_in_children(__name__, count, seed, seconds=60.0)
    return {**dict.fromkeys(["refused", "resumed", "different", "changed", "error"], 0), **ends}


@functools.lru_cache(maxsize=None)
def _good(kind):
    """The bytes of a good checkpoint and of its log, and the result of going on."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fit(kind, folder, WATCHERS, 0, epochs=DONE)
        data, log = (folder / "run").read_bytes(), (folder / "log.csv").read_bytes()
        return data, log, result(*fit(kind, folder, WATCHERS, 0, epochs=DONE + 2), folder)


def case(number: int, seed: int) -> str:
    """What becomes of one file."""
    draw = random.Random(number * 1_000_003 + seed)
    kind = KINDS[number % len(KINDS)]
    data, log, expected = _good(kind)
    changed, sound = mutated(data, draw)
    net = network(kind)
    before = _state(net)
    real = checkpoint.checksum
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "run").write_bytes(changed)
        (folder / "log.csv").write_bytes(log)
        if sound:
            checkpoint.checksum = lambda described, arrays: described["run"].get("checksum", 0)
        try:
            net, history = fit(kind, folder, WATCHERS, 0, epochs=DONE + 2, net=net)
        except (ValueError, OSError):
            unchanged = _state(net) == before and (folder / "log.csv").read_bytes() == log
            return "refused" if unchanged and (folder / "run").read_bytes() == changed else "changed"
        except DivergedError:  # from numbers that nobody can know to be wrong without the sum
            return "resumed" if sound else "error"
        finally:
            checkpoint.checksum = real
        return "resumed" if sound or result(net, history, folder) == expected else "different"


def _state(net):
    arrays = [array.tobytes() for array in net.engine.training_arrays(16)]
    return repr((arrays, net.lr, vars(net.layers[0])))


# --- mutations ---------------------------------------------------------------------------------


def mutated(data, draw):
    """A changed file, and whether its sum is to be taken for right."""
    what = draw.choice(["bytes", "json", "json", "json", "arrays"])
    if what == "bytes":
        return _bytes(bytearray(data), draw), False
    size = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    described = json.loads(header["__metadata__"]["fastnn"])
    if what == "json":
        part = draw.choice([described, described["run"], described["history"], described["callbacks"]])
        for _ in range(draw.randint(1, 2)):
            _change(part, draw)
    else:
        header = _arrays(header, draw)
    header["__metadata__"]["fastnn"] = json.dumps(described)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body, draw.random() < 0.5


def _bytes(data, draw):
    kind = draw.randrange(5)
    place = draw.randrange(len(data))
    if kind == 0:
        data[place] ^= 1 << draw.randrange(8)
    elif kind == 1:
        del data[place:]
    elif kind == 2:
        data[place : place + 16] = bytes(16)
    elif kind == 3:
        data[place:place] = draw.randbytes(8)
    else:
        for _ in range(20):
            data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


def _change(part, draw):
    """Change one place somewhere inside."""
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        if not keys:
            return
        key = draw.choice(keys)
        if not isinstance(part[key], (dict, list)) or not part[key] or draw.random() < 0.3:
            break
        part = part[key]
    kind = draw.randrange(5)
    if kind == 0:
        del part[key]
    elif kind == 1 and isinstance(part[key], list):
        part[key] = part[key][::-1] + part[key][:1]
    elif kind == 2 and isinstance(part[key], (int, float)):
        part[key] = part[key] * 2 + 1
    elif kind == 3:
        part[key] = copy.deepcopy(part[draw.choice(keys)])
    else:
        part[key] = copy.deepcopy(draw.choice(STRANGE))


def _arrays(header, draw):
    """Another name, dtype or shape of an array, or two of them exchanged."""
    names = [name for name in header if name != "__metadata__"]
    one, two = draw.sample(names, 2)
    kind = draw.randrange(5)
    if kind == 0:
        header[draw.choice(["callback.9.x", "x", "callback.3.0.0"])] = header.pop(one)
    elif kind == 1:
        header[one], header[two] = header[two], header[one]
    elif kind == 2:
        header[one]["shape"] = header[one]["shape"][::-1]
    elif kind == 3:
        header[one]["dtype"] = draw.choice(["F32", "F64", "I64", "I32", "U64"])
    else:
        header[one]["shape"] = [1, *header[one]["shape"]]
    return header
