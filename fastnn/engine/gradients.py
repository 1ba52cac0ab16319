"""The gradients of a network, and the memory in which they are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..changes import Watched
from ..checks import Array
from ..data.batches import Batches
from ..data.samples import Samples
from ..formulas.losses import LossFunction
from ..kernels.descent import rows_of_part
from ..kernels.epoch import step_given
from ..kernels.evaluate import gradient_rows
from ..kernels.records import RUN
from ..layers.base import BaseLayer, aligned_zeros
from ..layers.fitting import check_batches
from ..layers.vector import trained, unpacked, vector_size
from ..room import room
from .optimizer_state import OptimizerState
from .plan import Plan, gradient_numbers
from .threads import run_call, team_size
from .turns import Turns

UPDATE_PRODUCTS = 16  # multiplications of a product that take as long as the update of one number
WORTH_PARTING = 100_000  # numbers of an update whose parts cost less on several processes than it does on each


class Gradients(NamedTuple):
    """What `NeuralNetwork.gradients` returns; the lists are the article's.

    Attributes
    ----------
    dxs : list of ndarray
        ``dxs[i]``, (layers[i].ins, N): gradient with respect to the input of layer i; one more at
        the end, (outs, N), with respect to the network's output.
    dWs, dbs : list of ndarray
        ``dWs[i]`` (outs, ins) and ``dbs[i]`` (outs, 1): with respect to the weights and biases.
    loss : float
        The mean loss of the samples.
    """

    dxs: list[Array]
    dWs: list[Array]
    dbs: list[Array]
    loss: float


class BatchPart(NamedTuple):
    """The samples of a batch that this process has, of which there may be none.

    Attributes
    ----------
    samples : Samples or None
    weights : ndarray (n,) of float64, or None
        Of their losses. A batch's gradient is the sum of what all give, so one of 300 samples, of which 100 are here,
        has weights of 100 / 300 here.
    outputs : ndarray (n, outs) or None
        Where the outputs go that the step has computed.
    """

    samples: Samples | None
    weights: Array | None = None
    outputs: Array | None = None


Part = list[slice]  # of what lies in the memory of all gradients


class Exchange(Protocol):
    """Those who have a batch together: what they give each other in a step, of the memory of all gradients.

    Attributes
    ----------
    size : int
        How many they are, if each may update a part of the weights and pass it on, else 1.
    rank : int
        Which of them this is.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def add(self, block: Array, parts: Sequence[Part] | None = None) -> None:
        """Replace `block` by the sum of everybody's, or, where it has parts, one for each, no more than its own one."""

    def pass_on(self, parts: Sequence[Part], places: Sequence[Sequence[Array]]) -> None:
        """Give everybody what is at the places of the own part, and take the others': by way of their blocks."""


