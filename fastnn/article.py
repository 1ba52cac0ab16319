"""The article's half of the network: columns in, checks, then one call into the kernels."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import changes as edition
from .changes import Watched
from .checks import (
    learning_rate as checked_learning_rate,
    positive_integer,
    positive_number,
    seed as checked_seed,
)
from .data.columns import are_class_indices, class_indices, not_finite, rows_from_columns
from .data.rows import many_zeros
from .engine.gradients import GradientPlan, Gradients
from .engine.optimizer_state import OptimizerState
from .engine.plan import Plan
from .engine.threads import run_team, team_size
from .formulas.losses import LossFunction
from .formulas.optimizers import SGD, Optimizer
from .formulas.schedules import Schedule
from .kernels.epoch import train_one
from .kernels.evaluate import forward_rows, forward_sample, loss_rows
from .layers.base import BaseLayer, float_dtype
from .layers.dense import Layer
from .layers.fitting import check_dtypes, check_layers, check_optimizer
from .layers.normalisation import Standardize
from .training.run import Run

Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK_PRODUCTS = 10**9  # an inference kernel comes back after so many multiplications, for Ctrl-C
_WORTH_LOOKING = 10**8  # multiplications of an inference that repay a look for zeros
_KEPT_BYTES = 2**26  # a plan for gradients that takes more memory is made anew for each call
_FORWARD_BLOCK = 128  # samples that one inference pass takes through all layers at once


class ArticleNetwork(Watched):
    """A network with the methods of the article; `fastnn.NeuralNetwork` is this and more.

    `NeuralNetwork` documents the parameters.
    """

    _unwatched = frozenset({"lr", "_plan", "_gradients", "_state", "_lock"})
    _plan: Plan | None = None
    _gradients: GradientPlan | None = None

    def __init__(
        self,
        layers: Iterable[BaseLayer],
        loss_function: LossFunction,
        learning_rate: float | Schedule,
        optimizer: Optimizer | None = None,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dtype: np.typing.DTypeLike | None = None,
    ) -> None:
        try:
            self._layers = layers if isinstance(layers, list) else list(layers)
        except TypeError:
            raise TypeError(f"layers is {layers!r}; expected a list of Layer") from None
        self._loss_function = loss_function
        self.lr = learning_rate if isinstance(learning_rate, Schedule) else checked_learning_rate(learning_rate)
        self.optimizer = SGD() if optimizer is None else optimizer
        self.clip_norm = None if clip_norm is None else positive_number(clip_norm, "clip_norm")
        self.clip_value = None if clip_value is None else positive_number(clip_value, "clip_value")
        check_optimizer(self.optimizer)
        check_layers(self._layers, self._loss_function)
        dense = next(layer for layer in self._layers if isinstance(layer, Layer))
        self.dtype = dense.dtype if dtype is None else float_dtype(dtype)
        for layer in self._layers:
            layer._convert(self.dtype)
        self._state: OptimizerState | None = None
        self._lock = threading.Lock()

    # --- the article's methods ---------------------------------------------------------------

    def forward_pass(self, x: Any) -> Array:
        """The network's outputs for the columns of x.

        Parameters
        ----------
        x : array_like (ins, N)
            One sample a column, of any real dtype. A sample gives the same bits alone and among
            others.

        Returns
        -------
        ndarray (outs, N)

        Raises
        ------
        ValueError, TypeError
            If the shape does not fit, or x holds anything but finite real numbers.
        """
        plan = self._current_plan()
        if self._is_sample(x, plan, plan.column):
            return self._output(x, "x", plan, plan.output_column)
        return np.ascontiguousarray(self._outputs(self._input_rows(x, plan)).T)

    def loss(self, values: Any, expected: Any) -> float:
        """The mean loss of outputs `values` (outs, N) with targets `expected`, as in `train`."""
        plan = self._ready()
        outs = plan.layers[-1].outs
        rows = rows_from_columns(values, "values", outs, f"the last layer has {outs} outputs", plan.dtype)
        targets, classes = self._targets(expected, "expected", rows.shape[0], plan)
        return self._mean_loss(rows, targets, classes)

    def train(
        self,
        x: Any,
        t: Any,
        epochs: int = 1,
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int | None = None,
    ) -> float:
        """Train on the columns of x and t by gradient descent.

        With ``batch_size=1`` this does what a loop over the columns does, one step each.

        Parameters
        ----------
        x : array_like (ins, N)
            One sample a column.
        t : array_like (outs, N), or class indices: int or ints (N,)
            The targets, whichever the loss takes.
        epochs : int, default 1
            How many times to go through all columns.
        batch_size : int, default 1
            Columns to a step. The gradient is the mean over them; a last short batch is used.
        shuffle : bool, default False
            Whether each epoch takes the columns in a new random order.
        seed : int, optional
            Makes the order reproducible; by default it differs from call to call. A call counts
            its epochs from 0, so calls with the same seed take the same order.

        Returns
        -------
        float
            The mean loss over the columns during the last epoch, each taken before its step; not
            finite if training diverged.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit or holds anything but finite real numbers. The network
            is unchanged then.

        Notes
        -----
        Ctrl-C is heard within about a tenth of a second; the steps taken so far stay.
        """
        if (
            type(x) is np.ndarray
            and x.ndim == 2
            and x.shape[1] == 1
            and type(epochs) is type(batch_size) is int
            and epochs == batch_size == 1
            and seed is None
        ):
            plan = self._current_plan()
            if plan.plain is None:
                with plan.lock:
                    plan.descend(self._optimizer_state())
            if plan.article and not isinstance(self.lr, Schedule):
                return self._train_column(x, t, plan)
        epochs, batch_size = positive_integer(epochs, "epochs"), positive_integer(batch_size, "batch_size")
        if seed is not None:
            seed = checked_seed(seed)
        self._learning_rate()
        plan = self._ready()
        rows = self._input_rows(x, plan)
        targets, classes = self._targets(t, "t", rows.shape[0], plan)
        self._adapt(rows)
        run = Run(self, rows, targets, classes, batch_size, shuffle, seed)
        return run.advance(epochs * run.steps_per_epoch)

    def gradients(self, x: Any, t: Any, training: bool = False, seed: int = 0) -> Gradients:
        """The gradients of the mean loss over the columns, without an update.

        Parameters
        ----------
        x, t
            As in `train`.
        training : bool, default False
            Whether dropout, noise and batch normalisation act as in training (running averages
            stay as they are all the same).
        seed : int, default 0
            Of their random numbers.

        Returns
        -------
        Gradients
            The article's lists ``dxs, dWs, dbs``, and the mean loss. The arrays are yours.

        Notes
        -----
        Room for the gradients of as many samples is kept for the next call, unless it takes more than
        64 MB. An optimiser of your own needs less: see `NeuralNetwork.loss_and_gradient`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork
        >>> net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
        >>> dxs, dWs, dbs, loss = net.gradients([[1.0], [2.0]], [[3.0]])
        >>> dWs[0], dbs[0], loss
        (array([[ -6., -12.]]), array([[-6.]]), 9.0)
        """
        plan = self._ready()
        rows = self._input_rows(x, plan)
        targets, classes = self._targets(t, "t", rows.shape[0], plan)
        count = rows.shape[0]
        seed = checked_seed(seed)
        own = self._gradient_plan(count)
        with own.lock:
            return own.gradients(rows, targets, classes, training, seed)

    # --- the rest ----------------------------------------------------------------------------

    @property
    def layers(self) -> list[BaseLayer]:
        """The layers, from input to output."""
        return self._layers

    @property
    def loss_function(self) -> LossFunction:
        """The loss."""
        return self._loss_function

    def __repr__(self) -> str:
        layers = "".join(f"    {layer!r},\n" for layer in self._layers)
        return f"{type(self).__name__}([\n{layers}], {self._loss_function!r}, {self.lr}, dtype={self.dtype.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plan": None, "_gradients": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _train_column(self, x: Array, t: Any, plan: Plan) -> float:
        """One step on one column: `train` for the article's loop, with as little Python as can be."""
        lr = self.lr
        if type(lr) is not float or not 0.0 <= lr < float("inf"):
            lr = self._learning_rate()
        if not self._is_sample(x, plan, plan.column):
            x = self._input_rows(x, plan)
        outs = plan.layers[-1].outs
        with plan.lock:
            if self._loss_function.target != "values" and isinstance(t, (int, np.integer)) and 0 <= t < outs:
                plan.class_index[0, 0] = t
                target, classes = plan.class_index_row, True
            elif (
                self._loss_function.target != "class"
                and type(t) is np.ndarray
                and t.dtype is plan.dtype
                and t.shape == (outs, 1)
                and t.flags.carray
            ):
                target, classes = t, False  # train_one checks that it is finite
            else:
                target, classes = self._targets(t, "t", 1, plan)
            plan.expect(classes)
            x_finite, t_finite, loss = train_one(plan.address, x, target, lr)
        if not (x_finite and t_finite):
            raise not_finite("t", t, plan.dtype) if x_finite else not_finite("x", x, plan.dtype)
        return loss

    def _outputs(self, rows: Array, out: Array | None = None, unchecked: bool = False) -> Array:
        """The outputs (n, outs) for rows, in `out` if it is given; `unchecked` rows may not all be finite."""
        count = rows.shape[0]
        plan = self._ready(min(count, _FORWARD_BLOCK))
        if out is None:
            out = np.empty((count, plan.layers[-1].outs), plan.dtype)
        weights = sum(layer._memory.size for layer in plan.layers)
        sparse = count * weights > _WORTH_LOOKING and many_zeros(rows)
        chunk = _FORWARD_BLOCK * (1 + _CHUNK_PRODUCTS // (weights * _FORWARD_BLOCK))
        for first in range(0, count, chunk):
            last = min(count, first + chunk)

            def part(who: int, first: int = first, last: int = last) -> bool:
                return forward_rows(plan.address, rows, out, first, last, unchecked, who)

            with plan.lock:
                plan.pass_over_zeros(sparse)
                plan.not_finite[0] = 0
                run_team(plan, team_size(weights * (last - first), 1, plan.capacity // 16), part)
                finite = plan.not_finite[0] == 0
            if not finite:
                raise not_finite("X", rows, plan.dtype)
        return out

    def _mean_loss(self, outputs: Array, targets: Array, classes: bool) -> float:
        """The mean loss of outputs (n, outs) with checked targets."""
        plan = self._ready()
        with plan.lock:
            plan.expect(classes)
            total = loss_rows(plan.address, outputs, targets)
        return float(total / outputs.shape[0])

    def _targets(self, t: Any, name: str, count: int, plan: Plan) -> tuple[Array, bool]:
        """Targets for the kernels, in rows of the network's dtype, and whether they are classes."""
        outs, kind = plan.layers[-1].outs, self._loss_function.target
        classes = kind == "class" or (kind is None and are_class_indices(t))
        if not classes:
            rows = rows_from_columns(t, name, outs, f"the last layer has {outs} outputs", plan.dtype)
            if rows.shape[0] != count:
                raise ValueError(
                    f"{name} has {rows.shape[0]} columns but {'values' if name == 'expected' else 'x'} has {count}; "
                    f"expected shape ({outs}, {count})"
                )
            return rows, False
        return class_indices(t, name, count, outs).view(plan.dtype), True

    def _adapt(self, rows: Array) -> None:
        """Fit the layer that standardises the inputs, if there is one that has not been fitted."""
        first = self._layers[0]
        if isinstance(first, Standardize) and not first.fitted:
            first.adapt(rows)

    @staticmethod
    def _is_sample(x: Any, plan: Plan, shape: tuple[int, int]) -> bool:
        """Whether x is one sample of `shape` that a kernel can take as it is (which checks that it is finite)."""
        return type(x) is np.ndarray and x.shape == shape and x.dtype is plan.dtype and x.flags.carray

    @staticmethod
    def _output(x: Array, name: str, plan: Plan, output: Array) -> Array:
        """The output for one sample, a copy of the plan's `output`, with as little Python as can be."""
        with plan.lock:
            finite = forward_sample(plan.address, x)
            out = output.copy()
        if not finite:
            raise not_finite(name, x, plan.dtype)
        return out

    @staticmethod
    def _input_rows(x: Any, plan: Plan) -> Array:
        ins = plan.layers[0].ins
        return rows_from_columns(x, "x", ins, f"the first layer takes {ins} inputs", plan.dtype)

    def _learning_rate(self) -> float:
        """``net.lr`` as a checked number; of a schedule, its first."""
        return self.lr.lr if isinstance(self.lr, Schedule) else checked_learning_rate(self.lr)

    def _optimizer_state(self) -> OptimizerState:
        """The state of the optimiser, for the layers and the optimiser as they are now."""
        state = self._state
        if state is None or not state.belongs_to(self.optimizer, self._layers, self.clip_norm, self.clip_value):
            check_optimizer(self.optimizer)
            state = self._state = OptimizerState(self.optimizer, self._layers, self.clip_norm, self.clip_value)
        return state

    def _current_plan(self) -> Plan:
        """`_ready`, for the calls that must not take time."""
        plan = self._plan
        if (
            plan is None
            or plan.edition != edition.current
            or plan.layers != self._layers
            or plan.loss is not self._loss_function
        ):
            return self._ready()
        return plan

    def _ready(self, capacity: int = 1) -> Plan:
        """The plan, with room for `capacity` samples, for the layers and the loss as they are now."""
        plan = self._plan
        if plan is None or not self._in_use(plan) or plan.capacity < capacity:
            check_layers(self._layers, self._loss_function)
            check_dtypes(self._layers, self.dtype)
            capacity = max(capacity, plan.capacity if plan else 1)
            plan = self._plan = None  # its memory goes before there is more
            plan = self._plan = Plan(self._layers, self._loss_function, self.dtype, capacity, lock=self._lock)
        elif plan.edition != edition.current:
            self._refresh(plan)
        return plan

    def _gradient_plan(self, capacity: int) -> GradientPlan:
        """The same for gradients; a large one is not kept."""
        plan = self._gradients
        if plan is None or not self._in_use(plan) or plan.capacity < capacity:
            self._ready()
            plan = GradientPlan(self._layers, self._loss_function, self.dtype, capacity, self._lock)
            self._gradients = plan if plan.nbytes <= _KEPT_BYTES else None
        elif plan.edition != edition.current:
            self._refresh(plan)
        return plan

    def _in_use(self, plan: Plan) -> bool:
        """Whether it is of the layers and the loss that the network has now."""
        return plan.layers == self._layers and plan.loss is self._loss_function

    def _refresh(self, plan: Plan) -> None:
        check_layers(self._layers, self._loss_function)
        check_dtypes(self._layers, self.dtype)
        with plan.lock:
            plan.refresh()
