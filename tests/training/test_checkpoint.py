"""Checkpoints: who stands where does not matter, nothing else is gone on with, and what is refused changes nothing."""

import csv
import itertools
import json
import os
import signal

import numpy as np
import pytest
from networks import Killed, bits, classifier
from safetensors import safe_open
from safetensors.numpy import save_file

import fastnn
from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    Callback,
    Checkpoint,
    Constant,
    CosineDecay,
    CrossEntropyLoss,
    CSVLogger,
    DivergedError,
    Dropout,
    EarlyStopping,
    Identity,
    LambdaCallback,
    Layer,
    LayerNorm,
    LeakyReLU,
    ModelCheckpoint,
    NeuralNetwork,
    RAdam,
    ReduceLROnPlateau,
    ReLU,
    Standardize,
    StepDecay,
    StopTraining,
    TimeLimit,
)
from fastnn.training.guard import NaNGuard
from tests.reliability import checkpoints, kills


class Kill(Callback):
    """Ends a fit in the middle of its life: at the beginning of an epoch, or in the turn of the callbacks."""

    def __init__(self, epoch, at_end=False):
        self.epoch, self.at_end = epoch, at_end

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch and not self.at_end:
            raise Killed

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch and self.at_end:
            raise Killed


class Shaking(Callback):
    """A callback of one's own: what it does depends on its state."""

    def on_train_begin(self):
        self._random = np.random.default_rng(0)

    def on_epoch_end(self, epoch, logs):
        self.net.layers[0].biases[...] += self._random.normal(scale=0.01)
        logs["shaken"] = float(epoch)

    def get_state(self):
        return {"random": self._random.bit_generator.state}

    def set_state(self, state):
        self._random.bit_generator.state = state["random"]


def everything(net):
    """All that a fit goes on from, as bytes and texts."""
    state = net.engine.state
    numbers = [n[:, :, : layer.outs].tobytes() for n, layer in zip(state.numbers, net.layers)]
    return bits(net), numbers, int(state.steps[0]), repr(net.lr), [vars(layer).get("fitted") for layer in net.layers]


def watchers(folder):
    return {
        "reduce": ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=0.05),
        "stop": EarlyStopping("loss", patience=30, min_delta=0.01),
        "log": CSVLogger(folder / "log.csv"),
        "own": Shaking(),
        "best": ModelCheckpoint(folder / "best", "loss"),
    }


def run(folder, names, epochs=10, every=1, more=(), **changes):
    """A fit of a network that is made anew; where the names say "checkpoint", it has one."""
    net, X, y = classifier(optimizer=Adam(), lr=0.05)
    made = {"checkpoint": Checkpoint(folder / "run", every), **watchers(folder)}
    settings = {"epochs": epochs, "batch_size": 16, "validation_split": 0.2, "seed": 0, **changes}
    history = net.fit(X, y, callbacks=[*(made[name] for name in names), *more], **settings)
    return net, history


def log_of(folder):
    return (folder / "log.csv").read_bytes() if (folder / "log.csv").exists() else b""


# --- the same bits, whoever stands where ---------------------------------------------------------

ORDERS = [
    *itertools.permutations(["checkpoint", "reduce"]),
    *itertools.permutations(["checkpoint", "stop", "reduce"]),
    ["checkpoint", "own", "reduce", "stop", "log", "best"],
    ["log", "best", "checkpoint", "stop", "own", "reduce"],
    ["reduce", "log", "own", "best", "stop", "checkpoint"],
    ["checkpoint"],
]


@pytest.mark.parametrize("names", ORDERS, ids="-".join)
@pytest.mark.parametrize(("every", "at_end"), [(1, False), (1, True), (3, False)])
def test_the_order_of_the_callbacks_does_not_matter(tmp_path, names, every, at_end):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole, expected = run(tmp_path / "whole", names, every=every)
    for epoch in (3, 6, 7):
        with pytest.raises(Killed):
            run(tmp_path / "killed", names, every=every, more=[Kill(epoch, at_end)])
    resumed, history = run(tmp_path / "killed", names, every=every)
    assert everything(resumed) == everything(whole)
    assert (history.epoch, dict(history)) == (expected.epoch, dict(expected))
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    if "reduce" in names:
        assert resumed.lr < 0.05
    again, history = run(tmp_path / "killed", names, every=every)  # complete: nothing is left to do
    assert everything(again) == everything(whole)
    assert dict(history) == dict(expected)
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    if "best" in names:
        assert (tmp_path / "killed" / "best").read_bytes() == (tmp_path / "whole" / "best").read_bytes()


def layers_of(*stages, dtype=None):
    rng = np.random.default_rng(0)
    first = [stage() for stage in stages if stage is Standardize]
    rest = [stage() for stage in stages if stage is not Standardize]
    return [*first, Layer(4, 10, ReLU(), seed=rng), *rest, Layer(10, 3, Identity(), seed=rng)]


