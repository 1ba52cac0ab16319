"""NetworkBank: every network ends as if it had been fitted alone."""

import copy
import gc
import math
import pickle
import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from networks import bits, ctrl_c_in

from fastnn import (
    SGD,
    Adam,
    BatchNorm,
    BCEWithLogitsLoss,
    CosineDecay,
    CrossEntropyLoss,
    CSVLogger,
    DivergedError,
    Dropout,
    EarlyStopping,
    Identity,
    LambdaCallback,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    ReduceLROnPlateau,
    ReLU,
    RMSprop,
    Standardize,
    StopTraining,
    Tanh,
)
from fastnn.data import form
from fastnn.engine.crew import share_out, thread_count

rng = np.random.default_rng(0)
X = rng.normal(size=(70, 3))
VALUES = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
CLASSES = np.argmax(X, axis=1)


def regressor(seed=0, lr=0.01, hidden=8, optimizer=None, dtype="float64", stages=(), **layer):
    rng = np.random.default_rng(seed)
    layers = [Layer(3, hidden, Tanh(), seed=rng, **layer), Layer(hidden, 2, Identity(), seed=rng, **layer)]
    return NeuralNetwork([*stages[:1], layers[0], *stages[1:], layers[1]], MSELoss(), lr, optimizer, dtype=dtype)


def classifier(seed=0, lr=0.05, loss=None, outs=3):
    rng = np.random.default_rng(seed)
    return NeuralNetwork(
        [Layer(3, 8, ReLU(), seed=rng), Layer(8, outs, Identity(), seed=rng)], loss or CrossEntropyLoss(), lr, Adam()
    )


def state(net):
    """All that training changes: weights, and what the optimiser keeps."""
    kept = net.engine.state
    return bits(net), [numbers.tobytes() for numbers in kept.numbers], int(kept.steps[0])


def same(bank, twins, histories):
    for net, twin, one, other in zip(bank, twins, bank.histories, histories):
        assert state(net) == state(twin)
        assert dict(one) == dict(other)
        assert (one.epoch, one.stopped) == (other.epoch, other.stopped)


MAKERS = {
    "SGD": lambda seed: regressor(seed, 0.05),
    "Adam, different rates and sizes": lambda seed: regressor(seed, 0.01 / (seed + 1), 4 + 8 * seed, Adam()),
    "penalties": lambda seed: regressor(seed, 0.01, optimizer=RMSprop(), l2=0.1 * seed, l1=0.01, max_norm=1.0),
    "momentum, float32": lambda seed: regressor(seed, 0.01, optimizer=SGD(momentum=0.9), dtype="float32"),
    "dropout and normalisation": lambda seed: regressor(
        seed, 0.01, optimizer=Adam(), stages=(Standardize(), BatchNorm(), Dropout(0.2 + 0.1 * seed))
    ),
    "schedule": lambda seed: regressor(seed, CosineDecay(0.05, 40), optimizer=Adam()),
    "different optimisers": lambda seed: regressor(seed, 0.01, optimizer=[SGD(), Adam(), RMSprop()][seed % 3]),
}


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_bank_is_its_networks_fitted_one_by_one(kind, threads):
    bank = NetworkBank([MAKERS[kind](seed) for seed in range(5)])
    twins = copy.deepcopy(bank.to_networks())
    settings = {"epochs": 9, "batch_size": 16, "verbose": 0}
    returned = bank.fit(X, VALUES, **settings, seed=3, threads=threads)
    assert returned == bank.histories
    same(bank, twins, [twin.fit(X, VALUES, **settings, seed=3 + k) for k, twin in enumerate(twins)])
    # and going on, with other settings
    smallest = 2 if "normalisation" in kind else 1
    settings = {"epochs": 4, "batch_size": smallest, "verbose": 0, "shuffle": False}
    bank.fit(X, VALUES, **settings, seed=[9] * 5, threads=threads)
    same(bank, twins, [twin.fit(X, VALUES, **settings, seed=9) for twin in twins])


