"""What a network does in inference, step by step: all that an export to another format needs to know of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..checks import Array
from ..engine.engine import Engine
from ..formulas.activations import ActivationFunction
from ..formulas.component import Component
from ..formulas.losses import LossFunction
from ..kernels.formula import FormulaError
from ..layers.base import BaseLayer
from ..layers.dense import Layer
from ..layers.normalisation import Standardize
from ..layers.stage import Stage
from .trace import CONCAT, INPUT, Value, lowered, traced


class Matrix(NamedTuple):
    """x = W x + b.

    Attributes
    ----------
    W : ndarray (outs, ins)
    b : ndarray (outs,)
        Copies, of the network's dtype.
    layer : Layer
        Whose they are; its settings alone are to be read.
    place : int
        Its place among the network's layers.
    """

    W: Array
    b: Array
    layer: Layer
    place: int


class Formula(NamedTuple):
    """What an activation or a stage makes of `width` numbers.

    Attributes
    ----------
    part : ActivationFunction or Stage
    result : Value
        What it computes (see ``trace``): the input itself only of a stage whose rows are as at first.
    width : int
    arrays : dict of str to ndarray (width,)
        Copies of a stage's rows, by name.
    place : int
        The place of the layer.
    formula : function
        What NumPy computes: of columns (width, N), columns.
    """

    part: ActivationFunction | Stage
    result: Value
    width: int
    arrays: dict[str, Array]
    place: int
    formula: Callable[[Any], Any]

    @property
    def open_result(self) -> Value:
        """What it computes, with a stage's rows as inputs, by name, instead of constants."""
        stage = self.part
        if not self.arrays or not isinstance(stage, Stage):
            return self.result
        dtype = self.result.dtype
        rows = {name: Value(INPUT, (), self.width, 0, dtype, name=name) for name in self.arrays}
        twin = copy.copy(stage)
        vars(twin)["row"] = rows.__getitem__
        return traced(_of_stage(twin), self.width, 0, dtype)


Step = Matrix | Formula


class Steps(NamedTuple):
    """A network in inference.

    Attributes
    ----------
    ins, outs : int
    dtype : dtype
        Of its numbers, float32 or float64.
    offset : ndarray (ins,) of float64, or None
        What is taken off the inputs before they become numbers of `dtype`: inputs are float64 then.
    steps : list of Matrix and Formula
        From input to output; what does nothing in inference is not among them.
    probabilities : Value or None
        What the loss makes of the outputs, as rows.
    loss : LossFunction
    names : tuple of str, or None
        Of the inputs.
    """

    ins: int
    outs: int
    dtype: np.dtype[Any]
    offset: Array | None
    steps: list[Step]
    probabilities: Value | None
    loss: LossFunction
    names: tuple[str, ...] | None

    @property
    def parts(self) -> list[Value]:
        """The probabilities as they lie side by side."""
        whole = self.probabilities
        return [] if whole is None else list(whole.inputs) if whole.op == CONCAT else [whole]


def steps_of(engine: Engine, format: str) -> Steps:
    """The network of `engine`, for an export to `format`, as errors call it.

    Raises
    ------
    ValueError
        If a layer holds numbers that are not finite.
    FormulaError
        If it cannot be told what a class computes.
    """
    return engine.alone(lambda: _steps_of(engine, format))


def _steps_of(engine: Engine, format: str) -> Steps:
    steps: list[Step] = []
    for place, layer in enumerate(engine.layers):
        arrays = layer.arrays().items()
        copies = {name: np.array(array if name == "W" else array[:, 0]) for name, array in arrays}
        for name, array in copies.items():
            if not np.all(np.isfinite(array)):
                raise ValueError(
                    f"layers[{place}] has {name} with numbers that are not finite; expected finite ones, to export to "
                    f"{format}: train the network anew, or set_weights to good ones"
                )
        part: ActivationFunction | Stage
        formula: Callable[[Any], Any]
        if isinstance(layer, Layer):
            if not is_unit(layer):
                steps.append(Matrix(copies.pop("W"), copies.pop("b"), layer, place))
            part, formula = layer.act_function, layer.act_function.f
        else:
            assert isinstance(layer, Stage)
            part, formula = layer, _of_stage(layer)
        what = f"{type(part).__name__}.{'f' if isinstance(part, ActivationFunction) else 'forward'}"
        width = 1 if isinstance(part, ActivationFunction) else layer.outs
        result = _traced(formula, width, 0, engine.dtype, what, format)
        rows = copies if isinstance(part, Stage) else {}
        if result.op != INPUT or rows:
            steps.append(Formula(part, result, layer.outs, rows, place, formula))
    form, loss = engine.form, engine.loss
    probabilities = None
    if type(loss).probabilities is not LossFunction.probabilities:
        what = f"{type(loss).__name__}.probabilities"
        probabilities = _traced(loss.probabilities, engine.outs, 1, engine.dtype, what, format)
    offset = None if form.offset is None else form.offset.copy()
    return Steps(engine.ins, engine.outs, engine.dtype, offset, steps, probabilities, loss, form.names)


def is_unit(layer: BaseLayer) -> bool:
    """Whether it is a matrix that does nothing, and stays so: it stands for an activation without one."""
    return (
        isinstance(layer, Layer)
        and not layer.trainable
        and layer.ins == layer.outs
        and not np.any(layer.biases)
        and np.array_equal(layer.weights, np.eye(layer.outs))
    )


def _of_stage(stage: Stage) -> Callable[[Any], Any]:
    """Its formula in inference; the network's door takes an offset off before."""
    if isinstance(stage, Standardize):
        return lambda x: (x - stage.row("mean")) * stage.row("scale")
    return lambda x: stage.forward(x, False, 0)[0]


def _traced(formula: Callable[..., Any], width: int, axis: int, dtype: np.dtype[Any], what: str, format: str) -> Value:
    try:
        return traced(formula, width, axis, dtype)
    except FormulaError as error:
        raise no_form(format, what, error) from error


def no_form(format: str, what: str, reason: object) -> FormulaError:
    """The error for a class that cannot be said in `format`."""
    return FormulaError(f"no {format} form for {what}: {reason}")


def in_terms_of(known: set[str], result: Value, part: Component, format: str) -> Value:
    """`result`, which is what `part` computes, with `known` functions alone, or an error."""
    try:
        return lowered(result, known)
    except FormulaError as error:
        raise no_form(format, type(part).__name__, error) from error
