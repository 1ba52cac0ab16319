"""The peer that does not flatter: the step of a mini-batch in NumPy as an expert would write it.

Samples are rows, so a batch is a slice. Every product is one BLAS call on the whole batch, into
memory that was allocated once; the update is in place; nothing leaves the network's dtype.
"""

import numpy as np

from fastnn import Adam, MSELoss, NeuralNetwork, Tanh

_LEAKS = {"ReLU": 0.0, "Identity": 1.0}  # both are a LeakyReLU


class BatchedNetwork:
    """The network `net` for batches of one size.

    Its layers have LeakyReLU, ReLU, Tanh or no activation; its loss is CrossEntropyLoss or MSELoss, its
    optimiser SGD or Adam as they are by default.
    """

    def __init__(self, net: NeuralNetwork, batch_size: int) -> None:
        self.batch_size = batch_size
        self.Ws = [layer.weights.T.copy() for layer in net.layers]  # (ins, outs)
        self.bs = [layer.biases.ravel().copy() for layer in net.layers]
        dtype = net.dtype.type
        self.lr, self.mean, self.one = dtype(net.lr), dtype(1 / batch_size), dtype(1)
        activations = [layer.act_function for layer in net.layers]
        self.tanh = [isinstance(act, Tanh) for act in activations]
        self.leaks = [
            dtype(1 if tanh else _LEAKS.get(type(act).__name__) or getattr(act, "leaky_param", 0.0))
            for act, tanh in zip(activations, self.tanh)
        ]
        self.mse = isinstance(net.loss_function, MSELoss)
        self.ones = np.ones(batch_size, net.dtype)
        self.ys, self.xs, self.dxs = ([np.empty((batch_size, b.size), net.dtype) for b in self.bs] for _ in range(3))
        self.dWs, self.dbs = ([np.empty_like(p) for p in some] for some in (self.Ws, self.bs))
        self.adam = net.optimizer if isinstance(net.optimizer, Adam) else None
        self.steps = 0
        self.moments = [[np.zeros_like(p) for _ in range(3)] for p in self.Ws + self.bs] if self.adam else []

    def train(self, rows: np.ndarray, targets: np.ndarray) -> float:
        """One epoch of whole batches; returns the mean loss, each taken before its step."""
        total = 0.0
        for start in range(0, len(rows), self.batch_size):
            batch = slice(start, start + self.batch_size)
            total += self.step(rows[batch], targets[batch])
        return total / len(rows)

    def step(self, batch: np.ndarray, targets: np.ndarray) -> float:
        """One step of the optimiser; returns the sum of the losses."""
        loss = self.gradients(batch, targets) * self.batch_size
        self.update(self.Ws + self.bs, self.dWs + self.dbs)
        return loss

    def gradients(self, batch: np.ndarray, targets: np.ndarray) -> float:
        """Put the gradients of the mean loss into `dWs` and `dbs`; returns that loss."""
        values = self.forward(batch)
        loss = (self.squared_error if self.mse else self.cross_entropy)(values, targets)
        for l in reversed(range(len(self.Ws))):
            db = self.dxs[l]
            if self.tanh[l]:
                square = np.multiply(self.xs[l], self.xs[l], out=self.ys[l])
                db *= np.subtract(self.one, square, out=square)
            elif self.leaks[l] != 1:
                db *= np.where(self.ys[l] > 0, self.one, self.leaks[l])
            np.dot((self.xs[l - 1] if l > 0 else batch).T, db, out=self.dWs[l])
            np.dot(self.ones, db, out=self.dbs[l])
            if l > 0:
                np.dot(db, self.Ws[l].T, out=self.dxs[l - 1])
        return loss

    def update(self, parameters: list[np.ndarray], gradients: list[np.ndarray]) -> None:
        """The optimiser's rule, in place; the gradients are used up."""
        if self.adam is None:
            for p, g in zip(parameters, gradients):
                g *= self.lr
                p -= g
            return
        self.steps += 1
        kind, adam = self.lr.dtype.type, self.adam
        size = kind(self.lr / (1 - adam.beta1**self.steps))
        root = kind(np.sqrt(1 - adam.beta2**self.steps))
        for p, g, (m, v, work) in zip(parameters, gradients, self.moments):
            m *= kind(adam.beta1)
            m += np.multiply(g, kind(1 - adam.beta1), out=work)
            v *= kind(adam.beta2)
            g *= g
            v += np.multiply(g, kind(1 - adam.beta2), out=g)
            np.sqrt(v, out=work)
            work /= root
            work += kind(adam.eps)
            np.divide(m, work, out=work)
            work *= size
            p -= work

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The outputs for one batch; keeps what the step needs."""
        for W, b, tanh, leak, y, out in zip(self.Ws, self.bs, self.tanh, self.leaks, self.ys, self.xs):
            np.dot(x, W, out=y)
            y += b
            if tanh:
                x = np.tanh(y, out=out)
            elif leak == 1:
                x = y
            else:
                np.multiply(y, leak, out=out)
                x = np.maximum(y, out, out=out)
        return x

    def cross_entropy(self, values: np.ndarray, classes: np.ndarray) -> float:
        """The mean loss; its gradient goes to the last of `dxs`."""
        samples, d = np.arange(self.batch_size), self.dxs[-1]
        top = values.max(axis=1, keepdims=True)
        np.exp(np.subtract(values, top, out=d), out=d)
        totals = d.sum(axis=1, keepdims=True)
        loss = (top + np.log(totals)).sum() - values[samples, classes].sum()
        d /= totals
        d[samples, classes] -= self.one
        d *= self.mean
        return float(loss) / self.batch_size

    def squared_error(self, values: np.ndarray, targets: np.ndarray) -> float:
        """The mean loss; its gradient goes to the last of `dxs`."""
        d = np.subtract(values, targets, out=self.dxs[-1])
        loss = float(np.dot(d.ravel(), d.ravel())) / d.size
        d *= self.mean * 2 / values.shape[1]
        return loss
