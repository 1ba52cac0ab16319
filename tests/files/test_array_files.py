"""Files of arrays: what safetensors reads and writes, and nothing else; files that are replaced as a whole."""

import json
import os
import signal
import stat
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from networks import bits, classifier

import fastnn
from fastnn import Adam, Identity, Layer, MSELoss, NeuralNetwork, Tanh
from fastnn.files import ArrayFile, arrays, write_arrays
from tests.reliability.files import split, wrapped

ARRAYS = {
    "a": np.arange(12.0).reshape(3, 4).T,
    "b": np.arange(3, dtype=np.int16),
    "c": np.ones((2, 0, 3), np.float32),
    "d": np.array(7, np.uint8),
    "e": np.array([True, False]),
}


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


def test_safetensors_reads_what_we_write_and_we_what_it_writes(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    write_arrays(tmp_path / "ours", ARRAYS, {"x": "y\n\u00e9"})
    theirs = numpy.load_file(tmp_path / "ours")
    assert theirs.keys() == ARRAYS.keys()
    assert all(same(theirs[name], array) for name, array in ARRAYS.items())
    numpy.save_file({k: v.copy() for k, v in ARRAYS.items()}, tmp_path / "theirs", {"x": "y\n\u00e9"})
    for name in ("ours", "theirs"):
        with ArrayFile(tmp_path / name) as file:
            assert file.metadata == {"x": "y\n\u00e9"}
            assert all(same(file.read(key), array) for key, array in ARRAYS.items())


def test_networks_are_safetensors_files(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    net, X, y = classifier(optimizer=Adam())
    net.fit(X, y, seed=0)
    net.save(tmp_path / "net")
    arrays = numpy.load_file(tmp_path / "net")
    np.testing.assert_array_equal(arrays["layers.0.W"], net.layers[0].weights)
    assert arrays["optimizer.1"].shape == (2, 11, 3)


@pytest.mark.parametrize("size", [1, 2**17, 2**17 + 1])
def test_arrays_in_pieces(tmp_path, size):
    arrays = {"row": np.arange(3.0 * size).reshape(3, size), "column": np.arange(3.0 * size).reshape(size, 3)[:, :2],
              "turned": np.arange(3.0 * size).reshape(3, 1, size).T, "flat": np.arange(5 * size)}  # fmt: skip
    write_arrays(tmp_path / "file", arrays, {})
    with ArrayFile(tmp_path / "file") as file:
        for name, array in arrays.items():
            place = np.zeros(array.shape[::-1], array.dtype).T
            file.read_into(name, place)
            assert same(place, array)
            with pytest.raises(ValueError, match=f"'{name}' is .*; expected float16"):
                file.read_into(name, np.zeros(place.shape, np.float16))


def sound():
    header = {
        "a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]},
        "b": {"dtype": "F32", "shape": [1, 2], "data_offsets": [16, 24]},
    }
    return header, bytes(24)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["a"].update(shape=[15_000, 15_000]), "which do not fit"),
        (lambda h: h["a"].update(shape=[2**62, 8]), "which do not fit"),
        (lambda h: h["a"].update(shape=[-2]), "expected counts"),
        (lambda h: h["a"].update(shape=[True, 2]), "expected counts"),
        (lambda h: h["a"].update(shape=[2.0]), "expected counts"),
        (lambda h: h["a"].update(shape=2), "expected counts"),
        (lambda h: h["a"].update(shape=[1] * 40 + [2]), "8 dimensions"),
        (lambda h: h["a"].update(dtype="F128"), "'F128'"),
        (lambda h: h["a"].update(dtype=["F64"]), "F64"),
        (lambda h: h["a"].update(data_offsets=[0, 16, 16]), "the place"),
        (lambda h: h["a"].update(data_offsets=[8, 24]), "begin at 8; expected 0"),
        (lambda h: h["a"].update(data_offsets=[16, 0]), "do not fit"),
        (lambda h: h["b"].update(data_offsets=[8, 16]), "begin at 8; expected 16"),
        (lambda h: h["b"].update(data_offsets=[17, 25]), "begin at 17; expected 16"),
        (lambda h: h["a"].update(more=1), "not just dtype"),
        (lambda h: h["a"].pop("shape"), "not just dtype"),
        (lambda h: h.update(a=[]), "not just dtype"),
        (lambda h: h.pop("b"), "has 24 bytes of arrays; its header speaks of 16"),
        (lambda h: h.update(__metadata__={"x": 1}), "no texts by name"),
        (lambda h: h.update(__metadata__=["x"]), "no texts by name"),
    ],
)
def test_headers_that_do_not_fit(tmp_path, change, message):
    header, body = sound()
    change(header)
    (tmp_path / "file").write_bytes(wrapped(header, body))
    with pytest.raises(ValueError, match=message):
        ArrayFile(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    [
        b"[]", b"", b"nonsense", b'{"a":1', b"\xff\xfe", b'{"a": {}, "a": {}}', b"[" * 100_000,
        b'{"a": ' * 50_000, b'{"x": {"dtype": "F64", "shape": [1' + b"0" * 5000 + b'], "data_offsets": [0, 0]}}',
    ],
)  # fmt: skip
def test_headers_that_are_none(tmp_path, text):
    for claimed in {len(text), 0, len(text) + 1, 2**40, 2**64 - 1}:
        (tmp_path / "file").write_bytes(claimed.to_bytes(8, "little") + text)
        with pytest.raises(ValueError, match=r"\w"):
            ArrayFile(tmp_path / "file")