@pytest.mark.parametrize("threads", [1, 3])
def test_with_validation_metrics_callbacks_and_weights(threads):
    def callbacks():
        return [EarlyStopping(patience=2), ReduceLROnPlateau(patience=1, factor=0.5)]

    bank = NetworkBank([classifier(seed, 0.3) for seed in range(4)])
    twins = copy.deepcopy(bank.to_networks())
    settings = {
        "epochs": 30, "batch_size": 8, "validation_split": 0.3, "validation_shuffle": False,
        "metrics": ["accuracy"], "verbose": 0,
        "sample_weight": np.linspace(0.5, 1.5, 70), "class_weight": "balanced",
    }  # fmt: skip
    bank.fit(X, CLASSES, **settings, callbacks=callbacks(), seed=[5, 5, 7, 8], threads=threads)
    seeds = [5, 5, 7, 8]
    same(bank, twins, [t.fit(X, CLASSES, **settings, callbacks=callbacks(), seed=s) for t, s in zip(twins, seeds)])
    assert [net.lr for net in bank] == [twin.lr for twin in twins]
    assert any(history.stopped for history in bank.histories)
    # the last scores are those of the weights that were restored
    held_out = bank.evaluate(X[49:], CLASSES[49:], ["accuracy"], settings["sample_weight"][49:])
    assert [row["val_loss"] for row in bank.results] == held_out["loss"].tolist()
    assert [row["val_accuracy"] for row in bank.results] == held_out["accuracy"].tolist()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("targets", [VALUES, CLASSES], ids=["values", "classes"])
def test_bootstrap_is_a_fit_on_the_rows_that_are_drawn(targets, threads):
    make = regressor if targets is VALUES else classifier
    bank = NetworkBank([make(seed) for seed in range(3)])
    twins = copy.deepcopy(bank.to_networks())
    weights = np.linspace(0.1, 2.0, 70)
    settings = {"epochs": 3, "metrics": ["mse" if targets is VALUES else "accuracy"], "verbose": 0}
    if targets is CLASSES:
        settings["class_weight"] = "balanced"
    bank.fit(X, targets, sample_weight=weights, bootstrap=True, seed=11, threads=threads, **settings)
    histories, drawn = [], []
    for k, twin in enumerate(twins):
        i = bank.bootstrap_rows(70, 11 + k)
        drawn.append(i.tolist())
        histories.append(twin.fit(X[i], targets[i], sample_weight=weights[i], seed=11 + k, **settings))
    same(bank, twins, histories)
    assert drawn[0] != drawn[1] != drawn[2]
    assert all(0 <= i < 70 for some in drawn for i in some)
    assert all(len(set(some)) < 60 for some in drawn)  # with replacement


@pytest.mark.parametrize("form", [list, tuple, np.stack])
def test_data_of_its_own_for_each_network(form):
    bank = NetworkBank([regressor(seed) for seed in range(3)])
    twins = copy.deepcopy(bank.to_networks())
    sizes = [70, 70, 70] if form is np.stack else [70, 50, 33]
    Xs, ys = form([X[:n] + k for k, n in enumerate(sizes)]), form([VALUES[:n] * (k + 1) for k, n in enumerate(sizes)])
    ws = [np.arange(1.0, n + 1) / n for n in sizes]
    bank.fit(Xs, ys, 3, sample_weight=ws, validation_split=0.2, seed=0)
    histories = [t.fit(Xs[k], ys[k], 3, sample_weight=ws[k], validation_split=0.2, seed=k) for k, t in enumerate(twins)]
    same(bank, twins, histories)
    bank.fit(Xs, ys, 2, validation_data=(X, VALUES), seed=0)  # its own to learn, one for all to judge
    same(bank, twins, [t.fit(Xs[k], ys[k], 2, validation_data=(X, VALUES), seed=k) for k, t in enumerate(twins)])
    bank.fit(X, VALUES, 2, validation_data=(Xs, ys), seed=0)
    same(bank, twins, [t.fit(X, VALUES, 2, validation_data=(Xs[k], ys[k]), seed=k) for k, t in enumerate(twins)])