VARIETIES = {
    "momentum, steps": (
        lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), CosineDecay(0.1, 40), SGD(momentum=0.9)),
        {},
    ),
    "epochs": (lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), StepDecay(0.1, 2, 0.5), Adam()), {}),
    "plain": (lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), 0.1), {"shuffle": False, "batch_size": 1}),
    "float32": (lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), 0.1, Adam(), dtype="float32"), {}),
    "dropout": (lambda: NeuralNetwork(layers_of(lambda: Dropout(0.3)), CrossEntropyLoss(), 0.1), {}),
    "normalised": (lambda: NeuralNetwork(layers_of(Standardize, BatchNorm, LayerNorm), CrossEntropyLoss(), 0.1), {}),
    "clipped": (lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), 0.1, clip_norm=0.1, clip_value=0.05), {}),
    "weighted": (
        lambda: NeuralNetwork(layers_of(), CrossEntropyLoss(), 0.1),
        {"sample_weight": np.linspace(0, 1, 90), "class_weight": "balanced", "metrics": ["accuracy"], "batch_size": 7},
    ),
}


@pytest.mark.parametrize("variety", VARIETIES)
def test_every_kind_of_fit_goes_on(tmp_path, variety):
    make, settings = VARIETIES[variety]
    _, X, y = classifier()

    def start(path, *more):
        net = make()
        callbacks = [Checkpoint(tmp_path / path), ReduceLROnPlateau(patience=1, min_delta=0.1), *more]
        return net, net.fit(X, y, **{"epochs": 6, "seed": 1, "callbacks": callbacks, **settings})

    with pytest.raises(Killed):
        start("killed", Kill(4))
    resumed, history = start("killed")
    whole, expected = start("whole")
    assert everything(resumed) == everything(whole)
    assert dict(history) == dict(expected)


def test_an_interrupted_fit_goes_on_in_the_same_process(tmp_path):
    net, X, y = classifier(optimizer=Adam(), lr=0.05)

    def own_rates(epoch):
        net.lr = 0.05 / epoch
        if epoch == 5 and not seen:
            seen.append(epoch)
            signal.raise_signal(signal.SIGINT)

    def fit(path):
        callbacks = [LambdaCallback(on_epoch_begin=own_rates), Checkpoint(tmp_path / path, every=2)]
        return net.fit(X, y, epochs=8, callbacks=callbacks, seed=0)

    seen = []
    history = fit("run")
    assert "interrupted" in history.stopped
    assert len(history.epoch) < 8
    history = fit("run")  # the network has weights and a rate from within epoch 5
    assert history.epoch == list(range(1, 9))
    assert history.stopped == ""
    resumed = everything(net)
    net, X, y = classifier(optimizer=Adam(), lr=0.05)
    fit("other")
    assert everything(net) == resumed


def test_more_epochs_of_a_complete_fit(tmp_path):
    names = ["stop", "checkpoint", "reduce"]
    run(tmp_path, names, epochs=4)
    net, history = run(tmp_path, names, epochs=9)
    (tmp_path / "whole").mkdir()
    whole, expected = run(tmp_path / "whole", names, epochs=9)
    assert everything(net) == everything(whole)
    assert dict(history) == dict(expected)
    assert run(tmp_path, names, epochs=2)[1].epoch == list(range(1, 10))


# --- the end of a fit ----------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 4, 100])
@pytest.mark.parametrize("first", ["checkpoint", "stopper"])
def test_a_fit_that_early_stopping_ended_is_finished(tmp_path, every, first):
    def start(epochs=50):
        net, X, y = classifier()
        callbacks = [Checkpoint(tmp_path / "run", every), EarlyStopping("loss", patience=2, min_delta=0.1)]
        begun = LambdaCallback(on_epoch_begin=epochs_begun.append)
        callbacks = callbacks if first == "checkpoint" else callbacks[::-1]
        return net, net.fit(X, y, epochs=epochs, callbacks=[*callbacks, begun], seed=0)

    epochs_begun = []
    net, history = start()
    assert "has not improved" in history.stopped
    assert len(history.epoch) < 50
    for epochs in (50, 50, 90):
        epochs_begun.clear()
        data = (tmp_path / "run").read_bytes()
        again, same = start(epochs)
        assert epochs_begun == []
        assert bits(again) == bits(net)  # those of the best epoch
        assert (same.epoch, dict(same), same.stopped) == (history.epoch, dict(history), history.stopped)
        assert (tmp_path / "run").read_bytes() == data


def test_whoever_ends_a_fit_finishes_it(tmp_path):
    def stop(epoch, logs):
        if epoch == 2:
            raise StopTraining

    for path, callback in (("a", LambdaCallback(on_epoch_end=stop)), ("b", TimeLimit(0.0))):
        histories = []
        for _ in range(2):
            net, X, y = classifier()
            histories.append(net.fit(X, y, epochs=5, seed=0, callbacks=[callback, Checkpoint(tmp_path / path)]))
        assert histories[0].stopped == histories[1].stopped != ""
        assert histories[0].epoch == histories[1].epoch == [1, 2][: len(histories[0].epoch)]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("diverges_in", [4, 5])
