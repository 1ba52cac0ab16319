"""validation_split in fit and in banks: drawn by the seed, of each class its part, the same when a fit goes on."""

import copy
import tracemalloc
import warnings

import numpy as np
import pytest
from networks import Killed, OnDisk, bits, classifier, killed_in

from fastnn import (
    Adam,
    BCEWithLogitsLoss,
    Checkpoint,
    CrossEntropyLoss,
    EarlyStopping,
    Identity,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    Standardize,
)
from fastnn.data import sources
from fastnn.data.held_out import held_out_rows


def split_by_hand(X, y, part, seed, classes, weight=None):
    """The arguments of a fit on the same two parts."""
    kept, held = held_out_rows(len(X), part, seed, classes)
    data = {"validation_data": (X[held], y[held], *([] if weight is None else [weight[held]]))}
    return (X[kept], y[kept]), data if weight is None else {**data, "sample_weight": weight[kept]}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_it_is_a_fit_on_one_part_measured_on_the_other(shuffle, weighted):
    net, X, y = classifier(optimizer=Adam())
    X, y, weight = X[np.argsort(y)], np.sort(y), np.linspace(0.1, 2, 90) if weighted else None
    twin, settings = copy.deepcopy(net), {"epochs": 3, "seed": 4, "shuffle": shuffle, "metrics": ["accuracy"]}
    settings["class_weight"] = "balanced"
    history = net.fit(X, y, validation_split=0.2, sample_weight=weight, **settings)
    data, more = split_by_hand(X, y, 0.2, 4, y, weight)
    assert dict(history) == dict(twin.fit(*data, **more, **settings))
    assert bits(net) == bits(twin)
    assert np.all(np.abs(np.bincount(more["validation_data"][1]) - 0.2 * np.bincount(y)) < 1)


def lists(X, y):
    return X.tolist(), y.tolist()


def frames(X, y):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list("abcd")), pandas.Series(y)


def sparse(X, y):
    return pytest.importorskip("scipy.sparse").csr_matrix(X), y


def on_disk(X, y):
    return OnDisk(X), OnDisk(y)


def in_float32(X, y):
    return X.astype(np.float32).astype(np.float64), y


@pytest.mark.parametrize("chunk_bytes", [64 * 2**20, 2000])
@pytest.mark.parametrize("validation_shuffle", [True, False])
@pytest.mark.parametrize("dress", [lists, frames, sparse, on_disk])
def test_samples_in_any_dress_are_parted_alike(dress, validation_shuffle, chunk_bytes, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", chunk_bytes)
    net, X, y = classifier()
    net = NeuralNetwork([Standardize(), *net.layers], net.loss_function, 0.1)
    twin, weight = copy.deepcopy(net), np.linspace(0.1, 2, 90)
    settings = {
        "epochs": 3, "batch_size": 8, "seed": 4, "shuffle": False, "validation_split": 0.3,
        "validation_shuffle": validation_shuffle, "sample_weight": weight,
    }  # fmt: skip
    history, expected = net.fit(*dress(X, y), **settings), twin.fit(X, y, **settings)
    streamed = chunk_bytes < 10_000 and dress in (sparse, on_disk)
    other_sums = streamed or dress is frames  # whose columns lie apart, so that means are summed in another order
    assert net.allclose(twin, rtol=1e-9) if other_sums else bits(net) == bits(twin)
    assert history["val_loss"] == pytest.approx(expected["val_loss"])


def test_the_labels_of_one_logit_are_classes():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 3)), np.repeat([0.0, 1.0], [80, 20])
    for values in (y, y[:, None], y.astype(bool), y.astype(int)):
        net = NeuralNetwork([Layer(3, 1, Identity(), seed=0)], BCEWithLogitsLoss(), 0.1)
        twin = copy.deepcopy(net)
        history = net.fit(X, values, epochs=2, validation_split=0.2, seed=1)
        data, more = split_by_hand(X, y, 0.2, 1, y.astype(int))
        assert dict(history) == dict(twin.fit(*data, **more, epochs=2, seed=1))
        assert more["validation_data"][1].sum() == 4
    soft = np.linspace(0, 1, 100)
    net.fit(X, soft, epochs=1, validation_split=0.2, seed=1)
    twin.fit(X, soft, epochs=1, validation_split=0.2, seed=1)  # no classes, and no reason to warn