def test_the_peak_of_save_and_load_is_the_network(tmp_path):
    def network():
        return NeuralNetwork(
            [Layer(1500, 1000, Tanh(), init="zeros"), Layer(1000, 1, Identity())], MSELoss(), 0.1, Adam()
        )

    net = network()
    net.train(np.zeros((1500, 2)), np.zeros((1, 2)), batch_size=2)  # Adam's numbers, twice the weights
    own = sum(array.nbytes for array in (*(layer.memory for layer in net.layers), *net.engine.state.numbers))
    peaks = {}
    for name, work in (
        ("save", lambda: net.save(tmp_path / "net")),
        ("load", lambda: fastnn.load(tmp_path / "net")),
    ):
        tracemalloc.start()
        result = work()
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del result
    size = os.path.getsize(tmp_path / "net")
    assert peaks["save"] < 1.1 * size  # a copy of one moment, which the lock is held for
    assert peaks["load"] - own < 0.5 * size


# --- places ----------------------------------------------------------------------------------


def test_places_that_are_none(tmp_path):
    net, _, _ = classifier()
    (tmp_path / "file").write_bytes(b"mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(b"mine")
    os.link(tmp_path / "a", tmp_path / "b")
    os.symlink(tmp_path / "round", tmp_path / "round")
    for path, kind, message in (
        ("", ValueError, "expected the name of a file"),
        (".", ValueError, "expected the name of a file"),
        ("new/", ValueError, "expected the name of a file"),
        ("a\0b", ValueError, "without the character 0"),
        (None, TypeError, "expected a str or path-like"),
        (3, TypeError, "expected a str or path-like"),
        (b"net", TypeError, "expected a str or path-like"),
        (tmp_path, IsADirectoryError, "is a folder"),
        (tmp_path / "pipe", ValueError, "a pipe, a device"),
        ("/dev/null", ValueError, "a pipe, a device"),
        (tmp_path / "round", OSError, "symbolic links"),
    ):
        with pytest.raises(kind, match=message):
            net.save(path)
        with pytest.raises(kind, match=message):
            fastnn.load(path)
    for path, kind, message in (
        (tmp_path / "nowhere" / "net", FileNotFoundError, "no folder .*nowhere.*make it first"),
        (tmp_path / "file" / "net", NotADirectoryError, "is no folder"),
        (tmp_path / "a", ValueError, "2 names of a file .*Delete this name"),
        (tmp_path / ("x" * 256), OSError, "name too long"),
    ):
        with pytest.raises(kind, match=message):
            net.save(path)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "file").read_bytes() == b"mine"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "file", "pipe", "round"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, " ", "-", "a\nb", "{epoch}", "net.safetensors"])
