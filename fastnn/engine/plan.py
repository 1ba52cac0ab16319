"""The plan of a network: all its memory laid out once, and the table that leads a kernel to it.

A plan belongs to one network and one dtype. It holds the scratch memory for `capacity` samples
(pre-activations y, outputs x, gradients dx and db of every layer), the parameters of the
activations and of the loss, and the records (``kernels.records``) with the addresses of all that.
Kernels get the address of the network's record and allocate nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .. import changes
from ..changes import Watched
from ..checks import Array
from ..data.form import Form
from ..formulas.activations import ActivationFunction
from ..formulas.losses import LossFunction, check_loss
from ..formulas.optimizers import Optimizer, moves_zeros
from ..kernels import tiny
from ..kernels.blocks import activation_blocks, loss_block, update_block
from ..kernels.clock import clock_address, ticks_per_second
from ..kernels.cpu import VECTOR_BYTES, padded, whole_vectors
from ..kernels.descent import band_rows, descend_address
from ..kernels.epoch import steps_address, train_one_of
from ..kernels.evaluate import forward_sample_of
from ..kernels.fields import arrays_read, parameter_values
from ..kernels.products import DEPTH, multiply_address
from ..kernels.records import LAYER, NETWORK, STAGE
from ..kernels.recursion import flipped_numbers
from ..kernels.single import WIDE
from ..kernels.stages import stage_addresses
from ..kernels.team import MEETINGS, futex, give_way_address, team_addresses
from ..kernels.zeros import nonzero_columns_address
from ..layers.base import BaseLayer, aligned_zeros
from ..layers.fitting import shared_elsewhere
from ..layers.normalisation import Standardize
from ..layers.stage import Stage
from ..layers.targets import StandardizeTargets
from ..room import room
from .optimizer_state import OptimizerState
from .pace import Turn
from .turns import Turns


def _address(array: Array) -> int:
    return int(array.ctypes.data)


def gradient_numbers(layers: Sequence[BaseLayer], dtype: np.dtype[Any]) -> int:
    """The length of all dW in one array: place by place and padded, and then a number that no kernel uses."""
    return sum(layer.shape[0] * padded(layer.outs, dtype) for layer in layers) + 1


# Seconds for which a thread of a team looks for others before it lets the system wait: about what that costs. A share
# is seldom later than this while every thread has a core.
_SPIN = 50e-6


class Plan:
    """See the module.

    Parameters
    ----------
    layers, loss, dtype
        Of the network.
    capacity : int
        For how many samples there is room.
    owners : sequence of Watched
        Whose changes may change what a step of training is: the engine and its optimiser.
    gradients : ndarray of `gradient_numbers`, optional
        Memory for every dW, one after the other; then there is room for dx of the network's input, too.
    turns : Turns, optional
        Of the network: one call at a time, with this or a later plan.
    names : tuple of str, optional
        Of the inputs.
    """

    def __init__(
        self,
        layers: list[BaseLayer],
        loss: LossFunction,
        dtype: np.dtype[Any],
        capacity: int,
        owners: Sequence[Watched] = (),
        *,
        gradients: Array | None = None,
        turns: Turns | None = None,
        names: tuple[str, ...] | None = None,
    ) -> None:
        self.turns = turns or Turns()
        # np.dtype(type) is the one object that every array made here has: a copied one is not
        self.layers, self.loss, self.dtype, self.capacity = list(layers), loss, np.dtype(dtype.type), capacity
        self.products = sum(layer.ins * layer.outs for layer in layers)  # of one sample in the forward pass
        self._kept: list[Array] = []
        self._table = np.zeros(len(layers), LAYER)
        self._record = np.zeros(1, NETWORK)
        self.address = _address(self._record)
        self._loss_blocks: dict[bool, int] = {}
        self._class_target: bool | None = None
        self._passes_over = False
        self._tiny = 0  # the address of its own kernel
        self._descent: tuple[OptimizerState, bool] | None = None
        self.plain: bool | None = None  # whether a step is W -= lr dW and nothing else; None: not known yet
        self._adjusts = False  # whether penalties or limits change what a step takes off the weights
        self.article: bool | None = None  # whether the article's loop is all there is to a step
        self.seen = 0  # `changes.current` at the last look
        self._watched: list[Watched] = []
        self.arrays: list[tuple[Watched, dict[str, Array]]] = []  # that formulas read, and their numbers at that look
        self._stamps: list[int] = []
        self._memories: list[Array] = [np.empty(0)] * len(layers)
        self._layer_values: list[Array] = [np.empty(0)] * len(layers)
        each = 4 * sum(padded(layer.outs, dtype) for layer in layers) + layers[0].ins + layers[-1].outs
        what = f"room for {capacity:,} samples at a time" + ("" if gradients is None else ", and for all gradients,")
        with room(capacity * each * dtype.itemsize, what, "a smaller batch_size, or fewer samples in a call"):
            self._lay_out(gradients)
        self.refresh(owners, names)

    @cached_property
    def forward_sample(self) -> Callable[[int, Array, Array], bool]:
        """See ``kernels.evaluate``."""
        return forward_sample_of(self.dtype)

    @cached_property
    def train_one(self) -> Callable[[int, Array, Array, float], tuple[bool, bool, float]]:
        """See ``kernels.epoch``."""
        return train_one_of(self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes of scratch memory and tables (the parameters belong to the layers)."""
        own = (self._table, self._record, self._bands, self._numbers, self._places, *self._flipped)
        return sum(array.nbytes for array in (*self._kept, *own, self._stages, self.not_finite))

    def _new(self, *shape: int, dtype: np.dtype[Any] | None = None) -> Array:
        array = aligned_zeros(int(np.prod(shape)), dtype or self.dtype).reshape(shape)
        self._kept.append(array)
        return array

    def _lay_out(self, gradients: Array | None) -> None:
        """Make the scratch memory and write its addresses and the sizes into the table."""
        layers, capacity = self.layers, self.capacity
        strides = [padded(layer.outs, self.dtype) for layer in layers]
        stride_in = [padded(layers[0].ins, self.dtype), *strides[:-1]]
        dxs = [self._new(capacity, stride) for stride in strides]
        self.dxs, self.dWs, placed = dxs, [], 0
        last = {id(layer): index for index, layer in enumerate(layers)}
        for index, (row, layer, stride) in enumerate(zip(self._table, layers, strides)):
            row["ins"], row["outs"], row["stride"], row["stride_in"] = layer.ins, layer.outs, stride, stride_in[index]
            row["columns"] = whole_vectors(layer.outs, self.dtype)
            row["columns_in"] = whole_vectors(layer.ins, self.dtype)
            y, x = (self._new(capacity, stride) for _ in "yx")
            row["y"], row["x"] = _address(y), _address(x)
            row["dx"], row["db"] = _address(dxs[index]), _address(self._new(capacity, stride))
            row["rows"], row["band"] = layer.shape[0], band_rows(layer.shape[0], stride)
            row["penalties"], row["squares"] = (
                _address(self._new(max(1, layer.shape[0]), dtype=np.dtype(np.float64))) for _ in range(2)
            )
            row["again"] = last[id(layer)] > index
            if index > 0:
                row["dx_in"] = _address(dxs[index - 1])
            if gradients is not None:
                numbers = layer.shape[0] * stride
                self.dWs.append(gradients[placed : placed + numbers].reshape(layer.shape[0], stride))
                row["dW"], placed = _address(self.dWs[-1]), placed + numbers
        # Where a sample that is a view, or of another dtype, is copied to
        ins, outs = layers[0].ins, layers[-1].outs
        self.sample, self.target = self._new(ins, 1), self._new(outs, 1)
        self.class_index = np.zeros((1, 1), np.int64)
        self.class_index_row = self.class_index.view(self.dtype)
        if gradients is not None:
            self.dxs = [self._new(capacity, stride_in[0]), *dxs]
            self._table[0]["dx_in"] = _address(self.dxs[0])
        record = self._record[0]
        record["depth"], record["layers"], record["capacity"] = len(layers), _address(self._table), capacity
        record["multiply"] = multiply_address(self.dtype)
        record["last_loss"] = np.nan
        self.loss_sum = self._new(1, dtype=np.dtype(np.float64))
        record["loss_sum"] = _address(self.loss_sum)
        if layers[0].ins >= WIDE:
            record["counts"] = _address(self._new(-(-layers[0].ins // DEPTH), dtype=np.dtype(np.int64)))
        # A target is `outs` numbers or one int64, which takes one number or two
        items = max(layers[-1].outs, 8 // self.dtype.itemsize)
        record["batch_x"] = _address(self._new(capacity, layers[0].ins))
        record["batch_t"] = _address(self._new(capacity, items))
        most = max(capacity, max(layer.ins for layer in layers)) + 1
        self._numbers = np.arange(most)
        record["numbers"] = _address(self._numbers)
        record["losses"] = _address(self._new(capacity, dtype=np.dtype(np.float64)))
        # Which layers may hand a gradient down by their W; that of the first one comes and goes
        self._hands_down = [
            bool(row["dx_in"]) and not isinstance(layer, Stage) for row, layer in zip(self._table, layers)
        ]
        for row, hands, flipped in zip(self._table, self._hands_down, self._flipped_numbers(1)):
            if hands and not flipped:
                row["Wt"] = _address(self._new(int(row["columns"]), int(row["stride_in"])))
        self.not_finite = np.zeros(1, np.int64)
        record["not_finite"] = _address(self.not_finite)
        record["team"] = record["parts"] = 1
        record["clock"], record["give_way"] = clock_address(), give_way_address()
        record["syscall"], record["futex"] = futex()
        record["spin"] = int(_SPIN * ticks_per_second())
        self._team = 0
        self._make_room(1)

    def muster(self, team: int, turn: Turn) -> tuple[Array, Array]:
        """The record of a call of a team of so many threads, and its meetings: see ``kernels.team``."""
        self._make_room(team)
        record, meetings, ticks = self._record.copy(), aligned_zeros(MEETINGS, np.dtype(np.int64)), ticks_per_second()
        call = record[0]
        call["itself"] = _address(record)
        for field, address in team_addresses().items():
            call[field] = address
        call["team"], call["meetings"], call["patience"] = team, _address(meetings), int(turn.patience * ticks)
        call["a_sample"], call["allowance"] = turn.a_sample * ticks, turn.allowance * ticks
        return record, meetings

    def _make_room(self, team: int) -> None:
        """Let each thread of a team have what it needs for itself."""
        record = self._record[0]
        if team > self._team:
            numbers = max(VECTOR_BYTES, int((self._table["band"] * self._table["stride"]).max()))
            self._bands = aligned_zeros(team * numbers, self.dtype)
            self._places = np.zeros(team * self.layers[0].ins, np.int64)
            record["bands"], record["band_bytes"] = _address(self._bands), numbers * self.dtype.itemsize
            record["places"] = _address(self._places)
            self._flipped = [aligned_zeros(count, self.dtype) for count in self._flipped_numbers(team)]
            self._table["flipped"] = [_address(array) if array.size else 0 for array in self._flipped]
            self._stages = np.zeros(team, STAGE)
            record["stages"] = _address(self._stages)
            self._team = team

    def _flipped_numbers(self, team: int) -> list[int]:
        """What each layer needs for `multiply_flipped`; 0 where W is transposed, or no gradient is handed down."""
        return [
            flipped_numbers(layer.ins, layer.outs, self.capacity, team, self.dtype) if hands else 0
            for layer, hands in zip(self.layers, self._hands_down)
        ]

    def is_current(self) -> bool:
        """Whether nothing that the plan was made of has changed since."""
        for thing, arrays in self.arrays:
            if any(not np.array_equal(getattr(thing, name), array) for name, array in arrays.items()):
                changes.changed(thing)
        now = changes.current
        if self.seen == now:
            return True
        if [thing.stamp for thing in self._watched] != self._stamps:
            return False
        self.seen = now  # it was somebody else
        return True

    def refresh(self, owners: Sequence[Watched], names: tuple[str, ...] | None = None) -> None:
        """Read anew what has changed: parameters, activations, the loss, or what a step is.

        All or nothing: where a formula cannot be compiled, the plan stays as it was, and out of date.
        """
        now = changes.current
        acts = [getattr(layer, "act_function", layer) for layer in self.layers]
        watched = [*owners, self.loss, *self.layers, *acts]
        compiled = [thing for thing in watched if isinstance(thing, (LossFunction, ActivationFunction, Optimizer))]
        stamps = [thing.stamp for thing in watched]  # before what they stamp: a change meanwhile is seen next time
        arrays = [(thing, {name: array.copy() for name, array in arrays_read(thing).items()}) for thing in compiled]
        before = set(self._stamps)  # no stamp is ever given twice
        # Taken once: another thread may be about to give a shared layer other memory
        memories = [layer.memory for layer in self.layers]
        self._check(memories)
        moved = [
            index for index, (layer, act) in enumerate(zip(self.layers, acts)) if not {layer.stamp, act.stamp} <= before
        ]
        entries = {index: self._formulas_of(self.layers[index]) for index in moved}
        new_loss = parameter_values(self.loss, self.dtype) if self.loss.stamp not in before else None
        for index, (formulas, values) in entries.items():
            self._write_layer(index, memories[index], formulas, values)
        if new_loss is not None:
            # A kernel may be at work with these until the next refresh, whatever becomes of the loss
            self._loss_values = new_loss
            self._record[0]["loss_self"] = _address(new_loss)
            self._loss_blocks.clear()
            self._class_target = None
        self._record[0]["has_stages"] = any(isinstance(layer, Stage) for layer in self.layers)
        self._record[0]["limits"] = any(layer.max_norm for layer in self.layers)
        self.form = self._form(names)
        self.predictor = self.form.predictor
        # Of an offset no sample has the shape: all pass the door, which takes it off
        one = self.form.ins if self.form.offset is None else -1
        self.column, self.row = (one, 1), (1, one)
        self.output_column, self.output_row = (self.form.outs, 1), (1, self.form.outs)
        self._tiny = 0
        self._descent = self.plain = self.article = None
        self._watched, self._stamps, self.seen = watched, stamps, now
        self.arrays = [(thing, kept) for thing, kept in arrays if kept]

    def _form(self, names: tuple[str, ...] | None) -> Form:
        """What samples look like; names are of no use once the first layer has another width."""
        first, last = self.layers[0], self.layers[-1]
        names = names if names is not None and len(names) == first.ins else None
        inputs: dict[str, Any] = {}
        targets: dict[str, Any] = {}
        if isinstance(first, Standardize):
            inputs = {"offset": first.shift, "measures": not first.fitted}
        if isinstance(last, StandardizeTargets):
            targets = {"scale": last.scale, "measures_targets": not last.fitted}
        return Form(first.ins, last.outs, self.dtype, self.loss, names=names, **inputs, **targets)

    def _check(self, memories: list[Array]) -> None:
        """See that the layers' memories are of the size and the dtype that the table says."""
        strides = self._table["stride"].tolist()
        for index, (layer, memory, stride) in enumerate(zip(self.layers, memories, strides)):
            if memory.dtype != self.dtype or memory.size != layer.memory_rows * stride:
                raise shared_elsewhere(index, memory.dtype, self.dtype)

    def _write_layer(self, index: int, memory: Array, formulas: dict[str, int], values: Array) -> None:
        """Write what the kernels must know of a layer into the table, and keep alive what it points to."""
        row, layer = self._table[index], self.layers[index]
        self._memories[index], self._layer_values[index] = memory, values
        row["W"] = _address(memory)
        row["b"] = row["W"] + layer.ins * row["stride"] * self.dtype.itemsize
        row["act"] = _address(values)
        row["l1"], row["l2"], row["max_norm"] = layer.l1, layer.l2, layer.max_norm or 0.0
        row["frozen"] = not layer.trainable
        for name, value in formulas.items():
            row[name] = value

    def _formulas_of(self, layer: BaseLayer) -> tuple[dict[str, int], Array]:
        """What the table says of a layer's formulas, and the parameters they use."""
        if isinstance(layer, Stage):
            forward, backward = stage_addresses(type(layer), self.dtype)
            return {"forward": forward, "backward": backward}, np.array(layer.settings, dtype=np.float64)
        act = layer.act_function  # type: ignore[attr-defined]
        f, df = activation_blocks(act, self.dtype)
        with np.errstate(all="ignore"):
            wipe = not np.all(np.isfinite(act.df(self.dtype.type(0))))
        return {"f": f, "df": df, "wipe_padding": int(wipe), "forward": 0, "backward": 0}, parameter_values(
            act, self.dtype
        )

    def descend(self, state: OptimizerState, batches: bool = False) -> None:
        """Set the training kernels up for the optimiser of `state`.

        `batches` says whether steps take many samples. A layer that stands twice in the network
        then needs both its gradients before either update; sample by sample it is updated at each
        of its turns, as in the article.
        """
        if self._descent is not None and self._descent[0] is state and self._descent[1] is batches:
            return
        plain = state.is_plain and not (batches and np.any(self._table["again"]))
        record = self._record[0]
        record["steps"] = _address(state.steps)
        if plain:
            record["update"] = record["whole"] = 0
        else:
            state.make_room(self.dtype)
            values = parameter_values(state.optimizer, self.dtype)
            record["update"] = update_block(state.optimizer, self.dtype)
            record["update_self"] = _address(values)
            record["wipe_padding"] = moves_zeros(state.optimizer)
            record["clip_norm"], record["clip_value"] = state.clip_norm or 0.0, state.clip_value or 0.0
            record["whole"] = state.needs_whole_gradients
            for row, numbers in zip(self._table, state.numbers):
                if numbers.shape[1:] != (row["rows"], row["stride"]):
                    raise ValueError(
                        f"the optimiser has numbers of shape {numbers.shape} for {row['rows']} trained rows"
                    )
            for row, layer, gradient, numbers in zip(self._table, self.layers, state.gradients, state.numbers):
                row["state"] = _address(numbers)
                row["lr_factor"], row["bias_lr_factor"] = layer.lr_factors(state.optimizer)
                if not self.dWs:  # a plan with room for every gradient has its own
                    row["dW"] = _address(gradient)
            self._update_values = values
        penalties = np.any(self._table["l1"]) or np.any(self._table["l2"])
        self._adjusts = not plain and bool(penalties or record["limits"] or record["clip_value"] or record["whole"])
        self._descent, self.plain = (state, batches), plain
        self.article = bool(plain and not record["has_stages"])

    @property
    def last_loss(self) -> float | None:
        """The last finite loss of a single sample's step, if there was one."""
        loss = float(self._record[0]["last_loss"])
        return None if np.isnan(loss) else loss

    def count_steps(self, steps: int) -> None:
        """Count so many steps of the optimiser, unless the kernel has done it."""
        if self.plain and self._descent is not None:
            self._descent[0].steps += steps

    def pass_over_zeros(self, wanted: bool) -> None:
        """Whether the kernels look for inputs that are zero in a whole batch."""
        if wanted is not self._passes_over:
            record = self._record[0]
            record["nonzero_columns"] = nonzero_columns_address(self.dtype) if wanted else 0
            record["multiply_listed"] = multiply_address(self.dtype, listed=True) if wanted else 0
            self._passes_over = wanted

    def expect(self, class_target: bool) -> None:
        """Set the loss up for targets that are class indices, or values."""
        if class_target is self._class_target:
            return
        if class_target not in self._loss_blocks:
            block = loss_block(self.loss, self.dtype, class_target)
            check_loss(self.loss, self.layers[-1].outs, class_target)
            self._loss_blocks[class_target] = block
        record = self._record[0]
        record["loss"] = self._loss_blocks[class_target]
        record["target_items"] = 8 // self.dtype.itemsize if class_target else self.layers[-1].outs
        self._class_target = class_target
        self._tiny = 0

    def choose_steps(self, batch_size: int, steps: int, ahead: int) -> None:
        """Choose the kernel of the next `steps` steps; call it after `expect` and `descend`.

        A tiny network gets its own, if it is there, or `ahead` steps to come without sample weights
        and the like repay it.
        """
        online = self.article and batch_size == 1
        if not online:
            self.choose_descent()
        address = self._tiny_steps(steps, ahead) if online and ahead else 0
        self._record[0]["take_steps"] = address or steps_address(self.dtype, bool(online))

    def choose_descent(self) -> None:
        """Choose the kernel that changes the weights by a batch; call it after `descend`."""
        self._record[0]["descend"] = descend_address(self.dtype, self._adjusts)

    def _tiny_steps(self, steps: int, ahead: int) -> int:
        """Address of the network's own kernel, or 0."""
        sizes = [self.layers[0].ins, *(layer.outs for layer in self.layers)]
        if not tiny.is_tiny(sizes) or np.any(self._table["frozen"]) or np.any(self._table["again"]):
            return 0
        if self._tiny == 0:
            activations = [layer.act_function for layer in self.layers]  # type: ignore[attr-defined]
            architecture = tiny.architecture(sizes, activations, self.loss, self.dtype, bool(self._class_target))
            self._tiny = tiny.online_address(architecture, steps, ahead)
        return self._tiny