def test_a_resumed_fit_that_diverges_gives_back_its_last_good_weights(tmp_path, every, diverges_in):
    def start(path, *more):
        net, X, y = classifier()

        def spoil(epoch):
            if epoch == diverges_in:
                net.lr = 1e300

        callbacks = [Checkpoint(tmp_path / path, every), LambdaCallback(on_epoch_begin=spoil), *more]
        try:
            net.fit(X, y, epochs=9, callbacks=callbacks, seed=0)
        except DivergedError as error:
            return net, str(error)
        raise AssertionError("it did not diverge")

    with pytest.raises(Killed):
        start("killed", Kill(4))
    initial = bits(classifier()[0])
    resumed, said = start("killed")
    whole, expected = start("whole")
    assert bits(resumed) == bits(whole) != initial
    assert said == expected
    again, _ = start("whole")  # from the checkpoint, which the divergence has not touched
    assert bits(again) == bits(whole)


def test_an_error_in_the_middle_of_an_epoch_leaves_the_checkpoint_before_it(tmp_path):
    _, X, y = classifier()
    broken = [True]

    def chunks():
        yield X[:40], y[:40]
        if broken[0] and len(begun) == 3:
            raise OSError("the disk is gone")
        yield X[40:], y[40:]

    def fit(path):
        net, _, _ = classifier(optimizer=Adam())
        callbacks = [Checkpoint(tmp_path / path, 2), LambdaCallback(on_epoch_begin=begun.append)]
        net.fit(chunks, epochs=5, seed=0, batch_size=16, callbacks=callbacks)
        return net

    begun = []
    with pytest.raises(OSError, match="the disk is gone"):
        fit("run")
    broken[0] = False
    assert everything(fit("run")) == everything(fit("other"))


# --- what is not gone on with --------------------------------------------------------------------


def other_net(**changes):
    given = {"lr": 0.1, "optimizer": Adam(), "loss": None, "dtype": "float64", "clip_norm": 1.0, **changes}
    rng = np.random.default_rng(5)
    act, middle = given.get("act", LeakyReLU(0.1)), given.get("middle", [Dropout(0.2)])
    layers = [Layer(4, 6, act, l2=given.get("l2", 0.0), seed=rng), *middle, Layer(6, 3, Identity(), seed=rng)]
    settings = {"clip_norm": given["clip_norm"], "clip_value": given.get("clip_value"), "dtype": given["dtype"]}
    return NeuralNetwork(layers, given["loss"] or CrossEntropyLoss(), given["lr"], given["optimizer"], **settings)


