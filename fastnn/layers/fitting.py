"""Checks of a network as a whole: layers that fit, a loss, an optimiser, one dtype."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from ..checks import shown
from ..data.batches import Batches
from ..formulas.activations import ActivationFunction
from ..formulas.component import check_arrays, check_elementwise
from ..formulas.losses import LossFunction, check_loss
from ..formulas.optimizers import Optimizer
from ..kernels.blocks import ELEMENTS, loss_methods
from ..kernels.fields import arrays_read
from ..kernels.formula import FormulaError
from .base import BaseLayer
from .dense import Layer
from .normalisation import Standardize
from .stage import Stage
from .targets import StandardizeTargets


def check_layers(layers: list[BaseLayer], loss: LossFunction) -> None:
    """See that layers and loss make a network, and build the stages among them."""
    if not layers:
        raise ValueError("layers is empty; expected at least one Layer")
    for index, layer in enumerate(layers):
        if not isinstance(layer, BaseLayer):
            hint = f" (write {layer.__name__}(...), not {layer.__name__})" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{index}] is {shown(layer)}; expected a Layer{hint}")
        if isinstance(layer, Layer):
            act = layer.act_function
            if not isinstance(act, ActivationFunction):
                raise TypeError(f"layers[{index}].act_function is {shown(act)}; expected an ActivationFunction")
            check_arrays(act, act.of_numbers)
            check_elementwise(act)
        if type(layer).forward_pass not in (Layer.forward_pass, Stage.forward_pass):
            raise TypeError(
                f"layers[{index}] is a {type(layer).__name__}, which has a forward_pass of its own, but the kernels "
                "compute f(W x + b); expected what it does to the numbers in an ActivationFunction or a Stage"
            )
        if isinstance(layer, Stage) and index != {"first": 0, "last": len(layers) - 1}.get(layer.stands, index):
            hint = ", or BatchNorm here" if isinstance(layer, Standardize) else ""
            raise ValueError(f"layers[{index}] is {layer!r}; expected it as the {layer.stands} layer{hint}")
    _build_stages(layers)
    for index, (below, above) in enumerate(zip(layers, layers[1:])):
        if below.outs != above.ins:
            raise ValueError(
                "Layers should have compatible shapes. "
                f"layers[{index}] has {below.outs} outputs but layers[{index + 1}] takes {above.ins} inputs."
            )
    if not isinstance(loss, LossFunction):
        hint = " (write MSELoss(), not MSELoss)" if isinstance(loss, type) else ""
        raise TypeError(f"loss_function is {shown(loss)}; expected a LossFunction{hint}")
    if type(loss).target not in ("values", "class", None):
        raise ValueError(f"{type(loss).__name__}.target is {loss.target!r}; expected 'values', 'class' or None")
    _check_arrays_of_loss(loss, layers[-1].outs)
    check_elementwise(loss)
    if isinstance(layers[-1], StandardizeTargets):
        _check_values(loss, len(layers) - 1)


def _check_values(loss: LossFunction, index: int) -> None:
    """See that targets of the loss are values, whose mean and spread mean nothing to it."""
    cls = type(loss)
    classes = loss.target == "class" or cls.probabilities is not LossFunction.probabilities
    if classes or loss.domain is not None:
        what = "classes or labels" if classes else "targets within a domain"
        raise ValueError(
            f"layers[{index}] is StandardizeTargets(), but loss_function is {loss!r}, which takes {what}: standardised "
            "they would be something else; expected a loss of values, such as MSELoss(), MAELoss() or HuberLoss(), or "
            "layers without it"
        )
    if not cls.standardizable:
        raise ValueError(
            f"layers[{index}] is StandardizeTargets(), but of {loss!r} not all outputs are on the scale of the "
            "targets: it would make of predictions what they are not; expected a loss such as MSELoss(), or layers "
            "without it and y of mean 0 and variance 1"
        )


def _check_arrays_of_loss(loss: LossFunction, outs: int) -> None:
    """See that a loss that reads arrays of its own gets along with so many outputs: see `check_loss`, `check_arrays`.

    Raises
    ------
    FormulaError
        If it does not.
    """
    if not arrays_read(loss):
        return
    if loss_methods(type(loss)) == ELEMENTS:
        check_arrays(loss, ELEMENTS)
        return
    try:
        check_loss(loss, outs, loss.target == "class")
    except FormulaError:
        if loss.target is not None:
            raise
        with contextlib.suppress(FormulaError):  # what its targets are is for the call to say
            check_loss(loss, outs, True)
            return
        raise


def _build_stages(layers: list[BaseLayer]) -> None:
    """Tell the layers without a matrix how many inputs they have."""
    dense = [layer for layer in layers if isinstance(layer, Layer)]
    if not dense:
        raise ValueError("layers holds no Layer; expected at least one among its stages")
    width, dtype = dense[0].ins, dense[0].dtype
    for layer in layers:
        if isinstance(layer, Stage):
            check_stage(layer)
            layer.build(width, dtype)
        width = layer.outs


def check_stage(stage: Stage) -> None:
    """See that a stage, perhaps a user's own, describes its memory and its kernels rightly: kernels trust it."""
    cls = type(stage)
    name, rows, start, kernels = cls.__name__, cls.rows, cls.start, getattr(cls, "kernels", None)
    if not hasattr(stage, "trainable"):
        raise TypeError(f"{name}.__init__ has not called super().__init__(); expected it to do so first")
    if not isinstance(rows, tuple) or not all(isinstance(row, str) for row in rows) or len(set(rows)) < len(rows):
        raise TypeError(f"{name}.rows is {rows!r}; expected a tuple of different names")
    if isinstance(cls.trained, bool) or not isinstance(cls.trained, int) or not 0 <= cls.trained <= len(rows):
        raise ValueError(f"{name}.trained is {cls.trained!r}; expected how many of its {len(rows)} rows are trained")
    if not isinstance(start, tuple) or len(start) != len(rows):
        raise ValueError(f"{name}.start is {start!r}; expected a tuple with a number for each of its {len(rows)} rows")
    if not all(isinstance(number, (int, float)) and np.isfinite(number) for number in start):
        raise ValueError(f"{name}.start is {start!r}; expected finite numbers")
    if not isinstance(kernels, tuple) or [type(kernel) for kernel in kernels] != [FunctionType, FunctionType]:
        raise TypeError(
            f"{name}.kernels is {kernels!r}; expected a tuple of two plain functions (address, W), forward and backward"
        )
    for kernel in kernels:
        if kernel.__code__.co_argcount != 2:
            raise TypeError(
                f"{name}.kernels has {kernel.__name__} with {kernel.__code__.co_argcount} arguments; expected two, "
                "(address, W)"
            )
    settings = stage.settings
    if not isinstance(settings, tuple) or not settings or not all(isinstance(x, (int, float)) for x in settings):
        raise TypeError(f"{name}.settings is {settings!r}; expected a tuple of numbers")


