"""Networks as ``Sequential`` models of Keras, and such models as networks.

What Keras has a layer for is in `_ACTIVATIONS` or in `_layer`. The rest is a `Formula`: the NumPy text, computed with
Keras' functions (see ``trace``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..checks import Array, instance_hint, shown
from ..engine.engine import Engine
from ..extras import needs
from ..formulas.activations import (
    ELU,
    SELU,
    ActivationFunction,
    ExactGELU,
    HardTanh,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from ..formulas.losses import LossFunction
from ..layers.base import BaseLayer
from ..layers.noise import Dropout, GaussianNoise
from ..layers.normalisation import BatchNorm, LayerNorm
from ..layers.stage import Stage
from .assembly import Assembly
from .steps import Formula as FormulaStep, Lookup as LookupStep, in_terms_of, no_form, steps_of
from .trace import CONCAT, evaluate

keras = needs("keras", "a model of Keras", "keras")
ops, layers = keras.ops, keras.layers
KerasLayer: Any = layers.Layer

FORMAT = "Keras"

_SAME_NAME = (
    "add subtract multiply divide negative absolute exp expm1 log log1p log2 log10 sqrt sin cos tan sinh cosh "
    "tanh arcsin arccos arctan arcsinh arccosh arctanh power greater "
    "greater_equal less less_equal equal not_equal logical_and logical_or logical_not where"
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(ops, name) for name in _SAME_NAME.split()},
    "rint": ops.round,
    "maximum": lambda a, b: ops.where(ops.logical_or(a > b, a != a), a, b),  # ops.maximum narrows float64
    "minimum": lambda a, b: ops.where(ops.logical_or(a < b, a != a), a, b),
    "floor": lambda x: ops.cast(ops.floor(x), x.dtype),
    "ceil": lambda x: ops.cast(ops.ceil(x), x.dtype),
    "sum": lambda x: ops.sum(x, axis=-1, keepdims=True),
    "max": lambda x: ops.max(x, axis=-1, keepdims=True),
    "min": lambda x: ops.min(x, axis=-1, keepdims=True),
    CONCAT: lambda *parts: ops.concatenate(parts, axis=-1),
}

_ACTIVATIONS: dict[type, str] = {
    Identity: "linear", ReLU: "relu", ReLU6: "relu6", HardTanh: "hard_tanh", Sigmoid: "sigmoid", Tanh: "tanh",
    SELU: "selu", ExactGELU: "gelu", SiLU: "silu", Softplus: "softplus", Mish: "mish",
}  # fmt: skip
"""Activations that Keras has by a name."""

_LAYERS: dict[type, Callable[[Any, str], Any]] = {
    LeakyReLU: lambda act, dtype: layers.LeakyReLU(negative_slope=act.leaky_param, dtype=dtype),
    ELU: lambda act, dtype: layers.ELU(alpha=act.alpha, dtype=dtype),
}
"""Activations that are a layer."""


class Formula(KerasLayer):
    """What Keras has no layer for, computed with its functions: an activation, a stage, a loss's predictions.

    Attributes
    ----------
    part : ActivationFunction, Stage or LossFunction
    """

    def __init__(self, step: FormulaStep, **more: Any) -> None:
        super().__init__(trainable=False, **more)
        self.part = step.part
        self.computes = in_terms_of(set(_FUNCTIONS), step.open_result, step.part, FORMAT)
        self.row_names = list(step.arrays)
        for name, array in step.arrays.items():
            start = keras.initializers.Constant(0.0)
            self.add_weight(shape=array.shape, initializer=start, trainable=False, name=name).assign(array)
        self.built = True

    def call(self, x: Any) -> Any:
        """What it makes of rows x."""
        given = {"x": x, **dict(zip(self.row_names, self.weights))}

        def constant(number: Array) -> Any:
            return ops.convert_to_tensor(number, dtype="bool" if number.dtype == np.bool_ else self.compute_dtype)

        return evaluate(self.computes, _FUNCTIONS, given, constant)

    def compute_output_shape(self, shape: Any) -> Any:
        """The shape of the input."""
        return shape


class Lookup(KerasLayer):
    """Vectors in the places of categories' numbers: fastnn's `Embedding`.

    Attributes
    ----------
    part : Embedding
    """

    def __init__(self, step: LookupStep, **more: Any) -> None:
        super().__init__(**more)
        self.part, self.counts, self.firsts = step.part, step.counts.tolist(), step.firsts.tolist()
        self.table = self.add_weight(shape=step.table.shape, initializer=keras.initializers.Constant(0.0), name="table")
        self.table.assign(step.table)
        self.trainable = step.part.trainable
        self.built = True

    def call(self, x: Any) -> Any:
        """Rows x with vectors in them."""
        size = self.table.shape[1]
        places = size * len(self.counts)
        numbers = ops.cast(x[:, :places:size], "float64")
        ends = ops.convert_to_tensor([count - 0.5 for count in self.counts], dtype="float64")
        known = ops.logical_and(numbers > -0.5, numbers < ends)
        rows = ops.cast(ops.round(ops.where(known, numbers, ops.zeros_like(numbers))), "int32")
        vectors = ops.take(self.table, rows + ops.convert_to_tensor(self.firsts, dtype="int32"), axis=0)
        vectors = ops.where(known[:, :, None], vectors, ops.zeros_like(vectors))
        return ops.concatenate([ops.reshape(vectors, (-1, places)), x[:, places:]], axis=1)

    def compute_output_shape(self, shape: Any) -> Any:
        """The shape of the input."""
        return shape


def to_keras(engine: Engine) -> Any:
    """The network of `engine`; see `NeuralNetwork.to_keras`."""
    steps = steps_of(engine, FORMAT)
    if steps.offset is not None:
        reason = "its offset is taken off in float64, and Keras casts inputs to float32; take a float64 network"
        raise no_form(FORMAT, "Standardize", reason)
    model = keras.Sequential([keras.Input((steps.ins,), dtype=steps.dtype.name)])
    formulas, matrices, lookups = steps.formulas, steps.matrices, steps.lookups
    for place, layer in enumerate(engine.layers):
        step = formulas.get(place)
        if place in matrices:
            act = None if step is None else step.part
            named = _ACTIVATIONS.get(type(act)) if act is not None else "linear"
            dense = layers.Dense(layer.outs, named, dtype=steps.dtype.name)
            model.add(dense)
            dense.set_weights([matrices[place].W.T, matrices[place].b])
            dense.trainable = layer.trainable
            if named is not None:
                continue
        if step is not None:
            model.add(made := _layer(step, steps.dtype.name))
            if step.arrays and not isinstance(made, Formula):
                made.set_weights(list(step.arrays.values()))
                made.trainable = layer.trainable
        elif place in lookups:
            model.add(Lookup(lookups[place], dtype=steps.dtype.name))
        elif type(layer) is Dropout:
            model.add(layers.Dropout(layer.rate, dtype=steps.dtype.name))
        elif type(layer) is GaussianNoise:
            model.add(layers.GaussianNoise(layer.std, dtype=steps.dtype.name))
    for step in steps.predictions:
        model.add(Formula(step, dtype=step.result.dtype.name))
    return model


def _layer(step: FormulaStep, dtype: str) -> Any:
    part = step.part
    if type(part) in _ACTIVATIONS:
        return layers.Activation(_ACTIVATIONS[type(part)], dtype=dtype)
    if type(part) in _LAYERS:
        return _LAYERS[type(part)](part, dtype)
    if type(part) is BatchNorm:
        return layers.BatchNormalization(momentum=1 - part.momentum, epsilon=part.eps, dtype=dtype)
    if type(part) is LayerNorm:
        return layers.LayerNormalization(epsilon=part.eps, dtype=dtype)
    return Formula(step, dtype=dtype)


# --- reading --------------------------------------------------------------------------------------

EXPECTED = (
    "Sequential of Dense, Activation, ReLU, LeakyReLU, ELU, Softmax, Dropout, GaussianNoise, BatchNormalization, "
    "LayerNormalization, Normalization, Rescaling and Flatten"
)


def from_keras(model: Any, loss: LossFunction | None) -> tuple[list[BaseLayer], LossFunction]:
    """The layers and the loss of a model; see `fastnn.from_keras`."""
    if not isinstance(model, keras.Sequential):
        raise TypeError(f"model is {shown(model)}; expected a keras.Sequential{instance_hint(model)}")
    if not model.built:
        raise ValueError("model has no weights yet; expected one that is built: model.build((None, ins))")
    dtype = np.dtype(np.float64 if {one.dtype for one in model.weights} == {"float64"} else np.float32)
    assembly = Assembly(dtype, int(np.prod(model.input_shape[1:])) if None not in model.input_shape[1:] else 0)
    for layer in _flat(model):
        try:
            _take(assembly, layer)
        except (ValueError, TypeError) as error:
            raise type(error)(f"layer {layer.name!r} is {type(layer).__name__}: {error}") from error
    return assembly.finished(loss)


def _flat(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _arrays(layer: Any) -> list[Array]:
    return [np.asarray(ops.convert_to_numpy(one)) for one in layer.weights]


def _take(assembly: Assembly, layer: Any) -> None:
    """Add what a layer is to the assembly."""
    cls = type(layer)
    if cls in (layers.InputLayer, layers.Flatten):
        return
    if cls is layers.Dense:
        arrays = _arrays(layer)
        if len(arrays) != 1 + layer.use_bias:
            raise ValueError("expected a kernel and a bias, without LoRA or quantisation")
        assembly.matrix(arrays[0].T, arrays[1] if layer.use_bias else None, layer.trainable)
        _take_function(assembly, layer.activation)
    elif cls is layers.Activation:
        _take_function(assembly, layer.activation)
    elif cls is layers.ReLU:
        kind = (layer.max_value, layer.negative_slope, layer.threshold)
        if kind not in ((None, 0, 0), (6, 0, 0)):
            raise ValueError(f"max_value, negative_slope, threshold are {kind}; expected None or 6, 0 and 0")
        assembly.activation(ReLU() if layer.max_value is None else ReLU6())
    elif cls is layers.LeakyReLU:
        assembly.activation(LeakyReLU(float(layer.negative_slope)))
    elif cls is layers.ELU:
        assembly.activation(ELU(float(layer.alpha)))
    elif cls is layers.Softmax:
        if layer.axis != -1:
            raise ValueError(f"its axis is {layer.axis}; expected -1")
        assembly.end("softmax")
    elif cls is layers.Dropout:
        assembly.stage(Dropout(float(layer.rate)), {})
    elif cls is layers.GaussianNoise:
        assembly.stage(GaussianNoise(float(layer.stddev)), {})
    elif cls in (layers.BatchNormalization, layers.LayerNormalization):
        _take_norm(assembly, layer)
    elif cls is layers.Normalization:
        mean, variance = (np.asarray(ops.convert_to_numpy(one)).ravel() for one in (layer.mean, layer.variance))
        scale = 1 / np.maximum(np.sqrt(variance), keras.config.epsilon())
        assembly.normalise(mean, scale.astype(mean.dtype))
    elif cls is layers.Rescaling:
        assembly.scale(np.atleast_1d(np.asarray(layer.scale, assembly.dtype)))
        assembly.shift(np.atleast_1d(np.asarray(layer.offset, assembly.dtype)))
    elif isinstance(layer, Lookup):
        assembly.lookup(copy.deepcopy(layer.part), _arrays(layer)[0], layer.trainable)
    elif isinstance(layer, Formula):
        part = layer.part
        if isinstance(part, ActivationFunction):
            assembly.activation(part)
        elif isinstance(part, LossFunction):
            assembly.predicts(part)
        else:
            assert isinstance(part, Stage)
            twin = type(part).made(part.described()["settings"])
            assembly.stage(twin, dict(zip(layer.row_names, _arrays(layer))), part.trainable)
    else:
        raise TypeError(f"fastnn has no layer for it; expected a {EXPECTED}")


def _take_norm(assembly: Assembly, layer: Any) -> None:
    if tuple(np.atleast_1d(layer.axis)) not in ((-1,), (1,)):
        raise ValueError(f"its axis is {layer.axis}; expected -1")
    arrays = iter(_arrays(layer))
    rows = {name: next(arrays) for name, there in (("gamma", layer.scale), ("beta", layer.center)) if there}
    if type(layer) is layers.LayerNormalization:
        assembly.stage(LayerNorm(layer.epsilon), rows or {"gamma": np.ones(1)}, layer.trainable)
    else:
        rows.update(running_mean=next(arrays), running_var=next(arrays))
        momentum = round(1 - layer.momentum, 12)  # 0.01 for 0.99, less the rounding
        assembly.stage(BatchNorm(momentum, layer.epsilon), rows, layer.trainable)


def _take_function(assembly: Assembly, function: Any) -> None:
    """An activation by Keras' function."""
    known = {keras.activations.get(name): cls for cls, name in _ACTIVATIONS.items()}
    if function is keras.activations.softmax:
        assembly.end("softmax")
    elif function is keras.activations.leaky_relu:
        assembly.activation(LeakyReLU(0.2))
    elif function is keras.activations.elu:
        assembly.activation(ELU())
    elif function in known:
        assembly.activation(known[function]())
    else:
        name, names = getattr(function, "__name__", function), ", ".join(sorted(_ACTIVATIONS.values()))
        raise TypeError(f"its activation is {name}; expected {names}, leaky_relu, elu, or softmax at the end")
