"""The derivative of each formula of a network, and of each of its arrays, against differences.

Each formula stands in a network of its own, in which the numbers reach it, and leave it, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np

from .checks import Array
from .data.samples import Samples
from .formulas.activations import ActivationFunction, Identity
from .formulas.losses import LossFunction, MSELoss
from .kernels.blocks import df_method, loss_methods
from .layers.base import BaseLayer
from .layers.dense import Layer
from .layers.noise import noise_key
from .layers.stage import Stage
from .network import NeuralNetwork

_STEPS = (1e-6, 1e-5, 1e-7)  # of the differences, times the size of the number; the first that fits will do
_JITTER = 1e-3  # by how much numbers are moved off the kinks
_ROUNDING = 64 * float(np.finfo(np.float64).eps)  # of a loss, relative to its size
_SMALL = 1e-3  # errors are relative to at least this part of the largest number of an array
_FLOAT32 = 1e-2  # by how much formulas may differ in float32, relative to the largest number
_POINTS = 500  # pre-activations on which an activation is tried
_SAMPLES = 16  # outputs on which a loss is tried
_PLACES = 12  # numbers of an array that are moved one by one, beside all of them together


class GradientRow(NamedTuple):
    """One line of the report.

    Attributes
    ----------
    place : str
        Where: ``layers[1] Layer``, ``loss_function``.
    what : str
        The array, as ``dW`` or ``dgamma``, or the method, as ``Mish.df``.
    compared : int
        How many derivatives were compared.
    error : float
        The largest relative error.
    """

    place: str
    what: str
    compared: int
    error: float


class Part(NamedTuple):
    """What one formula, or one array, gave: a line, and what to say if it is wrong; "" if it is right."""

    row: GradientRow
    fault: str


# --- differences ---------------------------------------------------------------------------------


def _errors(given: Array, at: Callable[[float], Array], rtol: float, size: Array | float = 1.0) -> Array:
    """How far derivatives lie outside what the differences of a function allow, relative to their size.

    ``at(h)`` gives the values of the function for arguments that are moved by h times `size`. One between the left and
    the right difference is right: at a kink they are apart. Of what is right the error is at most `rtol`.
    """
    here, least, nearest = at(0.0), np.full(np.shape(given), np.inf), np.full(np.shape(given), np.inf)
    slope = np.zeros(np.shape(given))
    for h in _STEPS:
        below, above, step = at(-h), at(h), h * size
        left, right = (here - below) / step, (above - here) / step
        rounding = _ROUNDING * np.maximum(np.abs(here), np.maximum(np.abs(below), np.abs(above))) / step
        gap = np.maximum(np.minimum(left, right) - given, given - np.maximum(left, right)) - rounding
        least = np.minimum(least, np.where(np.isfinite(gap), np.maximum(gap, 0.0), np.inf))
        slope = (left + right) / 2
        smooth = np.abs(left - right) <= _SMALL * (np.abs(left) + np.abs(right))
        nearest = np.minimum(nearest, np.where(smooth, np.abs(given - slope), np.inf))
        if np.all(_relative(least, given, slope) <= rtol):
            break
    explained = np.where(np.isfinite(nearest), nearest, 0.0)  # by rounding: how far the best difference is off
    return np.maximum(_relative(least, given, slope), np.minimum(_relative(explained, given, slope), rtol))


def off_kinks(parts: Callable[[float], Iterator[Part]]) -> list[Part]:
    """What ``parts(0.0)`` gives or, where that is wrong, ``parts(jitter)``, with numbers moved by so much.

    Where several kinks meet, as the zeros in front of a ReLU with biases of 0, the differences say nothing.
    """
    found = list(parts(0.0))
    if all(np.isfinite(part.row.error) for part in found) and any(part.fault for part in found):
        again = list(parts(_JITTER))
        return found if any(part.fault for part in again) else again
    return found


def _jittered(array: Array, jitter: float) -> Array:
    noise = np.random.default_rng(1).uniform(-1, 1, array.shape) if jitter else 0.0
    return array + jitter * noise * max(1e-3, float(np.max(np.abs(array), initial=0.0)))


def _relative(difference: Array, *sizes: Array) -> Array:
    """A difference, divided by the size of the numbers, or by a small part of the largest one."""
    finite = [np.where(np.isfinite(size), np.abs(size), 0.0) for size in sizes]
    most = max((float(size.max(initial=0.0)) for size in finite), default=0.0)
    scale = np.maximum(np.maximum.reduce(finite), max(_SMALL * most, 1e-300))
    return np.where(difference == 0, 0.0, difference / scale)


def _apart(a: Array, b: Array) -> Array:
    """The relative difference of numbers that should be the same; of two that are not finite alike it is 0."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    difference = np.where(same, 0.0, np.abs(a - b))
    return _relative(np.where(np.isfinite(difference), difference, np.inf), a, b)