def test_values_are_drawn_whatever_they_are():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    net = NeuralNetwork([Layer(3, 2, Identity(), seed=0)], MSELoss(), 0.1)
    twin = copy.deepcopy(net)
    history = net.fit(X, y, epochs=2, validation_split=0.2, seed=1)
    data, more = split_by_hand(X, y, 0.2, 1, None)
    assert dict(history) == dict(twin.fit(*data, **more, epochs=2, seed=1))


def test_samples_that_are_sorted_by_class_are_learnt():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [70, 60, 30])
    X = rng.normal(size=(160, 2)) + 4 * np.eye(3)[y][:, :2]
    accuracy = []
    for validation_shuffle in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = NeuralNetwork([Layer(2, 3, Identity(), seed=0)], CrossEntropyLoss(), 0.1, Adam())
            net.fit(X, y, epochs=50, validation_split=0.2, validation_shuffle=validation_shuffle, seed=0)
        accuracy.append(net.evaluate(X, y, ["accuracy"])["accuracy"])
    assert accuracy[0] < 0.85 < 0.95 < accuracy[1]


# --- warnings and errors -----------------------------------------------------------------------


def test_a_class_that_is_missing_is_named():
    net, X, y = classifier()
    y = np.sort(y)
    in_words = r"no sample of class 2 for training and no sample of classes 0, 1 for validation; .*shuffle=True"
    share = (y == 2).mean()
    for fit in (net.fit, NetworkBank([net, classifier()[0]]).fit):
        with pytest.warns(UserWarning, match=in_words) as caught:
            fit(X, y, validation_split=share, validation_shuffle=False, verbose=0)
        assert [warning.filename for warning in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(X, y, validation_split=share, verbose=0)
            fit(X, y, epochs=1, verbose=0)


def test_a_class_of_one_sample_stays_in_training():
    net, X, y = classifier()
    y = np.zeros(90, int)
    y[[3, 50]] = 1, 2
    for seed in range(20):
        with pytest.warns(UserWarning, match="no sample of classes 1, 2 for validation; there are too few samples"):
            net.fit(X, y, validation_split=0.5, seed=seed, verbose=0)


def test_a_stream_warns_too(monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_BYTES", 2000)
    net, X, y = classifier()
    with pytest.warns(UserWarning, match="no sample of classes 0, 1 for validation"):
        net.fit(OnDisk(X), np.sort(y), validation_split=0.1, validation_shuffle=False, batch_size=8, verbose=0)


@pytest.mark.parametrize("value", [None, 1, 0, "yes", "random", 0.5, [True]])
def test_validation_shuffle_is_a_bool(value):
    net, X, y = classifier()
    before = bits(net)
    for fit in (net.fit, NetworkBank([net]).fit):
        with pytest.raises((TypeError, ValueError), match="validation_shuffle is"):
            fit(X, y, validation_split=0.2, validation_shuffle=value, verbose=0)
    assert bits(net) == before
    net.fit(X, y, validation_split=0.2, validation_shuffle=np.True_)


@pytest.mark.parametrize("dress", [lists, frames, sparse, on_disk])
@pytest.mark.parametrize("row", range(0, 90, 11))
def test_errors_tell_the_row_of_the_data_as_they_were_given(dress, row, monkeypatch):
    net, X, y = classifier()
    before, X = bits(net), X.copy()
    X[row, 2] = np.nan
    with pytest.raises(ValueError, match=rf"X holds nan at row {row}, column 2"):
        net.fit(*dress(X, y), validation_split=0.3, seed=0)
    with pytest.raises(ValueError, match="y holds class 7"):
        net.fit(*dress(np.ones((90, 4)), np.where(np.arange(90) == row, 7, y)), validation_split=0.3, seed=0)
    assert bits(net) == before
    if dress in (sparse, on_disk):
        monkeypatch.setattr(sources, "CHUNK_BYTES", 2000)
        with pytest.raises(ValueError, match=rf"X holds nan at row {row}, column 2"):
            net.fit(*dress(X, y), validation_split=0.3, seed=0, batch_size=8)


def test_of_the_last_rows_errors_say_which_they_are():
    net, X, y = classifier()
    X = X.copy()
    X[80, 1] = np.inf
    with pytest.raises(ValueError, match=r"X\[72:90\] holds inf at row 8, column 1"):
        net.fit(X, y, validation_split=0.2, validation_shuffle=False)


def test_chunks_have_no_end_to_hold_out():
    net, X, y = classifier()
    for validation_shuffle in (True, False):
        with pytest.raises(ValueError, match="X is made of chunks, whose end is not known; give validation_data"):
            net.fit(lambda: iter([(X, y)]), validation_split=0.2, validation_shuffle=validation_shuffle)


# --- what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_samples_are_copied_once(dtype):
    X, y = np.ones((60_000, 40)), np.zeros(60_000)
    copied = X.size * np.dtype(dtype).itemsize

    def peak(**settings):
        net = NeuralNetwork([Layer(40, 1, Identity(), seed=0)], MSELoss(), 0.01, dtype=dtype)
        net.fit(X[:64], y[:64], validation_split=0.5, batch_size=32)
        tracemalloc.start()
        try:
            net.fit(X, y, batch_size=32, validation_split=0.2, seed=0, shuffle=False, **settings)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak() < 1.1 * copied + 10 * 8 * len(X) + 30e6  # 30e6: blocks, orders
    assert peak(validation_shuffle=False) < (0.0 if dtype == "float64" else copied) + 10 * 8 * len(X) + 5e6


# --- resumed -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "stream"])
@pytest.mark.parametrize("seed", [3, None])
def test_a_fit_that_goes_on_has_the_same_split(tmp_path, seed, kind, monkeypatch):
    if kind == "stream":
        monkeypatch.setattr(sources, "CHUNK_BYTES", 2000)

    def start(*callbacks, seed=seed, path="run", **changes):
        net, X, y = classifier(optimizer=Adam())
        callbacks = [EarlyStopping(patience=9), Checkpoint(tmp_path / path), *callbacks]
        settings = {"epochs": 5, "validation_split": 0.3, "seed": seed, "batch_size": 8, **changes}
        return bits(net), net, net.fit(OnDisk(X) if kind == "stream" else X, y, callbacks=callbacks, **settings)

    with pytest.raises(Killed):
        start(killed_in(2))
    with pytest.raises(ValueError, match="validation_shuffle is 0 but was 1"):
        start(validation_shuffle=False)
    with pytest.raises(ValueError, match=r"holds another fit"):
        start(validation_split=0.31)
    if seed is not None:
        with pytest.raises(ValueError, match="seed is 4 but was 3"):
            start(seed=4)
    history = start()[2]
    assert history.epoch == [1, 2, 3, 4, 5]
    if seed is not None:
        expected = start(path="whole")[2]
        assert dict(history) == dict(expected)
    start(path="end", validation_shuffle=False, epochs=1)
    with pytest.raises(ValueError, match="validation_shuffle is 1 but was 0"):
        start(path="end")
    assert start(path="end", validation_shuffle=False)[2].epoch == [1, 2, 3, 4, 5]


def test_without_a_split_its_shuffling_means_nothing(tmp_path):
    net, X, y = classifier()
    net.fit(X, y, seed=0, callbacks=Checkpoint(tmp_path / "run"))
    assert net.fit(X, y, 2, seed=0, validation_shuffle=False, callbacks=Checkpoint(tmp_path / "run")).epoch == [1, 2]


# --- banks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [7, [9, 2, 7]])
def test_all_networks_of_a_bank_hold_out_the_same(seeds):
    _, X, y = classifier()
    bank = NetworkBank([classifier(optimizer=Adam())[0] for _ in range(3)])
    twins, weight = copy.deepcopy(bank.to_networks()), np.linspace(0.1, 2, 90)
    bank.fit(X, y, 3, validation_split=0.2, sample_weight=weight, seed=seeds)
    first = seeds if isinstance(seeds, int) else seeds[0]
    data, more = split_by_hand(X, y, 0.2, first, y, weight)
    for k, twin in enumerate(twins):
        seed = seeds + k if isinstance(seeds, int) else seeds[k]
        assert dict(bank.histories[k]) == dict(twin.fit(*data, 3, seed=seed, **more))
        assert bits(bank[k]) == bits(twin)


def test_data_of_its_own_are_parted_by_its_own_seed():
    _, X, y = classifier()
    bank = NetworkBank([classifier(optimizer=Adam())[0] for _ in range(3)])
    twins = copy.deepcopy(bank.to_networks())
    bank.fit([X, X, X[:50]], [y, y, y[:50]], 3, validation_split=0.2, seed=5)
    for k, (twin, n) in enumerate(zip(twins, (90, 90, 50))):
        assert dict(bank.histories[k]) == dict(twin.fit(X[:n], y[:n], 3, validation_split=0.2, seed=5 + k))


@pytest.mark.parametrize("dress", [lists, frames, sparse])
@pytest.mark.parametrize("bootstrap", [False, True])
@pytest.mark.parametrize("standardize", [False, True])
def test_a_bank_takes_any_dress(dress, bootstrap, standardize):
    _, X, y = classifier()
    some, others = ([classifier()[0] for _ in range(2)] for _ in range(2))
    if standardize:
        some, others = ([NeuralNetwork([Standardize(), *n.layers], n.loss_function, 0.1) for n in nets]
                        for nets in (some, others))  # fmt: skip
    settings = {"epochs": 2, "validation_split": 0.3, "seed": 1, "bootstrap": bootstrap}
    mine, expected = NetworkBank(some), NetworkBank(others)
    mine.fit(*dress(X, y), **settings)
    expected.fit(X, y, **settings)
    assert [bits(net) for net in mine] == [bits(net) for net in expected]
    assert [dict(one) for one in mine.histories] == [dict(one) for one in expected.histories]


def test_nothing_that_is_held_out_is_drawn_by_a_bootstrap():
    X, y = np.arange(40.0)[:, None], np.zeros(40)
    bank = NetworkBank([NeuralNetwork([Layer(1, 1, Identity(), init="zeros")], MSELoss(), 0.1) for _ in range(4)])
    X /= 40
    X[held_out_rows(40, 0.25, 3)[1]] = 1e100  # what learns from it diverges
    bank.fit(X, y + 1, 2, validation_split=0.25, seed=3, bootstrap=True)
    assert all(not history.stopped for history in bank.histories)
    with pytest.warns(RuntimeWarning, match="4 of 4 networks diverged"):
        bank.fit(X, y + 1, 2, validation_split=0.25, seed=4, bootstrap=True)


@pytest.mark.parametrize("seed", [1, None])
def test_a_killed_bank_goes_on_with_the_same_split(tmp_path, seed):
    def start(epochs, first=0):
        bank = NetworkBank([classifier(optimizer=Adam())[0] for _ in range(3)])
        _, X, y = classifier()
        return bank.fit(
            X, y, epochs, validation_split=0.3, seed=seed, threads=1,
            callbacks=lambda k: [Checkpoint(tmp_path / str(k))] if k >= first else [],
        )  # fmt: skip

    start(2, first=1)  # that of the first network is not there yet
    assert [history.epoch for history in start(4)] == [[1, 2, 3, 4]] * 3