def test_a_list_of_rows_is_one_data_set():
    bank = NetworkBank([regressor(seed) for seed in range(3)])
    twins = copy.deepcopy(bank.to_networks())
    bank.fit(list(X), list(VALUES), seed=0)
    same(bank, twins, [twin.fit(X, VALUES, seed=k) for k, twin in enumerate(twins)])


def test_what_is_shared_passes_the_door_once(monkeypatch):
    seen = []
    real = form.Form.rows
    monkeypatch.setattr(form.Form, "rows", lambda self, X, *more: seen.append(X) or real(self, X, *more))
    bank = NetworkBank([regressor(seed) for seed in range(4)])
    bank.fit(X, VALUES, 3, validation_data=(X[:5], VALUES[:5]))
    assert len(seen) == 2
    seen.clear()
    other = X + 1
    bank.fit([X, other, X, X], [VALUES] * 4, 2)
    assert len(seen) == 2


def test_shared_data_are_not_copied_for_each_network():
    rows, targets = np.zeros((20_000, 30)), np.zeros(20_000)
    nets = [NeuralNetwork([Layer(30, 4, Tanh(), seed=s), Layer(4, 1, Tanh())], MSELoss(), 0.1) for s in range(12)]
    bank = NetworkBank(nets)
    bank.fit(rows[:32], targets[:32], 1)
    plans = sum(net.engine.plan().nbytes for net in bank)
    bank.fit(rows, targets, 1, shuffle=False, threads=2)
    gc.collect()
    tracemalloc.start()
    try:
        bank.fit(rows, targets, 2, shuffle=False, threads=2)
        assert tracemalloc.get_traced_memory()[1] < rows.nbytes / 4
        tracemalloc.reset_peak()
        bank.fit(rows, targets, 2, bootstrap=True, threads=2, seed=0)  # one sample a thread
        gc.collect()
        assert rows.nbytes < tracemalloc.get_traced_memory()[1] < 3.2 * rows.nbytes
        assert tracemalloc.get_traced_memory()[0] < rows.nbytes / 4
    finally:
        tracemalloc.stop()
    assert sum(net.engine.plan().nbytes for net in bank) == plans


# --- grids and results -----------------------------------------------------------------------


def test_a_grid_has_every_combination_and_remembers_it():
    bank = NetworkBank.grid(regressor, seed=range(2), lr=np.array([0.1, 0.01]), hidden=5)
    assert bank.settings == [{"seed": s, "lr": lr, "hidden": 5} for s in (0, 1) for lr in (0.1, 0.01)]
    assert [net.lr for net in bank] == [0.1, 0.01, 0.1, 0.01]
    assert all(type(some["lr"]) is float for some in bank.settings)
    assert bits(bank[2]) == bits(regressor(1, hidden=5))
    bank.fit(X, VALUES, 2, validation_split=0.2, seed=0)
    rows = bank.results
    assert [row["network"] for row in rows] == [0, 1, 2, 3]
    assert rows[3]["lr"] == 0.01
    assert rows[3]["val_loss"] == bank.histories[3]["val_loss"][-1]
    assert {row["epochs"] for row in rows} == {2}
    assert {row["stopped"] for row in rows} == {""}


def test_from_settings():
    bank = NetworkBank.from_settings(regressor, ({"lr": lr, "hidden": h} for lr, h in ((0.1, 3), (0.2, 9))))
    assert [net.layers[0].outs for net in bank] == [3, 9]
    assert bank.settings[1] == {"lr": 0.2, "hidden": 9}