def _worst(errors: Array) -> float:
    return float(np.max(errors, initial=0.0))


def of_numbers(formula: Callable[..., Any], y: Array) -> Array:
    """What a formula makes of each number; it may be one for single numbers alone."""
    try:
        return np.broadcast_to(np.asarray(formula(y.copy()), np.float64), y.shape)
    except Exception:  # `if x > 0` is for single numbers
        return np.array([float(np.asarray(formula(value))) for value in y.ravel()]).reshape(y.shape)


def _probe(layers: list[BaseLayer], loss: LossFunction, width: int, dtype: Any = "float64") -> NeuralNetwork:
    """A network in which one formula acts alone: the numbers reach it, and leave it, as they are."""
    last = layers[-1] if layers and isinstance(layers[-1], Layer) else None
    if last is None:
        last = Layer(width, width, Identity(), init="zeros")
        layers = [*layers, last]
    last.weights = np.eye(width)
    return NeuralNetwork(layers, loss, 0.0, dtype=dtype)


# --- activations ---------------------------------------------------------------------------------


def activation_parts(
    act: ActivationFunction, place: str, ys: Array, dtype: np.dtype[Any], rtol: float
) -> Iterator[Part]:
    """What an activation's `df` gives for the pre-activations `ys`, in NumPy and compiled, against its `f`."""
    ys = np.unique(ys[np.isfinite(ys)])
    y = ys[np.unique(np.linspace(0, max(ys.size - 1, 0), min(ys.size, _POINTS)).astype(int))]
    if y.size == 0:
        return
    name, method = type(act).__name__, df_method(type(act))
    size = np.maximum(1.0, np.abs(y))
    f, df = _compiled_activation(act, y, "float64")

    def compiled(h: float) -> Array:
        return _compiled_f(act, y + h * size, "float64")

    def numpy(h: float) -> Array:
        return of_numbers(act.f, y + h * size)

    written = of_numbers(act.df, y)
    for what, given, at in (("df", written, numpy), (method, df, compiled)):
        errors = _errors(given, at, rtol, size)
        worst = int(np.argmax(errors))
        fault = ""
        if errors[worst] > rtol:
            numeric = (at(1e-6)[worst] - at(-1e-6)[worst]) / (2e-6 * size[worst])
            text = "" if what != "df" or given is written else ", compiled,"
            fault = (
                f"{name}.{what}{text} is not the derivative of {name}.f: at x = {y[worst]:.6g} it gives "
                f"{given[worst]:.6g}, and differences of f give {numeric:.6g} "
                f"(wrong at {int(np.sum(errors > rtol))} of the {y.size} numbers tried)"
            )
        label = f"{name}.{what}" if given is written else f"{name}.{what} compiled"
        yield Part(GradientRow(place, label, y.size, _worst(errors)), fault)
        if fault:
            return
    errors = _apart(f, of_numbers(act.f, y))
    worst = int(np.argmax(errors))
    if errors[worst] > rtol:
        yield Part(
            GradientRow(place, f"{name}.f compiled", y.size, _worst(errors)),
            f"{name}.f is not the same compiled: at x = {y[worst]:.6g} NumPy gives {of_numbers(act.f, y)[worst]:.6g}, "
            f"the kernels {f[worst]:.6g}",
        )
    if dtype == np.float32:
        narrow = y.astype(np.float32).astype(np.float64)
        for what, one, two in zip(
            ("f", method), _compiled_activation(act, narrow, "float32"), _compiled_activation(act, narrow, "float64")
        ):
            yield _narrow_part(place, f"{name}.{what}", one, two, rtol)


