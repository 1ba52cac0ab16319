"""Files: what is saved comes back bit for bit, and a killed run ends as if nothing had happened."""

import copy
import json
import os
import pickle
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
    files,
    saving,
)
from fastnn.formulas.component import is_built_in
from tests.reliability import files as mutated_files
from tests.reliability.files import split, wrapped


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
    rule = SGD(momentum=0.9, nesterov=True)
    net = NeuralNetwork(layers, fastnn.HuberLoss(0.7), schedule, rule, clip_norm=1.0, clip_value=2.0)
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


# --- classes of one's own ------------------------------------------------------------------------


class Line(ActivationFunction):
    """No constructor, but class attributes."""

    init = "lecun_normal"
    slope = 0.5

    def f(self, x):
        return x * 0.5

    def df(self, x):
        return x * 0 + 0.5


class Private(Line):
    """Keeps what its constructor takes under other names, and more that it makes of it."""

    def __init__(self, beta, gamma=2.0):
        self._half = beta / 2
        self.table = np.arange(int(gamma))

    def f(self, x):
        return x * self._half

    def df(self, x):
        return x * 0 + self._half


class Doubled(Cube):
    """Keeps another number under the name of its parameter."""

    def __init__(self, scale):
        super().__init__(2 * scale)


class Swallows(Adam):
    def __init__(self, **settings):
        super().__init__(**{"beta1": 0.8, **settings})


class Within(WarmUp):
    def __init__(self, after, steps=3, /, *, more=0.5):
        super().__init__(after, steps)
        self.more = more


class Tail(fastnn.HuberLoss):
    def __init__(self, far=1.5):
        self.delta = far


class HardCoded(fastnn.Schedule):
    def __init__(self):
        super().__init__(0.25)

    def factor(self, t):
        return np.ones_like(t)


OWN = [
    lambda: {"act": Line()},
    lambda: {"act": Private(0.25)},
    lambda: {"act": Private(beta=0.25, gamma=3)},
    lambda: {"act": Doubled(0.25)},
    lambda: {"act": Cube(np.float32(0.25))},
    lambda: {"optimizer": Swallows(beta2=0.9)},
    lambda: {"optimizer": Swallows()},
    lambda: {"lr": Within(CosineDecay(0.1, 7), 5)},
    lambda: {"lr": Within(HardCoded(), more=0.25)},
    lambda: {"loss": Tail()},
]


def classes_of(thing):
    return [type(thing), *(type(x) for x in vars(thing).values() if isinstance(x, fastnn.Schedule))]


@pytest.mark.parametrize("make", OWN)
@pytest.mark.parametrize("copied", [False, True])
def test_own_classes_come_back_however_they_keep_what_they_are_given(tmp_path, make, copied):
    own = make()
    act, loss = own.get("act", LeakyReLU()), own.get("loss", MSELoss())
    layers = [Layer(3, 4, act, seed=0), Layer(4, 2, Identity(), seed=1)]
    net = NeuralNetwork(layers, loss, own.get("lr", 0.1), own.get("optimizer"))
    if copied:
        net = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    net.save(tmp_path / "net")
    custom = [cls for thing in own.values() for cls in classes_of(thing) if not is_built_in(cls)]
    with pytest.raises(ValueError, match="which is not fastnn's: give it with custom="):
        fastnn.load(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net", custom=custom)
    x = np.random.default_rng(0).normal(size=(3, 9))
    for one in (net, twin):
        one.train(x, x[:2], batch_size=2)
    assert bits(twin) == bits(net)
    twin.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (net.save(tmp_path / "net"), (tmp_path / "net").read_bytes())[1]


class Keeps(Line):
    def __init__(self, value=None):
        self.value = value


class Random(Line):
    def __init__(self):
        self.draw = float(np.random.default_rng().random())


class Places(Line):
    def __init__(self, *values):
        self.a, self.b = values


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Keeps(np.ones(3, complex)), r"Keeps\.value is array"),
        (lambda: Keeps([1]), r"Keeps\.value is \[1\]"),
        (lambda: Keeps(10**30), r"Keeps\.value is 1000"),
        (lambda: Keeps(abs), r"Keeps\.value is <built-in"),
        (lambda: Random(), r"Random\.draw is 0\.\d+, which cannot be saved: made anew it would be 0\.\d+"),
        (lambda: Places(1, 2), r"Places\.values is \(1, 2\)"),
    ],
)
def test_what_a_constructor_does_not_make_anew_is_refused_when_saving(tmp_path, make, message):
    net = NeuralNetwork([Layer(2, 1, make())], MSELoss(), 0.1)
    with pytest.raises(TypeError, match=rf"{message}.*A file keeps the arguments of a constructor: let \w+\.__init__"):
        net.save(tmp_path / "net")
    assert os.listdir(tmp_path) == []