def test_ranking_and_best():
    bank = NetworkBank.grid(classifier, seed=0, lr=[1e-5, 0.05, 1e-3])
    with pytest.raises(ValueError, match="no fit"):
        bank.ranking()
    before = bank.evaluate(X, CLASSES)["loss"]
    assert bank.ranking(X, CLASSES) == np.argsort(before, kind="stable").tolist()
    bank.fit(X, CLASSES, 20, validation_split=0.3, metrics=["accuracy"], seed=0)
    assert bank.ranking() == [1, 2, 0]
    assert bank.best() is bank[1]
    last = [history["val_accuracy"][-1] for history in bank.histories]
    assert bank.ranking(monitor="val_accuracy")[0] == int(np.argmax(last))
    assert bank.best(X, CLASSES, monitor="accuracy") is bank[1]
    with pytest.raises(ValueError, match="monitor is 'f1'; expected a quantity of the last fit"):
        bank.ranking(monitor="f1")
    bank.fit(X, CLASSES, 1)
    losses = [history["loss"][-1] for history in bank.histories]
    assert bank.ranking() == np.argsort(losses).tolist()


# --- predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, None])
def test_predictions(monkeypatch, threads):
    monkeypatch.setattr("fastnn.bank.WORTH_THREADS", 0)
    bank = NetworkBank([regressor(seed) for seed in range(5)])
    each = np.stack([net.predict(X) for net in bank])
    np.testing.assert_array_equal(bank.predict(X, threads=threads), each)
    mean, std = bank.predict_mean(X, return_std=True, threads=threads)
    np.testing.assert_array_equal(mean, each.mean(axis=0))
    np.testing.assert_array_equal(std, each.std(axis=0))
    np.testing.assert_array_equal(bank.predict_mean(X.tolist()), mean)
    with pytest.raises(TypeError, match="return_std is 'no'; expected True or False"):
        bank.predict_mean(X, "no")
    scores = bank.evaluate(X, VALUES, ["mse"], threads=threads)
    assert scores["loss"].tolist() == [net.evaluate(X, VALUES)["loss"] for net in bank]
    assert scores["mse"].shape == (5,)


def test_predictions_of_classes():
    bank = NetworkBank([classifier(seed) for seed in range(5)])
    p = np.mean([net.predict_proba(X) for net in bank], axis=0)
    np.testing.assert_allclose(bank.predict_proba(X), p)
    np.testing.assert_array_equal(bank.predict_classes(X), p.argmax(axis=1))
    binary = NetworkBank([classifier(seed, loss=BCEWithLogitsLoss(), outs=1) for seed in range(3)])
    assert binary.predict_proba(X).shape == (70, 2)
    np.testing.assert_array_equal(binary.predict_classes(X), binary.predict_proba(X)[:, 1] > 0.5)
    values = NetworkBank([regressor(seed) for seed in range(3)])
    np.testing.assert_array_equal(values.predict_classes(X), values.predict_mean(X).argmax(axis=1))
    with pytest.raises(TypeError, match="gives no probabilities"):
        values.predict_proba(X)


# --- a sequence that can be copied -----------------------------------------------------------


def test_it_is_a_sequence():
    nets = [regressor(seed) for seed in range(4)]
    bank = NetworkBank(iter(nets), [{"seed": k} for k in range(4)])
    bank.fit(X, VALUES)
    assert len(bank) == 4
    assert list(bank) == bank.to_networks() == nets
    assert bank[-1] is nets[3]
    assert nets[2] in bank
    some = bank[1:3]
    assert isinstance(some, NetworkBank)
    assert list(some) == nets[1:3]
    assert some.settings == [{"seed": 1}, {"seed": 2}]
    assert some.histories == bank.histories[1:3]
    assert "4 networks" in repr(bank)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda bank: pickle.loads(pickle.dumps(bank))])
def test_copies(how):
    bank = NetworkBank.grid(regressor, seed=range(3))
    bank.fit(X, VALUES, 2, seed=0)
    twin = how(bank)
    assert twin.results == bank.results
    bank.fit(X, VALUES, 2, seed=0)
    twin.fit(X, VALUES, 2, seed=0)
    same(bank, twin, twin.histories)


# --- wrong input -----------------------------------------------------------------------------


