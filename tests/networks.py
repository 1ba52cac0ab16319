"""What many tests train, on what, and how they compare it."""

import contextlib
import signal
import threading
import time

import numpy as np

from fastnn import CrossEntropyLoss, Identity, LambdaCallback, Layer, LossFunction, NeuralNetwork, ReLU


def classifier(outs=3, loss=None, optimizer=None, lr=0.1, dtype="float64"):
    rng = np.random.default_rng(0)
    layers = [Layer(4, 10, ReLU(), seed=rng), Layer(10, outs, Identity(), seed=rng)]
    net = NeuralNetwork(layers, loss or CrossEntropyLoss(), lr, optimizer, dtype=dtype)
    X = rng.normal(size=(90, 4))
    return net, X, np.argmax(X[:, :3], axis=1)


def bits(net):
    return [array.tobytes() for pair in net.get_weights() for array in pair]


def agree(a, b, tolerance):
    """See that numbers differ by no more than that part of the largest."""
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max()))


def slopes(net, X, y):
    """The gradient of the loss by central differences."""
    start, found = net.parameters, []
    for i in range(start.size):
        losses = []
        for step in (1e-6, -1e-6):
            moved = start.copy()
            moved[i] += step
            net.parameters = moved
            losses.append(net.loss_and_gradient(X, y)[0])
        found.append((losses[0] - losses[1]) / 2e-6)
    net.parameters = start
    return np.array(found)


class Killed(BaseException):
    """Like a signal, it is nobody's error; unlike one, it ends no process."""


def killed_in(last):
    """A callback that ends a fit after that epoch."""

    def kill(epoch, logs):
        if epoch == last:
            raise Killed

    return LambdaCallback(on_epoch_end=kill)


@contextlib.contextmanager
def ctrl_c_in(seconds):
    """Within it Ctrl-C comes once; the list that it gives has the time of that."""
    handler, sent = signal.signal(signal.SIGINT, signal.default_int_handler), []

    def interrupt():
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)  # in this thread, but Python's handler runs in the main one

    timer = threading.Timer(seconds, interrupt)
    try:
        timer.start()
        yield sent
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGINT, handler)


class OnDisk:
    """An array as h5py and zarr have them: shape, dtype and slices, and no way to be an array as a whole."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype
        self.asked = []

    def __getitem__(self, key):
        assert isinstance(key, slice)
        self.asked.append((key.start, key.stop))
        return self._array[key].copy()

    def __array__(self, *_, **__):
        raise MemoryError("too large")


class LogCosh(LossFunction):
    """A loss of a user's own."""

    def loss(self, values, expected):
        return np.sum(np.log(np.cosh(values - expected)))

    def dloss(self, values, expected):
        return np.tanh(values - expected)


class Pinball(LossFunction):
    """Quantiles of one value, at `taus`: a loss of a user's own, with an array."""

    target = "values"

    def __init__(self, taus):
        self.taus = taus

    def loss(self, values, expected):
        e, taus = expected - values, self.taus.reshape(-1, 1)
        return np.sum(np.maximum(taus * e, (taus - 1) * e))

    def dloss(self, values, expected):
        taus = self.taus.reshape(-1, 1)
        return np.where(expected > values, -taus, 1.0 - taus)