OTHER_NETWORKS = {
    "RAdam": ({"optimizer": RAdam()}, "network: optimizer.class is 'RAdam' but was 'Adam'"),
    "beta": ({"optimizer": Adam(beta1=0.8)}, r"optimizer.settings.beta1 is 0.8 but was 0.9"),
    "SGD": ({"optimizer": SGD()}, "optimizer"),
    "clip": ({"clip_norm": 2.0}, "clip_norm is 2.0 but was 1.0"),
    "no clip": ({"clip_norm": None}, "clip_norm is None but was 1.0"),
    "clip value": ({"clip_value": 1.0}, "clip_value is 1.0 but was None"),
    "loss": ({"loss": CrossEntropyLoss(label_smoothing=0.1)}, "loss"),
    "activation": ({"act": ReLU()}, r"layers\[0\].act_function.class is 'ReLU' but was 'LeakyReLU'"),
    "slope": ({"act": LeakyReLU(0.2)}, r"layers\[0\].act_function.settings.leaky_param is 0.2 but was 0.1"),
    "penalty": ({"l2": 0.1}, r"layers\[0\].settings.l2 is 0.1 but was 0.0"),
    "rate of dropout": ({"middle": [Dropout(0.3)]}, r"layers\[1\].settings.rate is 0.3 but was 0.2"),
    "another stage": ({"middle": [LayerNorm()]}, "layers"),
    "no stage": ({"middle": []}, "layers is .2 of them. but was .3 of them."),
    "dtype": ({"dtype": "float32"}, "dtype is 'float32' but was 'float64'"),
    "schedule": ({"lr": CosineDecay(0.1, 50)}, "lr is CosineDecay but was 0.1"),
    "rate": ({"lr": 0.2}, "lr is 0.2 but was 0.1"),
}
OTHER_FITS = {
    "weights": ({"sample_weight": np.linspace(1, 2, 90)}, "samples, their targets or their weights"),
    "classes": ({"class_weight": {0: 2.0, 1: 1.0, 2: 1.0}}, "samples, their targets or their weights"),
    "metrics": ({"metrics": ["accuracy"]}, "accuracy"),
    "no validation": ({"validation_split": 0.0}, "rows is 90 but was 72"),
    "seed": ({"seed": 1}, "seed is 1 but was 0"),
    "order": ({"shuffle": False}, "shuffled is 0 but was 1"),
    "batches": ({"batch_size": 8}, "batch_size is 8 but was 32"),
}
OTHER_CALLBACKS = {
    "in front": (lambda: [LambdaCallback(), EarlyStopping(), ReduceLROnPlateau()], r"callbacks is \[Lambda"),
    "order": (lambda: [ReduceLROnPlateau(), EarlyStopping()], "but was .EarlyStopping, ReduceLROnPlateau"),
    "fewer": (lambda: [EarlyStopping()], "but was .EarlyStopping, ReduceLROnPlateau"),
    "none": (lambda: [], r"callbacks is \[\]"),
    "more": (lambda: [EarlyStopping(), ReduceLROnPlateau(), EarlyStopping()], "callbacks is"),
    "class": (lambda: [ModelCheckpoint("x"), ReduceLROnPlateau()], r"callbacks is \[ModelCheckpoint"),
    "quantity": (lambda: [EarlyStopping("loss"), ReduceLROnPlateau()], "watches 'loss', .* but watched 'val_loss'"),
    "direction": (lambda: [EarlyStopping(mode="max"), ReduceLROnPlateau()], "the larger the better, but watched"),
    "no weights": (lambda: [EarlyStopping(restore_best=False), ReduceLROnPlateau()], "the state of EarlyStopping has"),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A checkpoint of three epochs, and how to call its fit again, with changes."""
    folder = tmp_path_factory.mktemp("kept")
    _, X, y = classifier()

    def start(net, callbacks=None, path=folder / "run", data=(X, y), **changes):
        callbacks = [EarlyStopping(), ReduceLROnPlateau()] if callbacks is None else callbacks
        settings = {"epochs": 5, "validation_split": 0.2, "seed": 0, **changes}
        return net.fit(*data, callbacks=[Checkpoint(path), *callbacks], **settings)

    start(other_net(), epochs=3)
    return folder / "run", start


def refused(start, net, path, message, **changes):
    """See that a fit is refused, and that nothing has changed."""
    rate, data = net.engine.rate, path.read_bytes()
    before = everything(net)
    with pytest.raises(ValueError, match=message) as caught:
        start(net, path=path, **changes)
    assert str(path) in str(caught.value)
    assert "delete" in str(caught.value).lower()
    assert everything(net) == before
    assert net.engine.rate is rate
    assert path.read_bytes() == data


@pytest.mark.parametrize("name", OTHER_NETWORKS)
def test_another_network_is_refused(kept, name):
    path, start = kept
    changes, message = OTHER_NETWORKS[name]
    refused(start, other_net(**changes), path, message)


@pytest.mark.parametrize("name", OTHER_FITS)
def test_another_fit_is_refused(kept, name):
    path, start = kept
    changes, message = OTHER_FITS[name]
    refused(start, other_net(), path, message, **changes)


@pytest.mark.parametrize("name", OTHER_CALLBACKS)
def test_other_callbacks_are_refused(kept, name):
    path, start = kept
    make, message = OTHER_CALLBACKS[name]
    refused(start, other_net(), path, message, callbacks=make())


def test_other_samples_are_refused(kept):
    path, start = kept
    _, X, y = classifier()
    for row in (0, 85):  # to train on, and for validation
        other = X.copy()
        other[row, 2] += 1e-9
        refused(start, other_net(), path, "not what they were", data=(other, y))


def test_another_schedule_is_refused(tmp_path, kept):
    _, start = kept
    path = tmp_path / "run"
    start(other_net(lr=CosineDecay(0.1, 50)), epochs=3, path=path)
    for lr, message in (
        (CosineDecay(0.1, 60), "lr.settings.steps is 60 but was 50"),
        (CosineDecay(0.2, 50), "lr.settings.lr is 0.2 but was 0.1"),
        (StepDecay(0.1, 2), "lr.class is 'StepDecay' but was 'CosineDecay'"),
        (0.1, "lr is 0.1 but was CosineDecay"),
        (Constant(0.1), "lr is 0.1 but was CosineDecay"),
    ):
        refused(start, other_net(lr=lr), path, message)
    assert start(other_net(lr=CosineDecay(0.1, 50)), path=path).epoch == [1, 2, 3, 4, 5]


def test_a_rate_that_the_user_changed_between_the_calls_is_refused(tmp_path, kept):
    _, start = kept
    net = other_net()
    start(net, epochs=2, path=tmp_path / "run")
    net.lr = 0.01
    refused(start, net, tmp_path / "run", "lr is 0.01 but was 0.1")


def test_callbacks_without_a_state_may_come_and_go_behind_the_others(kept, tmp_path):
    path, start = kept
    copy = tmp_path / "run"
    copy.write_bytes(path.read_bytes())
    callbacks = [EarlyStopping(), ReduceLROnPlateau(), LambdaCallback(), TimeLimit(1000)]
    assert start(other_net(), callbacks, path=copy).epoch == [1, 2, 3, 4, 5]


class Refusing(Callback):
    def __init__(self, error=None):
        self.error, self.taken = error, []

    def get_state(self):
        return {"a": 1, "b": np.ones(2), "c": np.float32(0.5), "d": [1, None, "x"], "e": np.array(2.5)}

    def set_state(self, state):
        self.taken.append(state)
        self.net.lr = 123.0
        self.net.layers[0].weights[...] = 0
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    "error", [KeyError("a"), AttributeError("b"), ValueError("c"), IndexError(), StopTraining("x")]
)
def test_what_a_set_state_refuses_is_undone(tmp_path, error):
    net, X, y = classifier(optimizer=Adam())

    def start(net, *errors):
        callbacks = [CSVLogger(tmp_path / "log.csv"), EarlyStopping(), *map(Refusing, errors)]
        net.fit(X, y, epochs=5, callbacks=[Checkpoint(tmp_path / "run"), *callbacks, Kill(3)], seed=0)

    with pytest.raises(Killed):
        start(net, None, None)
    log, data = (tmp_path / "log.csv").read_bytes(), (tmp_path / "run").read_bytes()
    for errors in ((error, None), (None, error)):
        net = classifier(optimizer=Adam())[0]
        net.fit(X, y, seed=9)
        rate, before = net.engine.rate, everything(net)
        with pytest.raises(ValueError, match="set_state does not take its state"):
            start(net, *errors)
        assert everything(net) == before  # early stopping has not set its best weights either
        assert net.engine.rate is rate
        assert ((tmp_path / "log.csv").read_bytes(), (tmp_path / "run").read_bytes()) == (log, data)


def test_states_of_ones_own_come_back(tmp_path):
    net, X, y = classifier()
    net.fit(X, y, callbacks=[Checkpoint(tmp_path / "run"), Refusing()], seed=0)
    own = Refusing()
    net.fit(X, y, callbacks=[own, Checkpoint(tmp_path / "run")], seed=0)
    (state,) = own.taken
    np.testing.assert_array_equal(state.pop("b"), np.ones(2))
    assert state == {"a": 1, "c": 0.5, "d": [1, None, "x"], "e": 2.5}


@pytest.mark.parametrize("state", [{"a": object()}, {"a": np.array(["x"])}, {1: 2}, [1], {"a": {1, 2}}, None])
def test_what_no_file_can_keep(tmp_path, state):
    net, X, y = classifier()
    own = Refusing()
    own.get_state = lambda: state
    with pytest.raises(TypeError, match=r"Refusing.get_state returned"):
        net.fit(X, y, callbacks=[Checkpoint(tmp_path / "run"), own])
    assert os.listdir(tmp_path) == []


# --- what a file says ----------------------------------------------------------------------------


def changed(path, change):
    """Change the JSON of a checkpoint, and its arrays, in place; its sum is not what it was."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["fastnn"])
    change(description, tensors)
    save_file(tensors, path, metadata={"fastnn": json.dumps(description)})


LIES = {
    "epoch": lambda d, t: d["run"].update(epoch=10**9),
    "epoch 1000": lambda d, t: d["run"].update(epoch=1000),
    "no epoch": lambda d, t: d["run"].update(epoch=0),
    "float": lambda d, t: d["run"].update(epoch=3.0),
    "bool": lambda d, t: d["run"].update(shuffled=True),
    "negative": lambda d, t: d["run"].update(epoch=-3),
    "epochs": lambda d, t: d["history"].update(epoch=[1, 3, 2]),
    "steps": lambda d, t: d["run"].update(step=7),
    "optimiser's steps": lambda d, t: d.update(steps=10**30),
    "steps as text": lambda d, t: d.update(steps="3"),
    "a shorter column": lambda d, t: d["history"]["columns"]["loss"].pop(),
    "no column": lambda d, t: d["history"].update(columns={}),
    "no numbers": lambda d, t: d["history"]["columns"].update(loss=["a"] * 3),
    "not finite": lambda d, t: d["history"]["columns"].update(loss=[float("nan")] * 3),
    "another column": lambda d, t: d["history"]["columns"].update(more=[0.0] * 3),
    "no run": lambda d, t: d.update(run=None),
    "no history": lambda d, t: d.pop("history"),
    "no callbacks": lambda d, t: d.update(callbacks={}),
    "a callback of nothing": lambda d, t: d["callbacks"].__setitem__(0, None),
    "stopped": lambda d, t: d["history"].update(stopped=None),
    "rate": lambda d, t: d.update(lr=-1.0),
    "rate as text": lambda d, t: d.update(lr="0.1"),
    "rate of nothing": lambda d, t: d.update(lr={"class": "Constant"}),
    "rate infinite": lambda d, t: d.update(lr=float("inf")),
    "seed": lambda d, t: d["run"].update(seed=2**63),
    "weights": lambda d, t: t.update({"layers.0.W": t["layers.0.W"][:, :2].copy()}),
    "weights of another dtype": lambda d, t: t.update({"layers.0.W": t["layers.0.W"].astype("f4")}),
    "weights not finite": lambda d, t: t["layers.0.W"].fill(np.nan),
    "no weights": lambda d, t: t.pop("layers.0.W"),
    "optimiser": lambda d, t: t.update({"optimizer.0": t["optimizer.0"][:1].copy()}),
    "no optimiser": lambda d, t: [t.pop(name) for name in list(t) if name.startswith("optimizer")],
    "best epoch": lambda d, t: d["callbacks"][0]["state"].update(best_epoch=9),
    "best": lambda d, t: d["callbacks"][0]["state"].update(best="x"),
    "since": lambda d, t: d["callbacks"][1]["state"].pop("since"),
    "best weights": lambda d, t: t.update({"callback.0.0.0": np.ones(3)}),
    "no best weights": lambda d, t: t.pop("callback.0.0.0"),
    "own arrays": lambda d, t: t.update({"callback.1.x": np.ones(3)}),
    "names of arrays": lambda d, t: d["callbacks"][0].update(arrays=None),
    "arrays of nobody": lambda d, t: t.update({"callback.7.x": np.ones(3)}),
    "best weights as numbers": lambda d, t: (t.pop("callback.0.0.0"), d["callbacks"][0]["state"].update({"0.0": 1})),
}


@pytest.mark.parametrize("sound", [False, True], ids=["sum", "no sum"])
@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused(kept, tmp_path, lie, sound, monkeypatch):
    path, start = kept
    lying = tmp_path / "run"
    lying.write_bytes(path.read_bytes())
    changed(lying, LIES[lie])
    if sound:  # the checks below it stand by themselves
        monkeypatch.setattr("fastnn.training.checkpoint.checksum", lambda described, _: described["run"]["checksum"])
    refused(start, other_net(), lying, "is damaged|holds another|cannot be loaded")


def test_the_sum_knows_every_number(kept, tmp_path):
    path, start = kept
    for change in (
        lambda d, t: t["layers.0.W"].__setitem__((1, 1), 0.25),
        lambda d, t: t["optimizer.2"].__setitem__((1, 1, 1), 0.25),
        lambda d, t: t["callback.0.0.0"].__setitem__((1, 1), 0.25),
        lambda d, t: d["history"]["columns"]["val_loss"].__setitem__(1, 0.25),
        lambda d, t: d["callbacks"][0]["state"].update(best=0.25),
        lambda d, t: d.update(steps=d["steps"] + 1),
        lambda d, t: d.update(lr=0.01),
    ):
        other = tmp_path / "run"
        other.write_bytes(path.read_bytes())
        changed(other, change)
        refused(start, other_net(), other, "its sum is not that of what it holds")


def test_a_large_sample_is_told_apart_by_some_of_its_rows(monkeypatch):
    from fastnn.training import run

    array = np.zeros((1000, 8))
    mark = run.mark_of(array)
    monkeypatch.setattr(run, "MARKED_BYTES", 6400)
    some = run.mark_of(array)
    array[:] += 1
    assert run.mark_of(array) not in (some, mark)
    assert run.mark_of(array, None) != run.mark_of(array, array)
    assert run.mark_of(np.zeros((0, 3))) == 0


# --- several checkpoints -------------------------------------------------------------------------


def test_of_several_checkpoints_the_one_that_is_furthest_on_counts(tmp_path):
    def start(*more):
        net, X, y = classifier(optimizer=Adam())
        callbacks = [
            Checkpoint(tmp_path / "seldom", 3),
            ReduceLROnPlateau(patience=1),
            Checkpoint(tmp_path / "often", 2),
        ]
        return net, net.fit(X, y, epochs=8, seed=0, callbacks=[*callbacks, *more])

    whole, expected = start()
    for left in (("seldom", "often"), ("seldom",), ("often",)):
        for path in tmp_path.iterdir():
            path.unlink()
        with pytest.raises(Killed):
            start(Kill(6))  # one of epoch 3, one of epoch 4
        for path in tmp_path.iterdir():
            if path.name not in left:
                path.unlink()
        begun = []
        net, history = start(LambdaCallback(on_epoch_begin=begun.append))
        assert begun[0] == (5 if "often" in left else 4)
        assert everything(net) == everything(whole)
        assert dict(history) == dict(expected)


def test_one_path_for_two(tmp_path):
    net, X, y = classifier()
    for other in (Checkpoint(tmp_path / "a"), ModelCheckpoint(tmp_path / "a"), CSVLogger(tmp_path / "." / "a")):
        with pytest.raises(ValueError, match="have the same path"):
            net.fit(X, y, callbacks=[Checkpoint(tmp_path / "a"), other])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ValueError, match="have the same path"):
        net.fit(X, y, callbacks=[Checkpoint(tmp_path / "link"), Checkpoint(tmp_path / "a")])


