"""Files: what is saved comes back bit for bit, and a killed run ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors
from networks import bits, classifier
from safetensors.numpy import save_file
from strategies import ACTIVATIONS, LOSSES, built_in

import fastnn
from fastnn import (
    SGD,
    ActivationFunction,
    Adam,
    Callback,
    Checkpoint,
    CosineDecay,
    EarlyStopping,
    Identity,
    Layer,
    LeakyReLU,
    ModelCheckpoint,
    MSELoss,
    NeuralNetwork,
    Optimizer,
    ReduceLROnPlateau,
    WarmUp,
    saving,
)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_comes_back(tmp_path, activation, dtype):
    net = NeuralNetwork([Layer(3, 5, activation.example()), Layer(5, 2, Identity())], MSELoss(), 0.1, dtype=dtype)
    net.save(tmp_path / "net.safetensors")
    twin = fastnn.load(tmp_path / "net.safetensors")
    assert bits(twin) == bits(net)
    assert repr(twin) == repr(net)
    X = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


@pytest.mark.parametrize("cls", [*LOSSES, *built_in(Optimizer)])
def test_every_loss_and_optimizer_comes_back(tmp_path, cls):
    if issubclass(cls, Optimizer):
        net, X, y = classifier(optimizer=cls.example(), lr=0.01)
    else:
        net, X, y = classifier(loss=cls.example(), lr=0.001)
        y = y if cls.target == "class" else np.eye(3)[y]
    net.fit(X, y, epochs=2, seed=0)
    net.save(tmp_path / "net.safetensors")
    twin = fastnn.load(tmp_path / "net.safetensors")
    net.fit(X, y, epochs=2, seed=1)  # the optimiser goes on where it was
    twin.fit(X, y, epochs=2, seed=1)
    assert bits(twin) == bits(net)


def test_all_settings_come_back(tmp_path):
    layers = [
        Layer(2, 3, LeakyReLU(0.3), l1=0.1, l2=0.2, max_norm=2.0, trainable=False),
        Layer(3, 1, Identity()),
    ]
    schedule = WarmUp(CosineDecay(0.1, 10, restarts=True), 3)
    net = NeuralNetwork(layers, fastnn.HuberLoss(0.7), schedule, SGD(0.9, True), clip_norm=1.0, clip_value=2.0)
    net.save(tmp_path / "a")
    twin = fastnn.load(tmp_path / "a")
    twin.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert repr(twin.lr) == repr(net.lr)
    assert vars(twin.layers[0].act_function) == {"leaky_param": 0.3}


class Cube(ActivationFunction):
    def __init__(self, scale):
        self.scale = scale

    def f(self, x):
        return self.scale * x**3

    def df(self, x):
        return 3 * self.scale * x**2


def test_own_classes_must_be_given(tmp_path):
    net = NeuralNetwork([Layer(2, 1, Cube(0.1))], MSELoss(), 0.1)
    net.save(tmp_path / "net")
    with pytest.raises(ValueError, match=r"uses the class Cube.*custom=\[Cube\]"):
        fastnn.load(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net", custom=[Cube])
    assert twin.layers[0].act_function.scale == 0.1
    net.layers[0].act_function.table = np.ones(3)
    with pytest.raises(TypeError, match=r"Cube\.table is .* cannot be saved"):
        net.save(tmp_path / "net")
    assert bits(fastnn.load(tmp_path / "net", custom=[Cube])) == bits(net)  # the old file is still there


def test_a_file_cannot_name_anything_but_the_vocabulary(tmp_path):
    for name in ("np", "ABC", "ActivationFunction", "Watched", "os.system"):
        with pytest.raises((ValueError, TypeError)):
            saving.restore({"class": name, "settings": {}}, {}).f(0)


def damaged(tmp_path):
    """Files that are no network."""
    net, _, _ = classifier()
    net.save(tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    with safetensors.safe_open(tmp_path / "good", framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["fastnn"])

    def other(**changes):
        return {"fastnn": json.dumps({**description, **changes})}

    files = {
        "empty": b"",
        "half": data[: len(data) // 2],
        "garbage": b"\xff" * 1000,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    save_file(tensors, tmp_path / "no metadata")
    save_file(tensors, tmp_path / "future", metadata=other(format=99))
    save_file(tensors, tmp_path / "no layers", metadata=other(layers=[]))
    save_file(tensors, tmp_path / "bad rate", metadata=other(lr=-1.0))
    save_file({k: v for k, v in tensors.items() if k != "layers.1.W"}, tmp_path / "lost weights", metadata=other())
    save_file({**tensors, "layers.0.W": np.ones((2, 2))}, tmp_path / "other shape", metadata=other())
    return [*files, "no metadata", "future", "no layers", "bad rate", "lost weights", "other shape"]


def test_damaged_files(tmp_path):
    for name in damaged(tmp_path):
        with pytest.raises(ValueError, match=f"{name}' cannot be loaded"):
            fastnn.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        fastnn.load(tmp_path / "nowhere")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    net, X, y = classifier()
    net.save(tmp_path / "net")
    old = (tmp_path / "net").read_bytes()
    net.fit(X, y)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        net.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == old
    assert os.listdir(tmp_path) == ["net"]


def test_model_checkpoint(tmp_path):
    net, X, y = classifier()
    path = tmp_path / "net-{epoch}.safetensors"

    class Score(Callback):
        def on_epoch_end(self, epoch, logs):
            logs["score"] = [3.0, 2.0, 4.0, 1.0][epoch - 1]

    net.fit(X, y, epochs=4, callbacks=[Score(), ModelCheckpoint(path, "score")])
    assert sorted(os.listdir(tmp_path)) == [f"net-{epoch}.safetensors" for epoch in (1, 2, 4)]
    assert bits(fastnn.load(tmp_path / "net-4.safetensors")) == bits(net)


class Stop(Callback):
    """Dies in the middle of a fit."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            raise RuntimeError("killed")


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("seed", [None, 4])
def test_a_fit_goes_on_bit_for_bit(tmp_path, every, seed):
    def start(epochs, *callbacks, path="run"):
        net, X, y = classifier(optimizer=Adam(), lr=0.05)
        watchers = [ReduceLROnPlateau("loss", 0.5, patience=2, min_delta=0.05), EarlyStopping(patience=50)]
        checkpoint = Checkpoint(tmp_path / path, every)
        arguments = {"epochs": epochs, "batch_size": 16, "validation_split": 0.2, "seed": seed}
        return net, lambda: net.fit(X, y, callbacks=[*watchers, checkpoint, *callbacks], **arguments)

    _, fit = start(20, Stop(9))
    with pytest.raises(RuntimeError, match="killed"):
        fit()
    resumed, fit = start(20)
    history = fit()
    assert history.epoch == list(range(1, 21))
    if seed is None:
        seed = json.loads(safetensors.safe_open(tmp_path / "run", "numpy").metadata()["fastnn"])["run"]["seed"]
    whole, fit = start(20, path="other")
    expected = fit()
    assert bits(resumed) == bits(whole)
    assert dict(history) == dict(expected)
    assert resumed.lr == whole.lr < 0.05


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    net, X, y = classifier()
    net.fit(X, y, epochs=2, callbacks=[Checkpoint(tmp_path / "run")], seed=1)
    for changes, message in (
        ({"seed": 2}, "seed is 2 but was 1"),
        ({"batch_size": 5}, "batch_size is 5 but was 32"),
        ({"shuffle": False}, "shuffled is 0 but was 1"),
        ({"X": X[:50], "y": y[:50]}, "rows is 50 but was 90"),
    ):
        other, _, _ = classifier()
        before = bits(other)
        arguments = {"X": X, "y": y, "epochs": 3, "seed": 1, **changes}
        with pytest.raises(ValueError, match=message):
            other.fit(callbacks=[Checkpoint(tmp_path / "run")], **arguments)
        assert bits(other) == before
    with pytest.raises(ValueError, match="holds another network"):
        classifier(4)[0].fit(X, y, callbacks=[Checkpoint(tmp_path / "run")])
    net.save(tmp_path / "plain")
    with pytest.raises(ValueError, match="no fit to go on with"):
        net.fit(X, y, callbacks=[Checkpoint(tmp_path / "plain")])


