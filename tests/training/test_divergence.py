"""What the kernels tell of a run: the mean losses of so many epochs, and where the loss stopped being finite."""

import copy
import warnings

import numpy as np
import pytest

from fastnn import (
    METRICS,
    SGD,
    Adam,
    BatchNorm,
    BCEWithLogitsLoss,
    Callback,
    CrossEntropyLoss,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    ReLU,
    RMSprop,
)
from fastnn.data.samples import Samples
from fastnn.kernels import special, tiny
from fastnn.training.guard import DivergedError
from fastnn.training.run import Run
from fastnn.training.settings import Settings

KERNELS = ["never", "always"]  # the generic one of single samples, and that of a tiny network


def started(lr, batch_size=1, epochs=1, optimizer=None, stages=(), n=500, seed=None):
    layers = [Layer(2, 3, LeakyReLU(), seed=0), *(stage() for stage in stages), Layer(3, 1, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), lr, optimizer)
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    settings = Settings(epochs=epochs, batch_size=batch_size, shuffle=seed is not None, seed=seed)
    return Run(net.engine, Samples(rows, targets, False), settings)


def told(run):
    record = run._record[0]
    return {name: record[name].item() for name in ("diverged", "window", "last_loss", "last_count")}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_losses_are_kept_of_as_many_epochs_as_there_is_room_for(kernel, batch_size, monkeypatch):
    monkeypatch.setattr(special, "when", kernel)
    run, room = started(0.01, batch_size, 3), np.full(6, -1.0)
    run._record[0]["losses"] = room.ctypes.data
    run.advance(5 * run.steps_per_epoch + 2)
    assert np.all(room[:3] > 0)
    assert np.all(room[3:] == -1)
    assert told(run)["diverged"] == -1
    assert run.divergence() is None


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("batch_size", "options"),
    [(1, {}), (1, {"seed": 3}), (1, {"optimizer": Adam()}), (7, {}), (7, {"seed": 3}), (7, {"stages": [BatchNorm]})],
)
def test_the_step_after_which_the_loss_is_not_finite(kernel, batch_size, options, monkeypatch):
    monkeypatch.setattr(special, "when", kernel)
    lr = 1e290 if options.get("optimizer") or options.get("stages") else 0.9
    sums, step = [0.0], 0
    slow = started(lr, batch_size, **options)
    while np.isfinite(sums[-1]):  # one step at a time
        slow.advance(1)
        step += 1
        sums.append(slow.loss_sum)
    k = step - 1  # the step, counted from 0, that made it so
    fast = started(lr, batch_size, epochs=10, **options)
    fast.chunk = 10**6
    fast.advance(10 * fast.steps_per_epoch)
    found = told(fast)
    within = k % fast.steps_per_epoch
    looks_seldom = kernel == "always" and batch_size == 1 and not options.get("optimizer")
    assert found["window"] == (tiny.WATCHED if looks_seldom else 1)
    first = within // tiny.WATCHED * tiny.WATCHED if looks_seldom else within
    assert found["diverged"] == k - within + first
    assert found["last_count"] == first * batch_size
    before = 0.0 if first == 0 else sums[k - within + first]
    assert found["last_loss"] == before
    assert not np.isfinite(fast.losses[k // fast.steps_per_epoch :]).any()
    fast.advance(fast.steps_per_epoch)
    assert told(fast) == found  # the first is kept


@pytest.mark.parametrize(
    "options", [{}, {"optimizer": SGD(momentum=0.9)}, {"optimizer": Adam()}, {"stages": [LayerNorm]}]
)
def test_a_loop_of_single_columns_names_its_own_step_and_loss_once(options):
    lr = 1e290 if isinstance(options.get("optimizer"), Adam) else 10.0
    net = NeuralNetwork.around(started(lr, **options).engine)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 300)), rng.normal(size=(1, 300))
    losses = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for i in range(300):
            losses.append(net.train(x[:, i : i + 1], t[:, i : i + 1]))
    finite = np.isfinite(losses)
    assert finite.all() == (not caught)
    if caught:
        step = int(np.argmin(finite))
        (warning,) = caught
        assert warning.filename == __file__
        assert f"at step {step + 1}: the loss is {losses[step]}" in str(warning.message)
        assert f"the last finite one was {losses[step - 1]:.4g}" in str(warning.message)


def test_copies_say_it_themselves():
    net = NeuralNetwork.around(started(0.9).engine)
    x, t = np.full((2, 1), 1e200), np.ones((1, 1))
    for twin in (net, copy.deepcopy(net)):
        with pytest.warns(RuntimeWarning, match="left the finite numbers"):
            twin.train(x, t)


def raises(y, outputs):
    if not np.isfinite(outputs).all():
        raise ValueError("a metric that minds")
    return 0.5


OF_VALUES = ["mse", "mae", "r2", raises]
OF_CLASSES = [*(name for name in METRICS if name not in OF_VALUES), "top_2", raises]