def _compiled_f(act: ActivationFunction, y: Array, dtype: str) -> Array:
    net = _probe([Layer(1, 1, act, init="zeros")], MSELoss(), 1, dtype)
    return net.forward_pass(y.reshape(1, -1)).ravel().astype(np.float64)


def _compiled_activation(act: ActivationFunction, y: Array, dtype: str) -> tuple[Array, Array]:
    """f and df as the kernels compute them: the loss is that of a target half a number away from f."""
    net = _probe([Layer(1, 1, act, init="zeros")], MSELoss(), 1, dtype)
    columns = y.reshape(1, -1)
    f = net.forward_pass(columns)
    targets = np.where(np.isfinite(f), f - np.maximum(np.abs(f), 1) / 2, 0)
    dxs = net.gradients(columns, targets).dxs
    return f.ravel().astype(np.float64), (dxs[0].astype(np.float64) / dxs[-1]).ravel()


def _narrow_part(place: str, name: str, narrow: Array, wide: Array, rtol: float) -> Part:
    """Whether a formula gives in float32 what it gives in float64, but for the digits."""
    most = float(np.max(np.abs(wide[np.isfinite(wide)]), initial=0.0))
    errors = np.where(np.isfinite(narrow) | ~np.isfinite(wide), np.abs(narrow - wide) / max(most, 1e-30), np.inf)
    errors = np.nan_to_num(errors, nan=0.0, posinf=np.inf)
    error = _worst(errors)
    worst, fault = int(np.argmax(errors)), ""
    if error > _FLOAT32:
        one, two = float(narrow.ravel()[worst]), float(wide.ravel()[worst])
        fault = f"{name} is another in float32: {one:.6g}, where it is {two:.6g} in float64"
    return Part(GradientRow(place, f"{name} in float32", narrow.size, error if fault else min(error, rtol)), fault)


# --- losses --------------------------------------------------------------------------------------


def loss_parts(
    loss: LossFunction, values: Array, samples: Samples, dtype: np.dtype[Any], rtol: float, jitter: float
) -> Iterator[Part]:
    """What a loss's `dloss` gives for outputs `values` (outs, n), in NumPy and compiled, against its `loss`."""
    some = np.unique(np.linspace(0, samples.size - 1, min(samples.size, _SAMPLES)).astype(int))
    values, outs = _jittered(values[:, some], jitter), values.shape[0]
    classes = samples.targets.view(np.int64)[some, 0] if samples.classes else None
    targets = samples.targets[some].T if classes is None else classes
    columns = [int(t) for t in classes] if classes is not None else [targets[:, i : i + 1] for i in range(some.size)]
    name, names = type(loss).__name__, loss_methods(type(loss))
    method = {("f", "df"): "df", ("row",): "row"}.get(names, "dloss")
    net = _probe([], loss, outs)
    compiled = net.gradients(values, targets).dxs[-1] * some.size
    written = np.concatenate(
        [np.reshape(loss.dloss(values[:, i : i + 1].copy(), t), (outs, 1)) for i, t in enumerate(columns)], axis=1
    )
    rng = np.random.default_rng(0)
    places = [(int(j), i) for i in range(some.size) for j in rng.permutation(outs)[:_PLACES]]

    def numpy(h: float) -> Array:
        return np.array([float(loss.loss(_moved(values[:, i : i + 1], j, h), columns[i])) for j, i in places])

    def kernels(h: float) -> Array:
        one = [targets[i : i + 1] if classes is not None else targets[:, i : i + 1] for i in range(some.size)]
        return np.array([net.loss(_moved(values[:, i : i + 1], j, h), one[i]) for j, i in places])

    outer = "dloss" if method == "row" else method
    for what, given, at in ((outer, written, numpy), (method, compiled, kernels)):
        chosen = np.array([given[place] for place in places])
        errors = _errors(chosen, at, rtol)
        worst = int(np.argmax(errors))
        fault = ""
        if errors[worst] > rtol:
            numeric = (at(1e-6)[worst] - at(-1e-6)[worst]) / 2e-6
            of = {"df": "f", "row": "row", "dloss": "loss"}[what]
            text = ", compiled," if given is compiled and what != "row" else ""
            means = (
                "gives a gradient that is not that of its loss"
                if what == "row"
                else (f"is not the {'derivative' if what == 'df' else 'gradient'} of {name}.{of}")
            )
            j, i = places[worst]
            fault = (
                f"{name}.{what}{text} {means}: at output {j}, whose value is {values[j, i]:.6g}, dloss is "
                f"{chosen[worst]:.6g}, and differences of the loss give {numeric:.6g} "
                f"(wrong at {int(np.sum(errors > rtol))} of the {len(places)} numbers tried)"
            )
        label = f"{name}.{what}" if given is written else f"{name}.{what} compiled"
        yield Part(GradientRow("loss_function", label, len(places), _worst(errors)), fault)
        if fault:
            return
    errors = _apart(kernels(0.0), numpy(0.0))
    if _worst(errors) > rtol:
        k = int(np.argmax(errors))
        yield Part(
            GradientRow("loss_function", f"{name}.{names[0]} compiled", len(places), _worst(errors)),
            f"{name}.{names[0]} is not the same compiled: NumPy gives a loss of {numpy(0.0)[k]:.6g}, the kernels "
            f"{kernels(0.0)[k]:.6g}",
        )
    if dtype == np.float32:
        narrow = _probe([], loss, outs, "float32").gradients(values, targets).dxs[-1] * some.size
        yield _narrow_part("loss_function", f"{name}.{method}", narrow.astype(np.float64), compiled, rtol)


