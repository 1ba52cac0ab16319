"""Callbacks that look at losses alone see each epoch once, in order, though many are over when they do."""

import numpy as np
import pytest

from fastnn import Adam, Identity, Layer, MSELoss, NeuralNetwork, StopTraining, Tanh
from fastnn.training.sprint import Watch

X = np.random.default_rng(0).normal(size=(40, 3))
y = X[:, 0] * X[:, 1]


class Three(Watch):
    """Looks after every third epoch, and stops after the `last`."""

    def __init__(self, last):
        self.last, self.seen, self.weights = last, [], []

    def epochs_ahead(self):
        return 3 - len(self.seen) % 3

    def on_epoch_end(self, epoch, logs):
        self.seen.append((epoch, logs["loss"]))
        self.weights.append(self.net.layers[0].weights.copy())
        if epoch == self.last:
            raise StopTraining("enough")


def network():
    return NeuralNetwork([Layer(3, 8, Tanh(), seed=0), Layer(8, 1, Identity(), seed=1)], MSELoss(), 0.01, Adam())


@pytest.mark.parametrize("last", [12, 30, 99])
def test_a_watch_changes_nothing_but_the_end(last):
    watched, alone, watch = network(), network(), Three(last)
    history = watched.fit(X, y, epochs=36, callbacks=watch, seed=0, verbose=0)
    epochs = min(last, 36)
    expected = alone.fit(X, y, epochs=epochs, seed=0, verbose=0)["loss"]
    assert history["loss"] == expected
    assert watch.seen == list(enumerate(expected, 1))
    assert history.stopped == ("enough" if last <= 36 else "")
    assert np.array_equal(watched.parameters, alone.parameters)
    assert len({W.tobytes() for W in watch.weights}) < epochs  # several epochs in one call


def test_with_other_callbacks_it_is_called_after_each_epoch():
    net, watch = network(), Three(99)
    net.fit(X, y, epochs=12, callbacks=[watch], validation_data=(X, y), seed=0, verbose=0)
    assert len({W.tobytes() for W in watch.weights}) == 12