def test_a_setting_that_was_changed_later_is_what_is_saved(tmp_path):
    net = NeuralNetwork([Layer(2, 1, Cube(0.1)), Layer(1, 1, LeakyReLU())], MSELoss(), WarmUp(CosineDecay(0.1, 5), 2))
    net.layers[0].act_function.scale, net.layers[1].act_function.alpha, net.lr.lr = 0.7, 0.5, 0.01
    net.save(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net", custom=[Cube])
    assert (twin.layers[0].act_function.scale, twin.layers[1].act_function.alpha, twin.lr.lr) == (0.7, 0.5, 0.01)


def test_an_own_class_of_a_built_in_name_is_not_the_built_in(tmp_path):
    own = type("Tanh", (Line,), {})
    NeuralNetwork([Layer(2, 1, own()), Layer(1, 1, fastnn.Tanh())], MSELoss(), 0.1).save(tmp_path / "net")
    with pytest.raises(ValueError, match="uses the class Tanh, which is not fastnn's"):
        fastnn.load(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net", custom=[own])
    assert [type(layer.act_function) for layer in twin.layers] == [own, fastnn.Tanh]


@pytest.mark.parametrize("custom", [Cube, [Cube(1.0)], ["Cube"], [int], 3, [Cube, type("Cube", (Line,), {})]])
def test_custom_that_is_no_list_of_classes(tmp_path, custom):
    classifier()[0].save(tmp_path / "net")
    with pytest.raises((TypeError, ValueError), match=r"custom .*expected"):
        fastnn.load(tmp_path / "net", custom=custom)


def test_a_shared_layer_stays_shared(tmp_path):
    twice, stage = Layer(4, 4, LeakyReLU(), seed=0), fastnn.LayerNorm()
    layers = [Layer(2, 4, Identity(), seed=1), twice, stage, twice, stage, twice, Layer(4, 1, Identity(), seed=2)]
    net = NeuralNetwork(layers, MSELoss(), 0.05, Adam())
    x = np.random.default_rng(0).normal(size=(2, 30))
    net.train(x, x[:1], batch_size=4)
    net.save(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net")
    assert [twin.layers.index(layer) for layer in twin.layers] == [0, 1, 2, 1, 2, 1, 6]
    for one in (net, twin):
        one.train(x, x[:1], epochs=3, batch_size=4)
    assert bits(twin) == bits(net)


# --- files that are not what they should be ------------------------------------------------------


def rewritten(path, change):
    """Write the network at `path` again, its description changed."""
    header, body = split(path.read_bytes())
    description = json.loads(header["__metadata__"]["fastnn"])
    change(description)
    header["__metadata__"]["fastnn"] = json.dumps(description)
    path.write_bytes(wrapped(header, body))


def deep(depth):
    lr = {"class": "Constant", "settings": {"lr": 0.1}}
    for _ in range(depth):
        lr = {"class": "WarmUp", "settings": {"after": lr, "steps": 2}}
    return lr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["layers"][1]["settings"].update(trained=1000000), "LayerNorm has no setting 'trained'.*eps"),
        (lambda d: d["layers"][1]["settings"].update(rows=[]), "LayerNorm has no setting 'rows'|setting rows"),
        (lambda d: d["layers"][1]["settings"].update(_memory=0.5), "no setting '_memory'"),
        (lambda d: d["layers"][1]["settings"].update(eps=-1.0), "eps is -1.0; expected a number between 0 and 1"),
        (lambda d: d["layers"][1]["settings"].update(eps=True), "eps is True"),
        (lambda d: d["layers"][1]["settings"].update(eps=float("nan")), "eps is nan"),
        (lambda d: d["layers"][1]["settings"].update(eps="1e-5"), "eps is '1e-5'"),
        (lambda d: d["layers"][1]["settings"].update(eps={}), "it lacks 'class'"),
        (lambda d: d["layers"][1]["settings"].update(eps=[1.0]), "LayerNorm has the setting eps"),
        (lambda d: d["layers"][1]["settings"].update(eps=10**30), "expected a number of 64 bits"),
        (lambda d: d["layers"][1].update(outs=5), "layer 1 has 4 inputs and 5 outputs"),
        (lambda d: d["layers"][1].update(ins=True, outs=True), "ins is True"),
        (lambda d: d["layers"][1].update(trainable=1), "trainable is 1; expected True or False"),
        (lambda d: d["layers"][1].update({"class": "Tanh"}), "has a Tanh where it should have one of Stage"),
        (lambda d: d["layers"][1].update({"class": "Standardize", "settings": {}}), "'layers.1.mean'"),
        (lambda d: d["layers"][0].update(outs=40), "layer 0 has 40 outputs but layer 1 takes 4 inputs"),
        (lambda d: d["layers"][0].update(ins=5), r"'layers.0.W' is .* \(4, 3\); expected .* \(4, 5\)"),
        (lambda d: d["layers"][0].update(ins=-3), "ins is -3"),
        (lambda d: d["layers"][0].update(ins=3.0), "ins is 3.0"),
        (lambda d: d["layers"][0].update(more=3), "has 'more' in layer 0"),
        (lambda d: d["layers"][0].pop("outs"), "lacks 'outs' in layer 0"),
        (lambda d: d["layers"][0]["settings"].update(l2=-1), "l2 is -1"),
        (lambda d: d["layers"][0]["settings"].update(max_norm="x"), "max_norm is 'x'"),
        (lambda d: d["layers"][0]["settings"].update(seed=1), "has 'seed' in the settings of layer 0"),
        (lambda d: d["layers"][0]["settings"].pop("l1"), "lacks 'l1' in the settings of layer 0"),
        (lambda d: d["layers"][0].update(act_function=None), "the description of a class is None"),
        (lambda d: d["layers"][0]["act_function"].update(settings=[]), "settings by name"),
        (lambda d: d["layers"][0]["act_function"].update({"class": ["ELU"]}), "describes a class by"),
        (lambda d: d["layers"][0]["act_function"].update({"class": "MSELoss"}), "has a MSELoss where"),
        (lambda d: d["layers"][0]["act_function"].update(own=True), "which is not fastnn's"),
        (lambda d: d["layers"][0]["act_function"].update(own="yes"), "own is 'yes'"),
        (lambda d: d["layers"].append({"same_as": 9}), "same as layer 9"),
        (lambda d: d["layers"].append({"same_as": -1}), "same_as is -1"),
        (lambda d: d["layers"].insert(0, {"same_as": 0}), "same as layer 0"),
        (lambda d: d["layers"].append("Layer"), "layer 3 is 'Layer'"),
        (lambda d: d.update(layers={}), "its layers are no list"),
        (
            lambda d: d.update(loss={"class": "MSELoss", "settings": {"target": "class"}}),
            "MSELoss has no setting 'target'",
        ),
        (lambda d: d.update(loss={"class": "HuberLoss", "settings": {"delta": 0}}), "delta is 0"),
        (lambda d: d.update(loss={"class": "CrossEntropyLoss", "settings": {"label_smoothing": 1}}), "label_smoothing"),
        (lambda d: d.update(optimizer={"class": "Adam", "settings": {"beta1": 1.0}}), "beta1 is 1.0"),
        (
            lambda d: d.update(optimizer={"class": "AMSGrad", "settings": {}}),
            r"'optimizer.0' is .*; expected .* \(3, 4",
        ),
        (lambda d: d.update(optimizer={"class": "Optimizer", "settings": {}}), "uses the class Optimizer"),
        (lambda d: d.update(lr=-1), "lr is -1"),
        (lambda d: d.update(lr=float("nan")), "lr is nan"),
        (lambda d: d.update(lr=None), "lr is None"),
        (lambda d: d.update(lr="0.1"), "lr is '0.1'"),
        (lambda d: d.update(lr=deep(17)), "its settings lie more than 16 deep"),
        (lambda d: d.update(lr=deep(200)), "lie more than 16 deep"),
        (lambda d: d.update(lr={"class": "WarmUp", "settings": {"after": 0.1, "steps": 2}}), "after is 0.1"),
        (lambda d: d.update(lr={"class": "WarmUp", "settings": {"steps": 2}}), "the settings of its WarmUp do not fit"),
        (lambda d: d.update(lr={"class": "StepDecay", "settings": {"lr": 0.1, "every": 2.5}}), "every is 2.5"),
        (lambda d: d.update(steps=-1), "steps is -1"),
        (lambda d: d.update(steps=2**60), r"steps is .*; expected at most 2\*\*53"),
        (lambda d: d.update(steps=True), "steps is True"),
        (lambda d: d.update(steps=1.0), "steps is 1.0"),
        (lambda d: d.update(clip_norm=0), "clip_norm is 0"),
        (lambda d: d.update(clip_value="1"), "clip_value is '1'"),
        (lambda d: d.update(dtype="float32"), "'layers.0.W' is float64 .*; expected float32"),
        (lambda d: d.update(dtype="object"), "dtype is 'object'"),
        (lambda d: d.update(dtype=["float64"]), "dtype is"),
        (lambda d: d.update(format="2"), "its format is '2'; this fastnn reads 2"),
        (lambda d: d.update(format=1), "its format is 1; this fastnn reads 2"),
        (lambda d: d.update(extra=1), "has 'extra' in the description"),
        (lambda d: d.pop("loss"), "lacks 'loss' in the description"),
        (lambda d: d.pop("clip_norm"), "lacks 'clip_norm'"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, change, message):
    layers = [Layer(3, 4, fastnn.ELU(), seed=0), fastnn.LayerNorm(), Layer(4, 4, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.01, Adam())
    net.train(np.ones((3, 4)), np.ones((4, 4)), batch_size=2)
    net.save(tmp_path / "net")
    rewritten(tmp_path / "net", change)
    with pytest.raises(ValueError, match=rf"net' cannot be loaded: .*({message})"):
        fastnn.load(tmp_path / "net")


def test_arrays_that_do_not_fit(tmp_path):
    net, X, y = classifier(optimizer=Adam())
    net.fit(X, y)
    net.save(tmp_path / "good")
    with files.ArrayFile(tmp_path / "good") as file:
        arrays, metadata = {name: file.read(name) for name in file.kinds}, file.metadata
    for change, message in (
        ({"x": np.ones(2)}, "has an array 'x', of which its description does not know"),
        ({"layers.2.W": np.ones(2)}, r"has an array 'layers\.2\.W'"),
        ({"optimizer.2": np.ones(2)}, r"has an array 'optimizer\.2'"),
        ({"optimizer.0": None}, r"lacks the array 'optimizer\.0'"),
        ({"layers.0.b": None}, r"lacks the array 'layers\.0\.b'"),
        ({"layers.0.b": np.ones((10, 1), np.float32)}, "is float32 .*; expected float64"),
        ({"layers.0.b": np.ones((1, 10))}, r"shape \(1, 10\); expected .* \(10, 1\)"),
        ({"optimizer.1": np.ones((2, 11, 4))}, r"expected .* \(2, 11, 3\)"),
        ({"optimizer.1": np.ones((2, 11, 3), np.int64)}, "is int64"),
    ):
        changed = {name: array for name, array in {**arrays, **change}.items() if array is not None}
        files.write_arrays(tmp_path / "bad", changed, metadata)
        with pytest.raises(ValueError, match=f"bad' cannot be loaded: .*{message}"):
            fastnn.load(tmp_path / "bad")
        if "optimizer" in "".join(change):
            before = [net.engine.state.steps.copy(), *(a.copy() for a in net.engine.state.numbers)]
            description, tensors = saving.read(tmp_path / "bad")
            with pytest.raises(ValueError, match=message):
                saving.restore_optimizer(net.engine.state, description, tensors)
            for array, old in zip([net.engine.state.steps, *net.engine.state.numbers], before):
                np.testing.assert_array_equal(array, old)


def test_sixteen_warm_ups_are_saved_and_seventeen_not(tmp_path):
    schedule = fastnn.Constant(0.1)
    for _ in range(16):
        schedule = WarmUp(schedule, 2)
    net = NeuralNetwork([Layer(2, 1, Identity())], MSELoss(), schedule)
    net.save(tmp_path / "net")
    twin = fastnn.load(tmp_path / "net")
    np.testing.assert_array_equal(twin.lr.rates(0, 40, 1), schedule.rates(0, 40, 1))
    net.lr = WarmUp(schedule, 2)
    with pytest.raises(ValueError, match="a file holds at most 16"):
        net.save(tmp_path / "net")


def test_mutated_files_do_no_more_than_fail_to_load():
    numbers = mutated_files.run(400, 2)
    assert numbers["refused"] > numbers["worked"] > 0
    assert numbers["refused"] + numbers["worked"] == numbers["tried"] == 400


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

    net.fit(X, y, epochs=4, callbacks=[Score(), ModelCheckpoint(path, "score", mode="min")])
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