def test_networks_that_do_not_fit_together():
    net, layer = regressor(), Layer(3, 2, Identity())
    shared = [NeuralNetwork([layer], MSELoss(), lr) for lr in (0.1, 0.2)]
    with pytest.raises(ValueError, match=r"networks\[2\] and networks\[1\] share a layer: layers\[0\]"):
        NetworkBank([net, *shared])
    with pytest.raises(ValueError, match="share a layer"):
        NetworkBank([net, net])
    for other, message in (
        (NeuralNetwork([Layer(4, 2, Tanh())], MSELoss(), 0.1), r"inputs of networks\[1\] is 4 but of networks\[0\] 3"),
        (NeuralNetwork([Layer(3, 1, Tanh())], MSELoss(), 0.1), "outputs"),
        (regressor(dtype="float32"), "dtype"),
        (classifier(outs=2), "the loss"),
    ):
        with pytest.raises(ValueError, match=message):
            NetworkBank([net, other])
    with pytest.raises(ValueError, match="empty"):
        NetworkBank([])
    with pytest.raises(TypeError, match=r"networks\[0\] is 3"):
        NetworkBank([3])
    with pytest.raises(TypeError, match="expected a list of NeuralNetwork"):
        NetworkBank(net)
    with pytest.raises(ValueError, match="settings holds 2 dicts"):
        NetworkBank([net], [{}, {}])
    with pytest.raises(ValueError, match="lr is empty"):
        NetworkBank.grid(regressor, lr=[])
    with pytest.raises(TypeError, match="make is 3"):
        NetworkBank.grid(3)
    bank = NetworkBank([regressor(0), regressor(1)])
    bank[1].layers[0] = bank[0].layers[0]  # later
    with pytest.raises(ValueError, match="share a layer"):
        bank.fit(X, VALUES)


NAN = X.copy()
NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": NAN}, ValueError, "X holds nan at row 3, column 1"),
        ({"X": X.T}, ValueError, "X has 70 columns"),
        ({"X": [X, NAN]}, ValueError, r"y holds 70; expected a list of 2 arrays"),
        ({"X": [X, NAN], "y": [VALUES] * 2}, ValueError, r"X\[1\] holds nan at row 3"),
        ({"X": [X, X, X], "y": [VALUES] * 3}, ValueError, "X holds 3; expected a list of 2 arrays"),
        ({"X": [X, X], "y": [VALUES, VALUES[:5]]}, ValueError, r"y\[1\] has 5 rows"),
        ({"X": [X] * 2, "y": [VALUES] * 2, "sample_weight": [np.ones(70), [1.0]]}, ValueError, r"sample_weight\[1\]"),
        ({"X": lambda: iter([])}, TypeError, "a bank takes rows X and targets y in memory"),
        ({"X": iter([X]), "y": None}, TypeError, "a bank takes rows X and targets y in memory"),
        ({"y": None}, TypeError, "y is None"),
        ({"y": VALUES[:3]}, ValueError, "y has 3 rows but X has 70"),
        ({"validation_data": (NAN, VALUES)}, ValueError, "X of validation_data holds nan"),
        ({"validation_data": ([X, NAN], [VALUES] * 2)}, ValueError, r"X\[1\] of validation_data holds nan"),
        ({"epochs": 0}, ValueError, "epochs"),
        ({"bootstrap": "no"}, TypeError, "bootstrap is 'no'; expected True or False"),
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"threads": 1.5}, TypeError, "threads is 1.5"),
        ({"seed": [1, 2, 3]}, ValueError, "seed holds 3 seeds; expected 2"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
        ({"verbose": 3}, ValueError, "verbose"),
        ({"metrics": ["no"]}, ValueError, "metrics holds 'no'"),
        ({"callbacks": [3]}, TypeError, "callbacks holds 3"),
        ({"callbacks": lambda k: [EarlyStopping]}, TypeError, "write EarlyStopping"),
        ({"callbacks": [CSVLogger("x")]}, ValueError, "CSVLogger, and all networks would write to the same place"),
    ],
)  # fmt: skip
def test_wrong_input_changes_nothing(arguments, error, message):
    bank = NetworkBank([regressor(0), regressor(1)])
    before = [state(net) for net in bank]
    with pytest.raises(error, match=message):
        bank.fit(**{"X": X, "y": VALUES, **arguments})
    assert [state(net) for net in bank] == before