def test_checkpoints_of_two_fits(tmp_path):
    net, X, y = classifier()
    for path in "ab":
        net.fit(X, y, callbacks=[Checkpoint(tmp_path / path)])
    with pytest.raises(ValueError, match="holds another fit: seed was"):
        net.fit(X, y, callbacks=[Checkpoint(tmp_path / path) for path in "ab"])


# --- logs ----------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_log_has_each_epoch_once(tmp_path, append, every):
    log, X_y = tmp_path / "log.csv", classifier()[1:]

    def start(*more):
        net = classifier()[0]
        net.fit(*X_y, epochs=7, seed=0, callbacks=[Checkpoint(tmp_path / "run", every), CSVLogger(log, append), *more])

    classifier()[0].fit(*X_y, epochs=2, callbacks=[CSVLogger(log)])  # rows of a fit before
    before = ["1", "2"] if append else []
    for epoch in (5, 6):
        with pytest.raises(Killed):
            start(Kill(epoch))
        assert [row[0] for row in rows_of(log)[1:]] == before + [str(i) for i in range(1, epoch)]
    with log.open("ab") as file:
        file.write(b"6,0.4")  # killed within a line
    for _ in range(2):
        start()
        rows = rows_of(log)
        assert rows[0] == ["epoch", "loss"]
        assert [row[0] for row in rows[1:]] == before + [str(i) for i in range(1, 8)]


