"""Epochs are counted as epochs, over calls of any size, and their number takes no memory ahead."""

import copy
import pickle

import numpy as np
import pytest

from fastnn import (
    Callback,
    Checkpoint,
    ExponentialDecay,
    Identity,
    Layer,
    MSELoss,
    NetworkBank,
    NeuralNetwork,
    Tanh,
    TimeLimit,
    load,
)

X = np.random.default_rng(0).normal(size=(96, 2))
y = X[:, 0] - X[:, 1]


def network(lr=None):
    layers = [Layer(2, 4, Tanh(), seed=0), Layer(4, 1, Identity(), seed=1)]
    return NeuralNetwork(layers, MSELoss(), ExponentialDecay(0.1, 0.9) if lr is None else lr)


def next_rate(net):
    return float(net.engine.rates(1, 1)[0])


def test_calls_with_other_sizes_are_epochs_all_the_same():
    net = network()
    for rows, batch_size in [(96, 32), (32, 4), (5, 1), (96, 96)]:
        net.partial_fit(X[:rows], y[:rows], batch_size=batch_size)
    net.fit(X, y, epochs=2, batch_size=7)
    net.fit(lambda: iter([(X[:50], y[:50]), (X[50:], y[50:])]), epochs=3)
    net.train(X.T, y.reshape(1, -1), epochs=2)
    assert int(net.engine.state.epochs[0]) == 11
    assert next_rate(net) == pytest.approx(0.1 * 0.9**11, rel=1e-12)


def test_three_partial_fits_are_three_epochs_bit_for_bit():
    a, b = network(), network()
    for _ in range(3):
        a.partial_fit(X, y)
    b.fit(X, y, epochs=3, shuffle=False)
    assert a.parameters.tobytes() == b.parameters.tobytes()


def test_a_single_column_is_a_step_and_no_epoch():
    net = network()
    for i in range(20):
        net.train(X[i : i + 1].T.copy(), y[i].reshape(1, 1))
    assert next_rate(net) == 0.1
    net.train(X[:1].T.copy(), y[0].reshape(1, 1), epochs=2)
    assert int(net.engine.state.epochs[0]) == 2


def test_files_copies_and_pickles_keep_the_count(tmp_path):
    net = network()
    net.fit(X, y, epochs=3)
    net.save(tmp_path / "net.safetensors")
    for twin in (load(tmp_path / "net.safetensors"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert next_rate(twin) == next_rate(net) == pytest.approx(0.1 * 0.9**3)
        twin.fit(X, y)
        assert int(twin.engine.state.epochs[0]) == 4
        assert int(net.engine.state.epochs[0]) == 3


def test_a_checkpoint_after_calls_of_other_sizes_goes_on_to_the_same_bits(tmp_path):
    def begun():
        net = network()
        net.partial_fit(X[:5], y[:5])
        return net

    whole, cut, again = begun(), begun(), begun()
    whole.fit(X, y, epochs=5, seed=0)
    cut.fit(X, y, epochs=2, seed=0, callbacks=[Checkpoint(tmp_path / "run")])
    again.fit(X, y, epochs=5, seed=0, callbacks=[Checkpoint(tmp_path / "run")])
    assert again.parameters.tobytes() == whole.parameters.tobytes()
    assert int(again.engine.state.epochs[0]) == 6


class Ends(Callback):
    """An epoch's end that is interrupted counts nothing twice."""

    def on_epoch_end(self, epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt


def test_the_number_of_epochs_takes_no_memory():
    history = network().fit(X, y, epochs=10**12, callbacks=[TimeLimit(0.05)])
    assert len(history["loss"]) == len(history.epoch) > 0
    for history in NetworkBank([network(), network()]).fit(X, y, epochs=10**12, callbacks=[TimeLimit(0.05)]):
        assert "time limit" in history.stopped
    net = network()
    assert net.fit(X, y, epochs=10**12, callbacks=[Ends()]).stopped == "interrupted after 6 steps"
    assert int(net.engine.state.epochs[0]) == 2


def test_the_losses_of_many_short_epochs_are_all_kept():
    fast, slow = network(1e-3), network(1e-3)
    losses = fast.fit(X, y, epochs=500, seed=0)["loss"]
    assert losses == slow.fit(X, y, epochs=500, seed=0, callbacks=[Callback()])["loss"]
    assert fast.parameters.tobytes() == slow.parameters.tobytes()
    assert int(fast.engine.state.epochs[0]) == int(slow.engine.state.epochs[0]) == 500