def _moved(column: Array, j: int, h: float) -> Array:
    column = column.copy()
    column[j] += h
    return column


# --- stages --------------------------------------------------------------------------------------


def stage_parts(
    stage: Stage, place: str, x: Array, training: bool, seed: int, rtol: float, jitter: float
) -> Iterator[Part]:
    """What a stage's backward pass gives for inputs x (ins, n), in NumPy and its kernel, against its forward pass."""
    x = _jittered(x, jitter)
    name, (there, back) = type(stage).__name__, type(stage).kernels
    stage = deepcopy(stage)
    stage.trainable = True
    width, rng = stage.outs, np.random.default_rng(0)
    net = _probe([stage], MSELoss(), width)
    net.layers[-1].trainable = False
    loss = MSELoss()
    out, kept = deepcopy(stage).forward(x.copy(), training, noise_key(seed, 0, 0))
    goal = np.asarray(out) - rng.choice([-1.0, 1.0], size=x.shape) * rng.uniform(0.5, 1.5, size=x.shape)
    r = loss.df(out, goal) / goal.size
    dx, rows = deepcopy(stage).backward(r, kept)

    moving = x.copy()

    def numpy() -> float:
        out = deepcopy(stage).forward(moving.copy(), training, noise_key(seed, 0, 0))[0]
        return float(np.mean(loss.f(out, goal)))

    def kernels() -> float:
        return net.gradients(moving, goal, training=training, seed=seed).loss

    given = net.gradients(x, goal, training=training, seed=seed)
    trained = type(stage).rows[: type(stage).trained]
    compiled_rows = np.concatenate([given.dWs[0], given.dbs[0]], axis=1)[:, -max(len(trained), 1) :]
    written_rows = np.concatenate([np.zeros((width, 0)), *rows], axis=1)
    forms = (
        (f"{name}.backward", f"{name}.forward", dx, written_rows, numpy),
        (f"{name}'s kernel {back.__name__}", f"the kernel {there.__name__}", given.dxs[0], compiled_rows, kernels),
    )
    for what, of, d, d_rows, function in forms:
        arrays = [("dx", np.asarray(d), moving)]
        arrays += [(f"d{row}", d_rows[:, k : k + 1], stage.row(row)) for k, row in enumerate(trained)]
        for label, gradient, array in arrays:
            errors, compared = _array_errors(gradient, array, function, rng, rtol)
            error, wrong = _worst(errors), ""
            if error > rtol:
                wrong = f"{what} is not the derivative of {of}: {label} is wrong, with a relative error of {error:.2g}"
            yield Part(GradientRow(place, f"{what} {label}", compared, error), wrong)
            if wrong:
                return
    pairs = [(np.array([numpy()]), np.array([kernels()]), "in training" if training else "in inference")]
    inference = np.asarray(deepcopy(stage).forward(x.copy(), False, 0)[0], np.float64)
    pairs.append((inference, net.forward_pass(x), "in inference"))
    for one, two, when in pairs:
        error = _worst(_apart(one, two))
        if error > rtol:
            fault = f"{name}'s kernel {there.__name__} does not do what {name}.forward does {when}"
            yield Part(GradientRow(place, f"{name}.forward", one.size, error), fault)
            return