def test_a_log_loses_the_rows_after_a_checkpoint_after_which_nothing_is_left_to_do(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, ["log", "checkpoint"], every=3, more=[Kill(6)])
    run(tmp_path, ["log", "checkpoint"], epochs=3)
    assert [row[0] for row in rows_of(tmp_path / "log.csv")] == ["epoch", "1", "2", "3"]


def test_a_log_in_a_loop_of_ones_own(tmp_path):
    (tmp_path / "log.csv").write_text("old")
    logger = CSVLogger(tmp_path / "log.csv")
    logger.on_train_begin()
    for epoch in (1, 2):
        logger.on_epoch_end(epoch, {"loss": 0.5})
    assert rows_of(tmp_path / "log.csv") == [["epoch", "loss"], ["1", "0.5"], ["2", "0.5"]]


def test_a_log_whose_file_is_gone_begins_with_its_columns(tmp_path):
    net, X, y = classifier()
    callbacks = [CSVLogger(tmp_path / "log.csv"), Checkpoint(tmp_path / "run")]
    net.fit(X, y, epochs=2, seed=0, callbacks=callbacks)
    (tmp_path / "log.csv").unlink()
    net.fit(X, y, epochs=4, seed=0, callbacks=callbacks)
    assert [row[0] for row in rows_of(tmp_path / "log.csv")] == ["epoch", "3", "4"]