class GradientPlan(Plan):
    """A plan with room for every gradient of `capacity` samples. Who calls its methods has the turn.

    The gradients lie in `memory`, if it is given (see `Plan`).
    """

    def __init__(
        self,
        layers: list[BaseLayer],
        loss: LossFunction,
        dtype: np.dtype[Any],
        capacity: int,
        owners: Sequence[Watched],
        turns: Turns,
        memory: Array | None = None,
    ) -> None:
        self._own = memory is None
        if memory is None:
            numbers = gradient_numbers(layers, dtype)
            with room(numbers * dtype.itemsize, "room for all gradients", "a smaller network"):
                memory = aligned_zeros(numbers, dtype)
        self.every_dW = memory
        super().__init__(layers, loss, dtype, capacity, owners, gradients=self.every_dW, turns=turns)
        self._vector = np.empty(vector_size(layers), self.dtype)
        self._no_vector = self._vector[:0]
        self._pieces: list[tuple[Array, Array]] = []
        self._more: list[tuple[Array, Array]] = []  # of layers that stand in several places: their gradients add up
        places = {id(layer): place for layer, place in zip(trained(layers), unpacked(self._vector, layers))}
        seen: set[int] = set()
        for row, layer, dW in zip(self._table, layers, self.dWs):
            place = places[id(layer)]
            row["place"] = (place.ctypes.data - self._vector.ctypes.data) // self.dtype.itemsize
            pieces = self._more if id(layer) in seen else self._pieces
            pieces.append((place, dW[:, : layer.outs]))
            seen.add(id(layer))
        self._count = 0  # of the samples that the article's arrays are for
        self._inputs = True  # whether the gradient of the network's input is computed
        self._run = np.zeros(1, RUN)
        self._run_address = int(self._run.ctypes.data)
        self._weighted = False  # whether it says the weights of the last call
        self._layer_parts: list[Part] = []

    @property
    def nbytes(self) -> int:
        """See `Plan`; with the gradients, if their memory is its own."""
        return super().nbytes + (self.every_dW.nbytes if self._own else 0)

    def refresh(self, owners: Sequence[Watched], names: tuple[str, ...] | None = None) -> None:
        """Read anew what has changed; what a layer that is frozen now had as a gradient is gone."""
        super().refresh(owners, names)
        for dW in self.dWs:
            dW[...] = 0.0

    def gradients(self, samples: Samples, training: bool, seed: int, weights: Array | None = None) -> Gradients:
        """All gradients, in arrays of their own."""
        loss = self._backward(samples, True, 2 if training else 0, seed, weights)
        if samples.size != self._count:
            self._make_views(samples.size)
        dxs, dWs, dbs = ([view.copy("K") for view in views] for views in self._views)
        return Gradients(dxs, dWs, dbs, loss)

    def _make_views(self, count: int) -> None:
        """The article's arrays for so many samples, as views of the plan's memory."""
        self._count = count
        sizes = [*(layer.ins for layer in self.layers), self.layers[-1].outs]
        self._views = (
            [dx[:count, :size].T for dx, size in zip(self.dxs, sizes)],
            [dW[:-1, :size].T for dW, size in zip(self.dWs, sizes[1:])],
            [dW[-1:, :size].T for dW, size in zip(self.dWs, sizes[1:])],
        )

    def vector(
        self, samples: Samples, weights: Array | None = None, training: int = 0, key: int = 0
    ) -> tuple[float, Array]:
        """The loss, and the gradient of what training changes in one vector.

        With training 1 and a step's key (``kernels.epoch.step_key``) all happens that happens in that
        step but its update; with 2 the stages act as in training and leave no trace.
        """
        vector = np.empty(self._vector.size, self.dtype)
        return self._backward(samples, False, training, key, weights, vector), vector

    def step(self, vector: Array, state: OptimizerState, lr: float) -> float:
        """A training step from a gradient as `vector` gives it; returns the penalties, which are a part of the loss.

        It gives the bits of a training step on the samples that the gradient is of, if those are 2
        to 256: a step on a single sample rounds ``lr * x`` first, and one without an optimiser on more
        than 256 takes their gradient off the weights in pieces.
        """
        # Of a layer that stands in several places the vector holds one gradient, their sum: it is given to the
        # first place, and zero to the others. The update of each place is made in turn, as in training, so what
        # is due once for each place, penalties and the decay of weights, is due here as often.
        self._vector[...] = vector
        for place, dW in self._pieces:
            dW[...] = place
        for _, dW in self._more:
            dW[...] = 0.0
        return self._descend(state, lr)

    def shared_step(
        self, part: BatchPart, key: int, exchange: Exchange, state: OptimizerState, lr: float
    ) -> tuple[float, float]:
        """A training step on a batch of which others have the rest: see `Engine.shared_step`."""
        loss = 0.0
        if part.samples is None:
            self.every_dW[...] = 0.0
        else:
            outputs = part.outputs
            self._run[0]["outputs"] = 0 if outputs is None else outputs.ctypes.data
            try:
                loss = self._backward(part.samples, False, 1, key, part.weights) * part.samples.size
            finally:
                self._run[0]["outputs"] = 0
        self.descend(state, batches=True)
        if not self._may_part(exchange):
            exchange.add(self.every_dW)
            return loss, self._descend(state, lr)
        parts = self._parts(exchange.size)
        exchange.add(self.every_dW, parts)
        self._record[0]["part"], self._record[0]["parts"] = exchange.rank, exchange.size
        try:
            penalties = self._descend(state, lr)
        finally:
            self._record[0]["part"], self._record[0]["parts"] = 0, 1
        exchange.pass_on(parts, self._in_parts(self._memories, exchange.size))
        return loss, penalties

    def share_numbers(self, exchange: Exchange, state: OptimizerState) -> None:
        """Give everybody the optimiser's numbers, where each has moved a part of them: see `Engine.share_numbers`."""
        self.descend(state, batches=True)
        if self._may_part(exchange):
            parts = self._parts(exchange.size)
            for kind in range(len(state.starts)):
                exchange.pass_on(parts, self._in_parts([numbers[kind] for numbers in state.numbers], exchange.size))

    def _may_part(self, exchange: Exchange) -> bool:
        """Whether each may update a part: it needs to know no more of the others', and it repays passing it on."""
        if exchange.size == 1 or self.every_dW.size < WORTH_PARTING:
            return False
        record, table = self._record[0], self._table
        together = record["update"] != 0 and record["whole"] != 0
        return not (together or record["limits"] or np.any(table["l1"]) or np.any(table["l2"]))

    def _parted(self, size: int) -> list[Part]:
        """Which numbers of each layer's memory are the part of each of `size`."""
        if len(self._layer_parts) != size:
            rows = [[rows_of_part(int(row["rows"]), part, size) for row in self._table] for part in range(size)]
            strides = self._table["stride"].tolist()
            self._layer_parts = [
                [slice(first * stride, last * stride) for (first, last), stride in zip(part, strides)] for part in rows
            ]
        return self._layer_parts

    def _parts(self, size: int) -> list[Part]:
        """The same in the memory of all gradients."""
        starts = np.cumsum([0, *(dW.size for dW in self.dWs)]).tolist()
        return [
            [slice(start + one.start, start + one.stop) for start, one in zip(starts, part)]
            for part in self._parted(size)
        ]

    def _in_parts(self, memories: Sequence[Array], size: int) -> list[list[Array]]:
        """The same in memories that have one row for each row of a layer's gradient, and may have more behind them."""
        flat = [memory.reshape(-1) for memory in memories]
        return [[memory[one] for memory, one in zip(flat, part)] for part in self._parted(size)]

    def _descend(self, state: OptimizerState, lr: float) -> float:
        """A step of the optimiser from the gradients that lie in the memory of this plan; returns the penalties."""
        for dW, layer in zip(self.dWs, self.layers):
            dW[:, layer.outs :] = 0.0  # what an overflow may have left there
            if not layer.trainable:
                dW[...] = 0.0
        self.descend(state, batches=True)
        self.choose_descent()
        numbers = self._vector.size
        size, products = team_size(UPDATE_PRODUCTS * numbers, 1, numbers), UPDATE_PRODUCTS * numbers
        run_call(self, size, "step", products, 1, lambda address, who: step_given(address, self._vector, lr, who))
        if self.plain:
            state.steps += 1
        return float(self.loss_sum[0])

    def _backward(
        self,
        samples: Samples,
        inputs: bool,
        training: int,
        key: int,
        weights: Array | None = None,
        vector: Array | None = None,
    ) -> float:
        """Compute the gradients, in a `vector`, too, if there is one.

        `inputs` says whether that of the network's input is wanted.
        """
        if not samples.fit(self.form):  # here and not before the turn: the layers may be others by then
            raise ValueError(f"samples do not fit; expected what Samples.of_rows(engine.form, X, y) makes: {self.form}")
        if training:
            check_batches(self.layers, Batches.full(samples.size, samples.size), samples.size)
        self.expect(samples.classes)
        if inputs is not self._inputs:
            self._table[0]["dx_in"] = self.dxs[0].ctypes.data if inputs else 0
            self._inputs = inputs
        run, rows, targets = self._run_address, samples.rows, samples.targets
        packed = self._no_vector if vector is None else vector
        count = len(rows)
        if weights is not None or self._weighted:
            self._run[0]["weights"] = 0 if weights is None else weights.ctypes.data
            self._weighted = weights is not None
        size = team_size(3 * count * self.products, 1, count // 4)

        def kernel(address: int, who: int) -> bool:
            return gradient_rows(address, run, rows, targets, packed, training, key, who)

        run_call(self, size, "gradients", 3 * self.products, count, kernel)
        return float(self.loss_sum[0]) / count