@pytest.mark.parametrize("where", ["training", "validation", "both", "chunks", "bank"])
@pytest.mark.parametrize(
    ("loss", "outs", "measures"),
    [(MSELoss, 1, OF_VALUES), (BCEWithLogitsLoss, 1, [m for m in OF_CLASSES if m != "top_2"]),
     (CrossEntropyLoss, 3, [m for m in OF_CLASSES if m != "auc"])],
)  # fmt: skip
def test_no_metric_gets_between_a_fit_that_diverges_and_the_last_good_weights(loss, outs, measures, where):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2)) * 1e150
    y = rng.integers(0, max(2, outs), 60) if loss is not MSELoss else X[:, 0]
    y = y.astype(float) if loss is BCEWithLogitsLoss else y
    net = NeuralNetwork([Layer(2, 8, ReLU(), seed=0), Layer(8, outs, Identity(), seed=1)], loss(), 0.1)
    before = net.parameters
    more = {"validation_data": (X, y)} if where in ("validation", "both") else {}
    if where == "both":
        more["train_metrics"] = True
    if where == "bank":
        bank = NetworkBank([net])
        with pytest.warns(RuntimeWarning, match="1 of 1 networks diverged"):
            bank.fit(X, y, 5, metrics=measures, verbose=0)
        assert bank.histories[0].stopped
        assert np.array_equal(bank[0].parameters, before)
        return
    data = (lambda: iter([(X[:30], y[:30]), (X[30:], y[30:])]),) if where == "chunks" else (X, y)
    if where == "chunks":
        measures = [measure for measure in measures if measure in ("mse", "mae", "accuracy", "top_2", "log_loss")]
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="training diverged in epoch 1"):
        net.fit(*data, epochs=5, metrics=measures, verbose=0, **more)
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize("where", ["sprint", "validation", "chunks"])
@pytest.mark.parametrize("optimizer", [None, SGD(momentum=0.9), Adam(), RMSprop()])
@pytest.mark.parametrize("good", [0, 2])
def test_a_fit_after_a_divergence_goes_on_as_if_that_had_not_been(optimizer, where, good):
    r = np.random.default_rng(0)
    X, y = r.normal(size=(30, 3)), r.normal(size=(30, 2))
    data, settings = (X, y), {"batch_size": 8, "verbose": 0, "seed": 0}
    if where == "validation":
        settings["validation_data"] = (X, y)
    if where == "chunks":
        data, settings = (lambda: iter([(X[:13], y[:13]), (X[13:], y[13:])]),), {**settings, "shuffle": False}

    def trained(diverges):
        layers = [Layer(3, 7, ReLU(), seed=0), Layer(7, 2, Identity(), seed=1)]
        net = NeuralNetwork(layers, MSELoss(), 0.01, copy.deepcopy(optimizer), dtype="float32")
        if good:
            net.fit(*data, epochs=good, **settings)
        if diverges:
            net.lr = 3e38
            with np.errstate(all="ignore"), pytest.raises(DivergedError):
                net.fit(*data, epochs=3, **settings)
            net.lr = 0.01
        net.fit(*data, epochs=2, **settings)
        return net

    net, twin = trained(True), trained(False)
    assert np.array_equal(net.parameters, twin.parameters)
    assert all(np.isfinite(layer.memory).all() for layer in net.layers)
    assert net.engine.state.steps == twin.engine.state.steps


@pytest.mark.parametrize("change", ["optimizer", "clip_norm"])
@pytest.mark.parametrize(("old", "new"), [
    (SGD(momentum=0.9), Adam()), (Adam(), SGD(momentum=0.9)), (Adam(), Adam(beta1=0.5)), (SGD(), Adam()),
])  # fmt: skip
def test_an_optimiser_that_a_callback_has_set_keeps_its_own_numbers(old, new, change):
    class Changes(Callback):
        def __init__(self, epoch, lr):
            self.epoch, self.rate = epoch, lr

        def on_epoch_end(self, epoch, logs):
            if epoch == self.epoch:
                setattr(self.net, change, copy.deepcopy(new) if change == "optimizer" else 1.0)
                self.net.lr = self.rate

    r = np.random.default_rng(0)
    X, y = r.normal(size=(30, 3)), r.normal(size=(30, 2))
    layers = [Layer(3, 7, ReLU(), seed=0), Layer(7, 2, Identity(), seed=1)]
    net = NeuralNetwork(layers, MSELoss(), 0.01, copy.deepcopy(old))
    assert len(net.fit(X, y, epochs=6, callbacks=Changes(2, 0.01), batch_size=8, verbose=0).epoch) == 6  # all is well
    with np.errstate(all="ignore"), pytest.raises(DivergedError):
        net.fit(X, y, epochs=6, callbacks=Changes(2, 1e308), batch_size=8, verbose=0)
    net.lr = 0.01
    assert np.isfinite(net.fit(X, y, epochs=3, batch_size=8, verbose=0)["loss"]).all()