def test_names_that_are_some(tmp_path, name):
    net, _, _ = classifier()
    for _ in range(2):
        net.save(tmp_path / name)
    assert bits(fastnn.load(tmp_path / name)) == bits(net)
    assert os.listdir(tmp_path) == [name]


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path):
    net, _, _ = classifier()
    (tmp_path / "far").mkdir()
    for target in ("far/old", "far/new"):
        link = tmp_path / target.replace("/", " ")
        link.symlink_to(target)
        if target == "far/old":
            net.save(tmp_path / target)
            old = (tmp_path / target).read_bytes()
            net.layers[0].biases[...] = 7.0
        net.save(link)
        assert link.is_symlink()
        assert bits(fastnn.load(tmp_path / target)) == bits(net)
    assert (tmp_path / "far" / "old").read_bytes() != old
    assert sorted(os.listdir(tmp_path / "far")) == ["new", "old"]


def test_the_mode_is_the_umasks_or_the_old_files(tmp_path):
    net, _, _ = classifier()
    before = os.umask(0o027)
    try:
        net.save(tmp_path / "net")
        assert stat.S_IMODE(os.stat(tmp_path / "net").st_mode) == 0o640
        for mode in (0o600, 0o664):
            os.chmod(tmp_path / "net", mode)
            net.save(tmp_path / "net")
            assert stat.S_IMODE(os.stat(tmp_path / "net").st_mode) == mode
    finally:
        os.umask(before)


SAVER = """
import sys, time
from fastnn import files
with files.replaced(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_saver_left_is_taken_away_and_what_one_at_work_writes_is_not(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(fastnn.__path__[0])}
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path / name)], stdout=subprocess.PIPE, env=environment)
        for name in ("killed", "at work")
    ]
    try:
        assert all(saver.stdout.readline() == b"writing\n" for saver in savers)
        (tmp_path / ".fastnn-mine.tmp").write_bytes(b"not a name of ours")
        assert len(os.listdir(tmp_path)) == 3
        savers[0].send_signal(signal.SIGKILL)
        savers[0].wait()
        classifier()[0].save(tmp_path / "net")
        assert len(os.listdir(tmp_path)) == 3  # that of the one at work, ours, and the network
    finally:
        for saver in savers:
            saver.kill()
            saver.communicate()
    classifier()[0].save(tmp_path / "net")
    assert sorted(os.listdir(tmp_path)) == [".fastnn-mine.tmp", "net"]


def test_savers_of_one_folder_do_not_take_each_others_files(tmp_path):
    code = f"""
import sys
from fastnn import files
for i in range(300):
    with files.replaced({str(tmp_path)!r} + "/" + sys.argv[1]) as file:
        file.write(b"whole")
"""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(fastnn.__path__[0])}
    savers = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "abab"]
    assert [saver.wait(120) for saver in savers] == [0, 0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_system_without_locks_saves_too(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "fcntl", None)
    net, _, _ = classifier()
    (tmp_path / f".fastnn-{'0' * 16}.tmp").write_bytes(b"of a killed one")
    net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"]
    assert bits(fastnn.load(tmp_path / "net")) == bits(net)


def test_a_file_that_ends_while_it_is_read(tmp_path):
    write_arrays(tmp_path / "file", {"a": np.ones(1000)}, {})
    with ArrayFile(tmp_path / "file") as file:
        os.truncate(tmp_path / "file", 2000)
        with pytest.raises(ValueError, match="ends within 'a'"):
            file.read("a")


def test_a_small_file_takes_little_whatever_it_says(tmp_path):
    net = NeuralNetwork([Layer(2, 3, Tanh()), Layer(3, 1, Identity())], MSELoss(), 0.1)
    net.save(tmp_path / "net")
    header, body = split((tmp_path / "net").read_bytes())
    description = json.loads(header["__metadata__"]["fastnn"])
    description["layers"][0].update(ins=15_000, outs=15_000)
    description["layers"][1].update(ins=15_000)
    header["__metadata__"]["fastnn"] = json.dumps(description)
    (tmp_path / "net").write_bytes(wrapped(header, body))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"'layers.0.W' is .* \(3, 2\); expected .* \(15000, 15000\)"):
        fastnn.load(tmp_path / "net")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