SCRIPT = """
import sys
import numpy as np
from fastnn import *
rng = np.random.default_rng(0)
layers = [Layer(30, 40, ReLU(), seed=rng), Layer(40, 5, Identity(), seed=rng)]
net = NeuralNetwork(layers, CrossEntropyLoss(), CosineDecay(0.01, 3000), Adam())
X, y = rng.normal(size=(2000, 30)), rng.integers(0, 5, 2000)
print("start", flush=True)
net.fit(X, y, epochs=int(sys.argv[2]), callbacks=[Checkpoint(sys.argv[1])], seed=0)
net.save(sys.argv[1] + ".end")
"""


def test_a_run_killed_with_sigkill_ends_with_the_bits_of_one_that_was_not(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(fastnn.__path__[0])}

    def run(path, kill_after=None):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / path), "60"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "start\n"
            if kill_after is not None:
                deadline = time.monotonic() + 60
                while not (tmp_path / path).exists() and time.monotonic() < deadline:
                    time.sleep(0.001)
                time.sleep(kill_after)
                process.send_signal(signal.SIGKILL)
            process.wait(120)
        return process.returncode

    kills = [run("killed", delay) for delay in (0.0, 0.05, 0.11)]
    assert -signal.SIGKILL in kills
    assert run("killed") == 0
    assert run("whole") == 0
    assert bits(fastnn.load(tmp_path / "killed.end")) == bits(fastnn.load(tmp_path / "whole.end"))