# --- the network as a whole ----------------------------------------------------------------------


def _array_errors(
    gradient: Array, array: Array, function: Callable[[], float], rng: np.random.Generator, rtol: float
) -> tuple[Array, int]:
    """The errors of the derivatives of ``function()`` by some numbers of an array, and by all of them together.

    The array is moved in place, and put back. Returns the errors, and how many derivatives they are of.
    """
    if gradient.shape != array.shape:
        return np.array([np.inf]), 0
    if array.size == 0:
        return np.zeros(0), 0
    order = np.argsort(-np.abs(gradient), axis=None, kind="stable")
    chosen = np.unique([*order[: _PLACES // 2], *rng.permutation(array.size)[: _PLACES // 2]]).astype(int)
    before = array.copy()

    def at(direction: Array, h: float) -> float:
        try:
            array[...] = before + h * direction
            return function()
        finally:
            array[...] = before

    directions = []
    for k in chosen:
        direction = np.zeros(array.size)
        direction[k] = max(1.0, abs(float(before.flat[k])))
        directions.append(direction.reshape(array.shape))
    directions.append(rng.choice([-1.0, 1.0], size=array.shape) / np.sqrt(array.size))
    given = np.array([float(np.sum(gradient * direction)) for direction in directions])
    errors = _errors(given, lambda h: np.array([at(direction, h) for direction in directions]), rtol)
    return errors, len(directions)


def network_parts(
    twin: NeuralNetwork,
    samples: Samples,
    weights: Array | None,
    training: bool,
    seed: int,
    rtol: float,
    jitter: float,
) -> Iterator[Part]:
    """The gradient of every array of a network, some of its numbers at a time, against the network's loss."""
    engine, rng = twin.engine, np.random.default_rng(0)
    samples = Samples(_jittered(samples.rows, jitter), samples.targets, samples.classes)
    for layer in {id(layer): layer for layer in twin.layers}.values():
        if layer.parameter_count and jitter:
            numbers = layer.trained_numbers()
            numbers[...] = _jittered(numbers, jitter)

    def loss() -> float:
        return engine.gradients(samples, training, seed, weights).loss

    given = engine.gradients(samples, training, seed, weights)
    arrays: list[tuple[str, str, Array, Array]] = [("layers[0]", "dx", given.dxs[0].T, samples.rows)]
    for index, layer in enumerate(twin.layers):
        first = next(i for i, other in enumerate(twin.layers) if other is layer)
        if first < index or not layer.trainable or layer.parameter_count == 0:
            continue
        turns = [i for i, other in enumerate(twin.layers) if other is layer]  # their gradients add up
        total = np.sum([np.concatenate([given.dWs[i], given.dbs[i]], axis=1) for i in turns], axis=0)
        numbers = layer.trained_numbers()
        place = f"layers[{index}] {type(layer).__name__}"
        if isinstance(layer, Layer):
            arrays.append((place, "dW", total[:, :-1].T, numbers[:-1]))
            arrays.append((place, "db", total[:, -1:].T, numbers[-1:]))
        elif isinstance(layer, Stage):
            if not type(layer).rows:  # as many rows as its settings say, in one array
                arrays.append((place, f"d{next(iter(layer.arrays()))}", total.T, numbers))
                continue
            names = type(layer).rows[: type(layer).trained]
            total = total[:, -len(names) :]
            arrays += [(place, f"d{name}", total[:, k : k + 1].T, numbers[k : k + 1]) for k, name in enumerate(names)]
    for place, what, gradient, array in arrays:
        errors, count = _array_errors(gradient, array, loss, rng, rtol)
        error, fault = _worst(errors), ""
        if error > rtol:
            fault = (
                f"The gradient of the network, {what} of {place}, has a relative error of {error:.2g}, though each "
                "formula by itself has the right derivative: expected a loss of one sample that depends on it alone"
            )
        yield Part(GradientRow(place, what, count, error), fault)
