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
from ..layers.embedding import Embedding
from ..layers.normalisation import Standardize
from ..layers.stage import Stage
from ..layers.targets import StandardizeTargets
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

    def first(self, count: int) -> Matrix:
        """What makes the first `count` of its numbers alone."""
        return self._replace(W=self.W[:count], b=self.b[:count])


class Lookup(NamedTuple):
    """Vectors in the places of categories' numbers, as an `Embedding` says.

    The first number of each categorical column, x[c * size], is that of a category if it lies above -0.5 and below
    ``counts[c] - 0.5``, after rounding to a whole one. Its vector, row ``firsts[c] + number`` of the table, or zeros
    for none, goes into the column's `size` places; what comes behind those of all columns stays as it is.

    Attributes
    ----------
    part : Embedding
    table : ndarray (vectors, size)
        A copy, of the network's dtype.
    counts, firsts : ndarray (columns,) of int64
    width, place : int
        As of a `Formula`.
    formula : function
    """

    part: Embedding
    table: Array
    counts: Array
    firsts: Array
    width: int
    place: int
    formula: Callable[[Any], Any]

    @property
    def columns(self) -> int:
        """How many categorical columns there are."""
        return len(self.counts)

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        return int(self.table.shape[1])


class Formula(NamedTuple):
    """What an activation, a stage or a loss's ``predictions`` makes of `width` numbers.

    Attributes
    ----------
    part : ActivationFunction, Stage or LossFunction
    result : Value
        What it computes (see ``trace``): the input itself only of a stage whose rows are as at first. It is computed
        in its own dtype, which is float64 of a `StandardizeTargets`.
    width : int
    arrays : dict of str to ndarray (width,)
        Copies of a stage's rows, by name.
    place : int
        The place of the layer; of a loss, how many layers there are.
    formula : function
        What NumPy computes: of columns (width, N), columns.
    """

    part: ActivationFunction | Stage | LossFunction
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


Step = Matrix | Lookup | Formula


class Steps(NamedTuple):
    """A network in inference.

    Attributes
    ----------
    ins, outs : int
    dtype : dtype
        Of its numbers, float32 or float64.
    offset : ndarray (ins,) of float64, or None
        What is taken off the inputs before they become numbers of `dtype`: inputs are float64 then.
    steps : list of Matrix, Lookup and Formula
        From input to output; what does nothing in inference is not among them.
    predictions : list of Formula
        What `predict` makes of the outputs, where these are not the predictions: what the loss says, and then what
        brings standardised targets back.
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
    predictions: list[Formula]
    probabilities: Value | None
    loss: LossFunction
    names: tuple[str, ...] | None

    def named(self, names: tuple[str, ...] | None) -> Steps:
        """The same with these names of the inputs."""
        return self._replace(names=names)

    def first(self, count: int, format: str) -> Steps:
        """The network that has the first `count` outputs alone, and no probabilities.

        Raises
        ------
        FormulaError
            If its last layer is more than a matrix, so that all outputs may depend on each other.
        """
        if count == self.outs:
            return self._replace(probabilities=None)
        last = self.steps[-1] if self.steps else None
        if not isinstance(last, Matrix) or self.predictions:
            raise no_form(format, f"the first {count} of {self.outs} outputs", "the last layer is not a matrix alone")
        return self._replace(probabilities=None, outs=count, steps=[*self.steps[:-1], last.first(count)])

    @property
    def formulas(self) -> dict[int, Formula]:
        """What is computed of each number, by the place of its layer."""
        return {step.place: step for step in self.steps if isinstance(step, Formula)}

    @property
    def matrices(self) -> dict[int, Matrix]:
        """The matrices, by the places of their layers."""
        return {step.place: step for step in self.steps if isinstance(step, Matrix)}

    @property
    def lookups(self) -> dict[int, Lookup]:
        """The vectors of categories, by the places of their layers."""
        return {step.place: step for step in self.steps if isinstance(step, Lookup)}

    @property
    def result_dtype(self) -> np.dtype[Any]:
        """That of predictions."""
        return self.predictions[-1].result.dtype if self.predictions else self.dtype

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
    predictions: list[Formula] = []
    form, loss = engine.form, engine.loss
    if type(loss).predictions is not LossFunction.predictions:
        what = f"{type(loss).__name__}.predictions"
        result = _traced(loss.predictions, engine.outs, 1, engine.dtype, what, format)
        if result.width not in (1, engine.outs):
            raise no_form(format, what, f"it makes {result.width} numbers of {engine.outs} outputs; expected as many")
        place = len(engine.layers)
        predictions.append(Formula(loss, result, engine.outs, {}, place, lambda x: loss.predictions(x.T).T))
    for place, layer in enumerate(engine.layers):
        as_columns = not isinstance(layer, Embedding)
        arrays = layer.arrays().items()
        copies = {name: np.array(array[:, 0] if as_columns and name != "W" else array) for name, array in arrays}
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
        elif isinstance(layer, Embedding):
            firsts = np.cumsum([0, *layer.categories[:-1]])
            taken = _of_stage(layer)
            steps.append(Lookup(layer, layer.table.copy(), layer.categories, firsts, layer.outs, place, taken))
            continue
        elif isinstance(layer, StandardizeTargets):
            restored = _of_stage(layer)
            result = _traced(restored, layer.outs, 0, np.dtype(np.float64), "StandardizeTargets", format)
            predictions.append(Formula(layer, result, layer.outs, copies, place, restored))
            continue
        else:
            assert isinstance(layer, Stage)
            part, formula = layer, _of_stage(layer)
        what = f"{type(part).__name__}.{'f' if isinstance(part, ActivationFunction) else 'forward'}"
        width = 1 if isinstance(part, ActivationFunction) else layer.outs
        result = _traced(formula, width, 0, engine.dtype, what, format)
        rows = copies if isinstance(part, Stage) else {}
        if result.op != INPUT or rows:
            steps.append(Formula(part, result, layer.outs, rows, place, formula))
    probabilities = None
    if type(loss).probabilities is not LossFunction.probabilities:
        what = f"{type(loss).__name__}.probabilities"
        probabilities = _traced(loss.probabilities, engine.outs, 1, engine.dtype, what, format)
    offset = None if form.offset is None else form.offset.copy()
    return Steps(engine.ins, engine.outs, engine.dtype, offset, steps, predictions, probabilities, loss, form.names)


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
    """Its formula in inference; the network's door takes an offset off before, and brings targets back behind."""
    if isinstance(stage, StandardizeTargets):

        def restored(x: Any) -> Any:
            unit = np.power(2.0, stage.row("exponent"))
            return x * (stage.row("std") * unit) + (stage.row("mean") + stage.row("mean_low")) * unit

        return restored
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
