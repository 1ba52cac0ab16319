"""The engine: what a network is, and what runs it.

An engine owns the layers, the loss, the optimiser and its state, the learning rate, the plans
(``plan``) and the lock. Whoever trains, saves or asks a network does it through its engine, with
samples that have passed a door (``fastnn.data``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .. import changes
from ..changes import Watched
from ..checks import Array, learning_rate, positive_integer, seed as checked_seed
from ..data.columns import finite_rows, not_finite, real_array
from ..data.form import Form
from ..data.rows import many_zeros, sample_weights
from ..data.samples import Samples
from ..formulas.losses import LossFunction
from ..formulas.metrics import Metric, scores
from ..formulas.optimizers import Optimizer
from ..formulas.schedules import Constant, Schedule
from ..kernels.epoch import step_key
from ..kernels.evaluate import forward_rows, loss_rows
from ..layers.base import BaseLayer, assign, float_dtype
from ..layers.dense import Layer
from ..layers.fitting import check_dtypes, check_layers, check_optimizer
from ..layers.moment import Moment
from ..layers.normalisation import Standardize
from ..layers.targets import StandardizeTargets
from ..layers.vector import vector_size
from ..room import no_room
from .gradients import BatchPart, Exchange, GradientPlan, Gradients
from .optimizer_state import OptimizerState
from .pace import pace_of
from .plan import Plan
from .threads import run_turn, team_size
from .turns import Turns, interrupts_itself

T = TypeVar("T")
P = TypeVar("P", bound=Plan)

_CHUNK_PRODUCTS = 10**9  # an inference kernel comes back after so many multiplications, for Ctrl-C
_WORTH_LOOKING = 10**8  # multiplications of an inference that repay a look for zeros
_KEPT_BYTES = 2**26  # a plan for gradients that takes more memory is made anew for each call
_FORWARD_BLOCK = 128  # samples that one inference pass takes through all layers at once


class Engine(Watched):
    """See the module.

    Parameters
    ----------
    layers : list of BaseLayer
        The list itself is kept: what is put into it later counts.
    loss : LossFunction
    rate : Schedule
        The learning rate; of a fixed one a `Constant`.
    optimizer : Optimizer
    clip_norm, clip_value : float, optional
        Limits of the gradients.
    dtype : "float32" or "float64", optional
        By default that of the first `Layer`; the layers are converted.

    Raises
    ------
    ValueError, TypeError
        If these do not make a network.
    """

    feature_names: tuple[str, ...] | None = None  # of the inputs, as the first fit had them

    _unwatched = frozenset({"rate", "warned", "last_loss", "_plan", "_gradients", "_state"})

    def __init__(
        self,
        layers: list[BaseLayer],
        loss: LossFunction,
        rate: Schedule,
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        dtype: np.typing.DTypeLike | None = None,
    ) -> None:
        check_optimizer(optimizer)
        check_layers(layers, loss)
        self.layers, self.loss, self.rate, self.optimizer = layers, loss, rate, optimizer
        self.clip_norm, self.clip_value = clip_norm, clip_value
        dense = next(layer for layer in layers if isinstance(layer, Layer))
        self.dtype = dense.dtype if dtype is None else float_dtype(dtype)
        for layer in layers:
            layer.convert(self.dtype)
        self.warned = False  # whether the user has heard that this network left the finite numbers
        self.last_loss: float | None = None  # that `train` returned, if it was finite
        self._plan: Plan | None = None
        self._gradients: GradientPlan | None = None
        self._gradient_memory: Array | None = None
        self._state: OptimizerState | None = None
        self._turns = Turns()

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to this process, and with it the `Moment` at which layers and optimiser are to be."""
        with self._turns.lock:
            arrays = {id(layer): layer.memory for layer in self.layers}
            state = self._state
            numbers = () if state is None else (*state.numbers, state.steps, state.epochs)
            return {**self._settings(), "_moment": Moment((*arrays.values(), *numbers))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: value for name, value in state.items() if name != "_moment"})
        self.dtype = np.dtype(self.dtype.type)  # the one object that every array made here has: a copied one is not
        self._turns = Turns()

    def __copy__(self) -> Engine:
        """Another engine of the same layers."""
        twin: Engine = type(self).__new__(type(self))
        twin.__setstate__(self._settings())
        return twin

    def _settings(self) -> dict[str, Any]:
        of_here = ("_plan", "_gradients", "_gradient_memory", "_turns")
        return {**super().__getstate__(), **dict.fromkeys(of_here), "warned": False}

    # --- what it is ----------------------------------------------------------------------------

    @property
    def ins(self) -> int:
        """Number of inputs."""
        return self.layers[0].ins

    @property
    def outs(self) -> int:
        """Number of outputs."""
        return self.layers[-1].outs

    @property
    def form(self) -> Form:
        """What samples for it look like."""
        return self.current().form

    @property
    def state(self) -> OptimizerState:
        """The state of the optimiser, for the layers and the optimiser as they are now."""
        with self._turns.lock:
            state = self._state
            if state is None or not state.belongs_to(self.optimizer, self.layers, self.clip_norm, self.clip_value):
                check_optimizer(self.optimizer)
                state = self._state = OptimizerState(self.optimizer, self.layers, self.clip_norm, self.clip_value)
            return state

    def base_rate(self) -> float:
        """The learning rate as a checked number; of a schedule, the one that its factors multiply."""
        return learning_rate(self.rate.lr)

    def rates(self, steps: int, steps_per_epoch: int, done: int = 0) -> Array:
        """The learning rates of the next so many steps: one for all, unless scheduled.

        A schedule of epochs goes by the epochs that are complete; of the current one, `done` steps are.
        """
        if isinstance(self.rate, Constant):
            return np.array([self.base_rate()])
        state = self.state
        per_step = self.rate.per == "step"
        first = int(state.steps[0]) if per_step else int(state.epochs[0]) * steps_per_epoch + done
        with np.errstate(under="ignore"):  # a rate too small for a number is 0
            return self.rate.rates(first, first + steps, steps_per_epoch)

    @property
    def weights(self) -> list[tuple[Array, ...]]:
        """Copies of the arrays of every layer, all of one moment. Assign such a list to set them, all or none."""
        with self._turns.lock:
            return [tuple(array.copy() for array in layer.arrays().values()) for layer in self.layers]

    @weights.setter
    def weights(self, weights: Sequence[Sequence[Any]]) -> None:
        given = [tuple(arrays) for arrays in weights]
        self.alone(lambda: self._set_weights(given))

    def _set_weights(self, weights: list[tuple[Any, ...]]) -> None:
        places = [layer.arrays() for layer in self.layers]
        if [len(arrays) for arrays in weights] != [len(names) for names in places]:
            have, want = ([len(arrays) for arrays in some] for some in (weights, places))
            raise ValueError(f"weights holds {have} arrays, layer by layer; expected {want}")
        before = self.weights
        try:
            for names, arrays in zip(places, weights):
                for (name, place), array in zip(names.items(), arrays):
                    assign(name, place, array)
            self.clear_up()
            self._offset_changed()
        except (ValueError, TypeError):
            for names, arrays in zip(places, before):
                for place, array in zip(names.values(), arrays):
                    place[...] = array
            self._offset_changed()
            raise

    def clear_up(self) -> None:
        """Take away what steps with NaN left beside the weights, and would make NaN of other weights, too.

        It lies behind the rows of the layers, and in what the optimiser keeps, which begins anew then.
        """
        for layer in self.layers:
            layer.wipe_padding()
        state = self._state
        if state is not None and not state.is_finite:
            state.begin_anew()

    def _offset_changed(self) -> None:
        """Have plans read anew what the door takes off, or standardises with, which lies among the weights."""
        for layer in self.measuring:
            changes.changed(layer)

    @property
    def measuring(self) -> list[Standardize | StandardizeTargets]:
        """The layers that are fitted to the first samples of all."""
        return [layer for layer in self.layers if isinstance(layer, (Standardize, StandardizeTargets))]

    def training_arrays(self, batch_size: int) -> list[Array]:
        """All that training in batches of that size changes, as it lies in memory."""

        def arrays(plan: Plan) -> list[Array]:
            return [*(layer.memory for layer in self.layers), *self.state.arrays()]

        return self.train_with(arrays, batch_size)  # which makes room for the optimiser's numbers

    # --- plans ---------------------------------------------------------------------------------

    def current(self) -> Plan:
        """`plan`, for the calls that must not take time."""
        plan = self._plan
        if (
            plan is None
            or plan.seen != changes.current
            or plan.arrays
            or plan.layers != self.layers
            or plan.loss is not self.loss
        ):
            return self.plan()
        return plan

    def plan(self, capacity: int = 1) -> Plan:
        """The plan, with room for `capacity` samples, for the layers and the loss as they are now."""
        with self._turns.lock:
            return self._new_plan(capacity) if self._turns.busy else self._kept_plan(capacity)

    def _kept_plan(self, capacity: int) -> Plan:
        plan = self._plan
        if plan is None or not self._in_use(plan) or plan.capacity < capacity:
            capacity = max(capacity, plan.capacity if plan else 1)
            plan = self._plan = None  # its memory goes before there is more
            plan = self._plan = self._new_plan(capacity)
        else:
            self._refresh(plan)
        return plan

    def _new_plan(self, capacity: int) -> Plan:
        self._check()
        owners, names = (self, self.optimizer), self.feature_names
        return Plan(self.layers, self.loss, self.dtype, capacity, owners, turns=self._turns, names=names)

    def _gradient_plan(self, capacity: int, apart: bool = False) -> GradientPlan:
        """The same for gradients; a large one is not kept, nor one for a call that has interrupted another."""
        plan = None if apart else self._gradients
        if plan is None or not self._in_use(plan) or plan.capacity < capacity:
            self._check()
            memory = None if apart else self._gradient_memory
            plan = GradientPlan(
                self.layers, self.loss, self.dtype, capacity, (self, self.optimizer), self._turns, memory
            )  # fmt: skip
            if not apart:
                self._gradients = plan if plan.nbytes <= _KEPT_BYTES else None
        else:
            self._refresh(plan)
        return plan

    @contextlib.contextmanager
    def gradients_in(self, memory: Array | None) -> Iterator[None]:
        """Within it, and no longer, all gradients lie in that memory, of ``engine.plan.gradient_numbers``."""
        self._leave_gradients(memory)
        try:
            yield
        finally:
            self._leave_gradients(None)

    def _leave_gradients(self, memory: Array | None) -> None:
        with self._turns.lock:  # nobody is at work in the old one
            self._gradients, self._gradient_memory = None, memory

    def _in_use(self, plan: Plan) -> bool:
        """Whether it is of the layers and the loss that the network has now."""
        return plan.layers == self.layers and plan.loss is self.loss

    def _refresh(self, plan: Plan) -> None:
        if not plan.is_current():
            self._check()
            plan.refresh((self, self.optimizer), self.feature_names)

    def _check(self) -> None:
        check_layers(self.layers, self.loss)
        check_dtypes(self.layers, self.dtype)
        check_optimizer(self.optimizer)

    # --- turns ---------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """Its place in the order in which who works with several engines at once takes their turns."""
        return self._turns.number

    def alone(self, task: Callable[[], T]) -> T:
        """What ``task()`` returns, while no other thread works with this engine: for copies of one moment."""
        with self._turns.lock:
            return task()

    def work_with(
        self, task: Callable[[Plan], T], capacity: int = 1, classes: bool | None = None, sparse: bool = False
    ) -> T:
        """What ``task(plan)`` returns, with a plan that nobody else uses meanwhile, made ready for it.

        Parameters
        ----------
        task : function of a Plan
        capacity : int, default 1
            For how many samples the plan must have room.
        classes : bool, optional
            Whether targets are class indices; None where there are none.
        sparse : bool, default False
            Whether to look for inputs that are zero in a whole batch.
        """

        return self._turn(lambda apart: self._ready(apart, capacity, classes, sparse), task)

    def train_with(
        self, task: Callable[[Plan], T], batch_size: int, classes: bool | None = None, sparse: bool = False
    ) -> T:
        """The same for steps of the optimiser in batches of that size.

        Raises
        ------
        RuntimeError
            If a signal handler or a finaliser calls it in the middle of another call of its own thread.
        """

        def ready(apart: bool) -> Plan:
            if apart:
                raise interrupts_itself()
            plan = self._ready(apart, batch_size, classes, sparse)
            plan.descend(self.state, batches=batch_size > 1)
            return plan

        return self._turn(ready, task)

    def _with_gradients(self, task: Callable[[GradientPlan], T], capacity: int, trains: bool = False) -> T:
        """What ``task(plan)`` returns, with a plan for gradients; `trains` says whether anything changes by it."""

        def ready(apart: bool) -> GradientPlan:
            if apart and trains:
                raise interrupts_itself()
            return self._gradient_plan(capacity, apart)

        return self._turn(ready, task)

    def _turn(self, plan: Callable[[bool], P], task: Callable[[P], T]) -> T:
        """What ``task`` returns for the plan that ``plan(apart)`` gives; `apart` from what this thread is in now."""
        turns = self._turns
        with turns.lock:
            if turns.busy:
                return task(plan(True))
            try:
                turns.busy = True
                return task(plan(False))
            finally:
                turns.busy = False

    def _ready(self, apart: bool, capacity: int, classes: bool | None, sparse: bool) -> Plan:
        plan = self._new_plan(capacity) if apart else self._kept_plan(capacity)
        plan.pass_over_zeros(sparse)
        if classes is not None:
            plan.expect(classes)
        return plan

    # --- inference -----------------------------------------------------------------------------

    def outputs(self, rows: Array, out: Array | None = None, unchecked: bool = False) -> Array:
        """The outputs (n, outs) for rows, in `out` if it is given; `unchecked` rows may not all be finite."""
        count = rows.shape[0]
        block = min(count, _FORWARD_BLOCK)
        try:
            results = np.empty((count, self.outs), self.dtype) if out is None else out
        except (MemoryError, ValueError):  # NumPy has one for each order of magnitude
            nbytes = count * self.outs * self.dtype.itemsize
            raise no_room(nbytes, f"the output ({count}, {self.outs})", "fewer samples in a call") from None
        weights = sum(layer.memory.size for layer in self.layers)
        sparse = count * weights > _WORTH_LOOKING and many_zeros(rows)
        chunk = _FORWARD_BLOCK * (1 + _CHUNK_PRODUCTS // (weights * _FORWARD_BLOCK))
        first = 0
        while first < count:

            def part(plan: Plan, first: int = first) -> int:
                """The next rows; returns those that are done, or -1 if not all are finite."""
                last = min(count, first + chunk)
                size = team_size(weights * (last - first), 1, plan.capacity // 16)
                plan.not_finite[0] = 0
                if size == 1:
                    forward_rows(plan.address, rows, results, first, last, unchecked, 0)
                else:
                    pace = pace_of("inference", plan.dtype, size, weights, block, count.bit_length())
                    turn = pace.turn()
                    last = first + int(min(last - first, max(block, turn.samples)))

                    def kernel(address: int, who: int) -> bool:
                        return forward_rows(address, rows, results, first, last, unchecked, who)

                    run_turn(plan, size, pace, turn, last - first, kernel)
                return -1 if plan.not_finite[0] else last

            first = self.work_with(part, block, sparse=sparse)
            if first < 0:
                raise not_finite("X", rows, self.dtype)
        return results

    def mean_loss(self, outputs: Array, targets: Array, classes: bool, weights: Array | None = None) -> float:
        """The mean loss of outputs (n, outs) with checked targets; with weights sum(weight * loss) / n."""
        counts = np.empty(0) if weights is None else np.ascontiguousarray(weights, np.float64)
        total = self.work_with(lambda plan: loss_rows(plan.address, outputs, targets, counts), classes=classes)
        return float(total / outputs.shape[0])

    def scores(self, samples: Samples, measures: dict[str, Metric], weights: Array | None = None) -> dict[str, float]:
        """The mean loss and the metrics on samples, by name.

        With `weights` (n,) the loss is sum(weight * loss) / n, as in training, and metrics are weighted averages.
        """
        outputs, y = self.outputs(samples.rows), samples.y
        weights = samples.weight if weights is None else weights
        found = {"loss": self.mean_loss(outputs, samples.targets, samples.classes, weights)}
        if y is not None:
            found.update(scores(measures, y, outputs, self.loss, weights, self.form.predictor))
        return found

    # --- training ------------------------------------------------------------------------------

    def adapt(self, rows: Array) -> None:
        """Fit the layer that standardises the inputs, if there is one that has not been fitted."""
        first = self.layers[0]
        if isinstance(first, Standardize) and not first.fitted:
            first.adapt(rows)

    def take_up(self, form: Form | None) -> None:
        """Keep what was learnt about the first samples on their way through the door (see `Form`)."""
        if form is None:
            return
        first, last = self.layers[0], self.layers[-1]
        if isinstance(last, StandardizeTargets) and not last.fitted and form.scale is not None:
            last.keep(form.scale)
            last.fitted = not form.measures_targets
        if form.standard is not None and isinstance(first, Standardize) and not first.fitted:
            first.keep(form.standard)
        if self.feature_names is None and form.names is not None:
            self.feature_names = form.names

    def take_after(self, other: Engine) -> None:
        """Take the weights of a copy that was trained elsewhere, and all else that training changes."""
        self.weights = other.weights
        mine, its = self.state, other.state
        if its.numbers:
            mine.make_room(self.dtype)
            mine.numbers = its.numbers
        mine.steps, mine.epochs = its.steps, its.epochs
        if self.base_rate() != other.base_rate():  # callbacks set the rate, or the first one of a schedule
            if isinstance(self.rate, Constant):
                self.rate = other.rate
            else:
                self.rate.lr = other.rate.lr
        for layer, twin in zip(self.measuring, other.measuring):
            layer.fitted = twin.fitted
        self.feature_names = other.feature_names

    def gradients(
        self, samples: Samples, training: bool = False, seed: int = 0, weights: Array | None = None
    ) -> Gradients:
        """The article's gradients of the mean loss over samples, without an update.

        `training` says whether layers act as in training, `seed` sets their random numbers; `weights`, checked
        already, are those of the samples' losses.
        """
        return self._with_gradients(lambda plan: plan.gradients(samples, training, seed, weights), samples.size)

    def gradient(
        self, samples: Samples, weights: Array | None = None, *, seed: int | None = None, step: int = 0
    ) -> tuple[float, Array]:
        """The mean loss over samples, and its gradient in one vector (see ``layers.vector``), without an update.

        Raises
        ------
        ValueError, TypeError
            If the samples are not of this network's `form`, or weights, seed or step do not fit.

        Parameters
        ----------
        samples : Samples
        weights : ndarray (n,) of float64, optional
            Weights of the samples' losses.
        seed, step : int, optional
            With a seed, layers act as in step number `step` of a fit under that seed, and running averages
            move; without, as in inference.
        """
        training, key = 0, 0
        if seed is not None:
            training, key = 1, step_key(checked_seed(seed), positive_integer(step + 1, "step + 1") - 1)
        if weights is not None:
            weights = sample_weights(weights, None, None, samples.size, "weights")
        return self._with_gradients(
            lambda plan: plan.vector(samples, weights, training, key), samples.size, trains=training == 1
        )

    def step(self, vector: Array, lr: float | None = None) -> float:
        """One step of the optimiser from a gradient that came from elsewhere; returns the penalties.

        With `gradient` before it, it is a training step in two halves, with the same bits on batches of 2
        to 256 samples: penalties and limits come with the step. Between the halves gradients of other
        machines can be added, or an optimiser of another library asked. Of a layer that stands in several
        places the vector holds the sum of its gradients, and the step takes that at once, where training
        takes a step at each of its places.

        Parameters
        ----------
        vector : ndarray (n,)
            As `gradient` returns it: of the network's dtype, in the layout of ``layers.vector``.
        lr : float, optional
            By default the learning rate of the next step, where it is not counted in epochs.

        Raises
        ------
        ValueError, TypeError
            If the vector does not fit or is not finite, or the rate depends on the epoch, which nobody
            counts here.
        """
        vector, size = real_array(vector, "vector"), vector_size(self.layers)
        if vector.shape != (size,):
            raise ValueError(f"vector has shape {vector.shape}; expected ({size},)")
        vector = finite_rows(vector.reshape(1, size), "vector", vector, self.dtype)[0]
        if lr is None:
            if self.rate.per != "step":
                raise ValueError(f"lr is None but {self.rate!r} counts epochs; expected the rate of this step")
            lr = float(self.rates(1, 1)[0])
        rate = learning_rate(lr)
        return self._with_gradients(lambda plan: plan.step(vector, self.state, rate), 1, trains=True)

    def shared_step(
        self, part: BatchPart, exchange: Exchange, capacity: int, *, seed: int, step: int, lr: float
    ) -> tuple[float, float]:
        """A training step on a batch of which others have the rest; returns the sum of the losses here, and penalties.

        It is `gradient` and `step` in one turn, without copies or checks: all gradients lie in one array, which
        ``exchange.add`` replaces by the sum of everybody's. What lies behind the last gradient is one number for
        its own use. The array's layout is that of the kernels, and depends on the processor. Where ``exchange.size``
        says so, each adds up and descends on a part, and passes on the new weights; the optimiser's numbers of
        the others' parts then are old, until `share_numbers`.

        Parameters
        ----------
        part : BatchPart
        exchange : Exchange
            What its `add` raises ends the step before the weights change.
        capacity : int
            The largest part that will come.
        seed, step : int
            As of `gradient`.
        lr : float
        """
        key = step_key(seed, step)
        return self._with_gradients(
            lambda plan: plan.shared_step(part, key, exchange, self.state, lr), capacity, trains=True
        )

    def share_numbers(self, exchange: Exchange) -> None:
        """Let everybody have the numbers of the optimiser that the others have moved in a `shared_step`."""
        self._with_gradients(lambda plan: plan.share_numbers(exchange, self.state), 1, trains=True)