def test_another_log_at_the_place_is_refused(tmp_path):
    net, X, y = classifier()
    callbacks = [CSVLogger(tmp_path / "log.csv"), Checkpoint(tmp_path / "run")]
    net.fit(X, y, epochs=2, seed=0, callbacks=callbacks)
    for text in (b"name,value\nx,1\n", b"\xff\xfe\x00"):
        (tmp_path / "log.csv").write_bytes(text)
        with pytest.raises(ValueError, match=r"log\.csv"):
            net.fit(X, y, epochs=4, seed=0, callbacks=callbacks)
        assert (tmp_path / "log.csv").read_bytes() == text


def test_a_log_that_ends_within_a_line_gets_its_end(tmp_path):
    net, X, y = classifier()
    (tmp_path / "log.csv").write_text("epoch,loss\n1,0.5", encoding="utf-8-sig")
    net.fit(X, y, callbacks=[CSVLogger(tmp_path / "log.csv", append=True)])
    assert [row[0].strip("\ufeff") for row in rows_of(tmp_path / "log.csv")] == ["epoch", "1", "1"]


def test_logs_are_utf_8_whatever_the_locale(tmp_path, monkeypatch):
    def größe(y, outputs):
        return 1.0

    real = open
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    net, X, y = classifier()
    for _ in range(2):
        net.fit(X, y, metrics=[größe], callbacks=[CSVLogger(tmp_path / "log.csv", append=True)])
    with real(tmp_path / "log.csv", "rb") as file:
        assert file.read().decode("utf-8").splitlines()[0] == "epoch,loss,größe"
    assert len(rows_of(tmp_path / "log.csv")) == 3


# --- before training begins ----------------------------------------------------------------------

WRITERS = {"checkpoint": Checkpoint, "saver": ModelCheckpoint, "logger": CSVLogger}


@pytest.mark.parametrize("writer", WRITERS)
def test_places_are_tried_before_training_begins(tmp_path, writer):
    net, X, y = classifier()
    before = everything(net)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    begun = LambdaCallback(on_epoch_begin=lambda epoch: pytest.fail("training began"))
    for path in ("nowhere/x", "folder", "file/x", "fifo", "x" * 300):
        with pytest.raises((OSError, ValueError), match=path[:40]):
            net.fit(X, y, callbacks=[WRITERS[writer](tmp_path / path), begun])
    with pytest.raises((OSError, ValueError), match="path is"):
        net.fit(X, y, callbacks=[WRITERS[writer](""), begun])
    assert everything(net) == before
    if os.geteuid():
        (tmp_path / "folder").chmod(0o500)
        with pytest.raises(OSError, match="cannot be written"):
            net.fit(X, y, callbacks=[WRITERS[writer](tmp_path / "folder" / "x"), begun])


BAD_PATTERNS = [
    "{epohc}",
    "{val_loss}",
    "{}",
    "{0}",
    "{epoch.real}",
    "{loss[0]}",
    "{",
    "}",
    "{loss:d}",
    "{epoch:{width}}",
]


