"""The peer that does not flatter: the SGD step of a mini-batch in NumPy as an expert would write it.

Samples are rows, so a batch is a slice. Every product is one BLAS call on the whole batch, into
memory that was allocated once; the update is in place; nothing leaves the network's dtype.
"""

import numpy as np

from fastnn import NeuralNetwork


class BatchedNetwork:
    """The network `net`, with LeakyReLU in every layer and CrossEntropyLoss, for batches of one size."""

    def __init__(self, net: NeuralNetwork, batch_size: int) -> None:
        self.batch_size = batch_size
        self.Ws = [layer.weights.T.copy() for layer in net.layers]  # (ins, outs)
        self.bs = [layer.biases.ravel().copy() for layer in net.layers]
        dtype = net.dtype.type
        self.lr, self.mean, self.one = dtype(net.lr), dtype(1 / batch_size), dtype(1)
        self.leaks = [dtype(layer.act_function.leaky_param) for layer in net.layers]
        self.ones = np.ones(batch_size, net.dtype)
        self.ys, self.xs, self.dxs = ([np.empty((batch_size, b.size), net.dtype) for b in self.bs] for _ in range(3))
        self.dWs = [np.empty_like(W) for W in self.Ws]

    def train(self, rows: np.ndarray, classes: np.ndarray) -> float:
        """One epoch of whole batches; returns the mean loss, each taken before its step."""
        total = 0.0
        for start in range(0, len(rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            total += self.step(rows[batch], classes[batch])
        return total / len(rows)

    def step(self, batch: np.ndarray, classes: np.ndarray) -> float:
        """One SGD step; returns the sum of the losses."""
        loss = self.loss_and_gradient(self.forward(batch), classes)
        for l in reversed(range(len(self.Ws))):
            W, b, dW, db = self.Ws[l], self.bs[l], self.dWs[l], self.dxs[l]
            db *= np.where(self.ys[l] > 0, self.one, self.leaks[l])
            np.dot((self.xs[l - 1] if l > 0 else batch).T, db, out=dW)
            if l > 0:
                np.dot(db, W.T, out=self.dxs[l - 1])
            dW *= self.lr
            W -= dW
            b -= self.lr * np.dot(self.ones, db)
        return loss

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The outputs for one batch; keeps what the step needs."""
        for W, b, leak, y, out in zip(self.Ws, self.bs, self.leaks, self.ys, self.xs):
            np.dot(x, W, out=y)
            y += b
            np.multiply(y, leak, out=out)
            x = np.maximum(y, out, out=out)
        return x

    def loss_and_gradient(self, values: np.ndarray, classes: np.ndarray) -> float:
        """The sum of the losses; the gradient of their mean goes to the last of `dxs`."""
        samples, d = np.arange(self.batch_size), self.dxs[-1]
        top = values.max(axis=1, keepdims=True)
        np.exp(np.subtract(values, top, out=d), out=d)
        totals = d.sum(axis=1, keepdims=True)
        loss = (top + np.log(totals)).sum() - values[samples, classes].sum()
        d /= totals
        d[samples, classes] -= self.one
        d *= self.mean
        return float(loss)