def check_optimizer(optimizer: Optimizer) -> None:
    """See that it is one."""
    if not isinstance(optimizer, Optimizer):
        hint = " (write Adam(), not Adam)" if isinstance(optimizer, type) else ""
        raise TypeError(f"optimizer is {shown(optimizer)}; expected an Optimizer{hint}")
    state = optimizer.state
    if not isinstance(state, Mapping) or not all(isinstance(x, (int, float)) for x in state.values()):
        raise TypeError(
            f"{type(optimizer).__name__}.state is {state!r}; expected a dict from name to number: the value at first"
        )
    check_arrays(optimizer, optimizer.of_numbers)
    check_elementwise(optimizer)


def check_batches(layers: list[BaseLayer], batches: Batches, batch_size: int, where: str = "") -> None:
    """See that no batch, of those that were made with that `batch_size`, is too small for a layer.

    `where` completes "samples", as of a chunk.
    """
    for index, layer in enumerate(layers):
        if batches.smallest < layer.smallest_batch:
            raise ValueError(
                f"batch_size is {batch_size} of {batches.rows} samples{where}, which leaves a batch of "
                f"{batches.smallest}, but layers[{index}] is {layer!r}, which needs batches of at least "
                f"{layer.smallest_batch}; take another batch_size, or leave a sample out"
                + (" (a loader does so with drop_last=True)" if where.startswith(" of batch") else "")
            )


def check_dtypes(layers: list[BaseLayer], dtype: np.dtype[Any]) -> None:
    """See that no other network has changed the dtype of a shared layer."""
    for index, layer in enumerate(layers):
        if layer.dtype != dtype:
            raise shared_elsewhere(index, layer.dtype, dtype)


def shared_elsewhere(index: int, found: np.dtype[Any], dtype: np.dtype[Any]) -> ValueError:
    """The error for a layer whose dtype another network has changed."""
    return ValueError(
        f"layers[{index}] is {found} but the network is {dtype}: another network with dtype={found.name!r} shares it"
    )