@pytest.mark.parametrize("name", BAD_PATTERNS)
def test_patterns_are_tried_before_training_begins(tmp_path, name):
    net, X, y = classifier()
    begun = LambdaCallback(on_epoch_begin=lambda epoch: pytest.fail("training began"))
    saver = ModelCheckpoint(tmp_path / f"net-{name}")
    with pytest.raises(ValueError, match=r"path is .*net-"):
        net.fit(X, y, callbacks=[saver] if name in ("{epohc}", "{val_loss}") else [saver, begun])
    assert os.listdir(tmp_path) == []


def test_patterns_that_hold(tmp_path):
    net, X, y = classifier()
    pattern = tmp_path / "{epoch:03d}-{val_accuracy:.1f}-{{x}}"
    net.fit(X, y, validation_split=0.2, metrics=["accuracy"], callbacks=[ModelCheckpoint(pattern)])
    (name,) = os.listdir(tmp_path)
    assert name.startswith("001-0.")
    assert name.endswith("-{x}")
    with pytest.raises(
        ValueError, match=r"cannot be filled in: there is no 'later'"
    ):  # a callback of one's own may add it
        net.fit(X, y, callbacks=[LambdaCallback(), ModelCheckpoint(tmp_path / "{later}")])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Checkpoint("x", every=0), ValueError, "every is 0; expected a positive integer"),
        (lambda: Checkpoint("x", every=1.5), TypeError, "every is 1.5"),
        (lambda: Checkpoint(5), TypeError, "path is 5; expected"),
        (lambda: CSVLogger(None), TypeError, "path is None; expected"),
        (lambda: ModelCheckpoint(b"x"), TypeError, "path is b'x'; expected"),
        (lambda: EarlyStopping(patience="5"), TypeError, "patience is '5'"),
        (lambda: EarlyStopping(patience=-1), ValueError, "patience is -1"),
        (lambda: EarlyStopping(patience=True), TypeError, "patience is True"),
        (lambda: EarlyStopping(monitor=3), TypeError, "monitor is 3"),
        (lambda: EarlyStopping(min_delta="0.1"), TypeError, "min_delta is '0.1'"),
        (lambda: EarlyStopping(min_delta=float("nan")), ValueError, "min_delta is nan"),
        (lambda: ReduceLROnPlateau(factor="0.5"), TypeError, "factor is '0.5'"),
        (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "factor is 1.0"),
        (lambda: ReduceLROnPlateau(patience=2.5), TypeError, "patience is 2.5"),
        (lambda: ReduceLROnPlateau(min_lr=-1), ValueError, "min_lr is -1"),
        (lambda: TimeLimit("5"), TypeError, "seconds is '5'"),
        (lambda: TimeLimit(-1), ValueError, "seconds is -1"),
    ],
)
def test_settings_are_checked_where_they_are_given(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_early_stopping_with_no_patience_stops_at_the_first_epoch_without_improvement():
    net, X, y = classifier()
    history = net.fit(X, y, epochs=9, callbacks=[EarlyStopping("loss", patience=0, min_delta=10.0)], seed=0)
    assert history.epoch == [1, 2]


def test_each_network_of_a_bank_has_its_own(tmp_path):
    def start(epochs):
        nets = [classifier()[0] for _ in range(2)]
        _, X, y = classifier()
        bank = fastnn.NetworkBank(nets)
        bank.fit(X, y, epochs=epochs, seed=0, callbacks=lambda k: [Checkpoint(tmp_path / f"{epochs and 'run'}{k}")])
        return [bits(net) for net in nets]

    start(2)
    resumed = start(4)
    for path in tmp_path.iterdir():
        path.unlink()
    assert start(4) == resumed


def test_a_refused_checkpoint_does_not_fit_standardize(tmp_path):
    _, X, y = classifier()

    def net(lr):
        return NeuralNetwork(layers_of(Standardize), CrossEntropyLoss(), lr)

    net(0.1).fit(X, y, seed=0, callbacks=[Checkpoint(tmp_path / "run")])
    other = net(0.2)
    before = everything(other)
    with pytest.raises(ValueError, match=r"lr is 0\.2 but was 0\.1"):
        other.fit(X, y, seed=0, callbacks=[Checkpoint(tmp_path / "run")])
    assert everything(other) == before
    assert not other.layers[0].fitted


def test_a_guard_of_ones_own_knows_nothing_of_resuming(tmp_path):
    net, X, y = classifier()
    for epochs in (2, 4):
        net.fit(X, y, epochs=epochs, seed=0, callbacks=[NaNGuard(), Checkpoint(tmp_path / "run")])


# --- many ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials are forked children")
def test_damaged_checkpoints():
    counts = checkpoints.run(60, seed=0)
    assert counts["tried"] == counts["refused"] + counts["resumed"] == 60
    assert counts["refused"] > 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials are forked children")
def test_kills():
    counts = kills.run(3, seed=0)
    assert counts["kills"] > 0
    assert [counts[name] for name in ("tried", "crashed", "hung", "lost", "different")] == [3, 0, 0, 0, 0]