def test_a_schedule_that_a_callback_changes_is_not_shared():
    schedule = CosineDecay(0.1, 10)
    bank = NetworkBank([regressor(k, schedule) for k in range(3)])
    bank.fit(X, VALUES, 2)
    with pytest.raises(ValueError, match=r"networks\[0\] and networks\[1\] share their CosineDecay"):
        bank.fit(X, VALUES, 2, callbacks=[ReduceLROnPlateau()])


def test_a_function_makes_the_callbacks_of_each_network(tmp_path):
    bank = NetworkBank([regressor(seed) for seed in range(3)])
    bank.fit(X, VALUES, 2, callbacks=lambda k: [CSVLogger(tmp_path / f"{k}.csv")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv", "2.csv"]


# --- what goes wrong during a fit ------------------------------------------------------------


@pytest.mark.parametrize("callbacks", [[], [EarlyStopping(patience=100)]], ids=["at once", "one by one"])
@pytest.mark.parametrize("threads", [1, 2])
def test_one_that_diverges_does_not_lose_the_others(threads, callbacks):
    bank = NetworkBank([regressor(0, 0.01), regressor(1, 2.5), regressor(2, 0.01)])
    twins = copy.deepcopy(bank.to_networks())
    with pytest.warns(RuntimeWarning, match="1 of 3 networks diverged: networks 1"):
        bank.fit(X, VALUES, 400, seed=0, callbacks=callbacks, threads=threads)
    for k in (0, 2):
        twins[k].fit(X, VALUES, 400, seed=k, callbacks=copy.deepcopy(callbacks))
        assert state(bank[k]) == state(twins[k])
    with pytest.raises(DivergedError, match="epoch") as caught:
        twins[1].fit(X, VALUES, 400, seed=1, callbacks=copy.deepcopy(callbacks))
    if not callbacks:  # EarlyStopping gives back its best weights in the end
        assert bits(bank[1]) == bits(twins[1])
    epoch = bank.histories[1].epoch[-1]
    assert bank.histories[1].stopped == f"diverged in epoch {epoch}"
    assert f"epoch {epoch}:" in str(caught.value)
    assert 1 not in bank.ranking()
    assert bank.best() is not bank[1]
    assert np.isfinite(bank.predict(X)).all()


def test_all_diverge():
    bank = NetworkBank([regressor(k, 1e6) for k in range(2)])
    with pytest.warns(RuntimeWarning, match="2 of 2"):
        bank.fit(X, VALUES, 50, validation_split=0.1)
    with pytest.raises(ValueError, match="all diverged"):
        bank.best()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_a_callback_stops_all_and_is_raised(threads):
    def fail(epoch, logs):
        if epoch == 3:
            raise ZeroDivisionError("mine")

    bank = NetworkBank([regressor(seed) for seed in range(6)])
    running = threading.active_count()
    with pytest.raises(ZeroDivisionError, match="mine"):
        bank.fit(X, VALUES, 10**6, callbacks=[LambdaCallback(on_epoch_end=fail)], threads=threads)
    assert threading.active_count() <= running


def test_a_callback_may_stop_one_network():
    def stop(epoch, logs):
        raise StopTraining("enough")

    bank = NetworkBank([regressor(seed) for seed in range(3)])
    bank.fit(X, VALUES, 5, callbacks=lambda k: [LambdaCallback(on_epoch_end=stop)] if k == 1 else [])
    assert [len(history.epoch) for history in bank.histories] == [5, 1, 5]
    assert bank.histories[1].stopped == "enough"


@pytest.mark.parametrize("callbacks", [[], [LambdaCallback()]], ids=["at once", "one by one"])
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_all_threads(threads, callbacks):
    bank = NetworkBank([regressor(seed, 1e-4) for seed in range(5)])
    twins = copy.deepcopy(bank.to_networks())
    bank.fit(X, VALUES, 1, threads=threads)
    running = threading.active_count()
    bank = NetworkBank(twins)
    twins = copy.deepcopy(twins)
    with ctrl_c_in(0.4) as sent:
        histories = bank.fit(X, VALUES, 10**7, callbacks=callbacks, seed=0, threads=threads)
        heard = time.monotonic()
    assert heard - sent[0] < 5
    assert threading.active_count() <= running
    steps = [int(history.stopped.removeprefix("interrupted after ").removesuffix(" steps")) for history in histories]
    assert all(taken > 0 for taken in steps[:threads])
    assert steps[threads:] == [0] * (5 - threads)
    for net, twin, taken, history in zip(bank, twins, steps, histories):
        assert len(history.epoch) in (taken // 3, taken // 3 - 1)
        assert int(net.engine.state.steps[0]) == taken
        if taken and not callbacks:
            assert len(history.epoch) == taken // 3
            again = twin.fit(X, VALUES, taken // 3, seed=bank.index(net))
            if taken % 3 == 0:
                assert state(net) == state(twin)
            assert again["loss"] == history["loss"]
    bank.fit(X, VALUES, 1)  # they can go on


# --- many epochs in one call -----------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [SGD(), Adam(), SGD(momentum=0.9)], ids=["SGD", "Adam", "momentum"])
@pytest.mark.parametrize("lr", [0.01, 0.9, 1.3, 2.0, 40.0, 1e300])
def test_fit_in_a_sprint_is_fit_with_callbacks(optimizer, lr):
    net = regressor(0, lr, optimizer=optimizer)
    twin = copy.deepcopy(net)
    results = []
    for one, callbacks in ((net, []), (twin, [LambdaCallback()])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                history = one.fit(X, VALUES, 300, seed=0, callbacks=callbacks, verbose=0)
                results.append((history.epoch, dict(history)))
            except DivergedError as error:
                results.append(str(error))
    assert results[0] == results[1]
    assert state(net) == state(twin)


def test_divergence_late_in_a_sprint():
    """A rate that grows in the end: the call that has many epochs is taken back to the right one."""

    class Late(CosineDecay):
        def factor(self, t):
            return np.where(t < 700, 1.0, 1e4)

    for optimizer in (SGD(), Adam()):
        nets = [regressor(0, Late(0.01, 10**6), optimizer=copy.deepcopy(optimizer)) for _ in range(2)]
        messages = []
        for net, callbacks in zip(nets, ([], [LambdaCallback()])):
            if isinstance(optimizer, SGD):
                with pytest.raises(DivergedError) as caught:
                    net.fit(X, VALUES, 2000, seed=0, callbacks=callbacks)
                messages.append(str(caught.value).split(" A smaller")[0])
            else:
                net.fit(X, VALUES, 500, seed=0, callbacks=callbacks)
        assert len(set(messages)) <= 1
        assert bits(nets[0]) == bits(nets[1])
        assert all(math.isfinite(value) for net in nets for value in net.predict(X).ravel())


# --- the crew --------------------------------------------------------------------------------


def test_share_out_does_everything_once():
    for threads in (0, 1, 2, 9):
        done, finished = [], []
        share_out(done.append, 20, threads, finished=finished.append)
        assert sorted(done) == list(range(20))
        assert sorted(finished) == (list(range(20)) if threads else [])


def test_share_out_really_uses_threads():
    barrier = threading.Barrier(3)
    share_out(lambda k: barrier.wait(30), 3, 3)  # breaks unless three are at work at once


def test_the_number_of_threads_is_that_of_the_cores():
    assert thread_count(3) == 3
    assert thread_count(None) >= 1


def test_a_ranking_by_a_function_is_refused():
    bank = NetworkBank([NeuralNetwork([Layer(1, 1, Identity(), seed=0)], MSELoss(), 0.1)])
    with pytest.raises(TypeError, match=r"^monitor is <built-in function max>; expected a string"):
        bank.ranking(np.ones((3, 1)), np.ones(3), max)
