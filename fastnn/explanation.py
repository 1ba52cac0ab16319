"""One step of training, number by number, with the article's symbols.

The numbers are the compiled ones: the gradients come from the kernels, and so does the step, which a
copy of the network takes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .data.columns import are_class_indices, real_array
from .formulas.optimizers import descends_plainly
from .formulas.schedules import Schedule
from .layers.base import BaseLayer
from .layers.dense import Layer
from .layers.noise import noise_key
from .layers.normalisation import Standardize
from .layers.stage import Stage
from .network import NeuralNetwork

Array = np.ndarray[Any, np.dtype[Any]]

_FULL = 6  # rows or columns that are shown in full
_FULL_OUTPUTS = 12  # the same for the outputs and their targets
_FIRST = 2  # of a larger array, so many are shown from the start, and the last one
_WIDTH = 120  # of a line of text
_GAP = "   "


class _Item(NamedTuple):
    """One column of the table: what it is, and the array or the text."""

    label: str
    value: Array | str


class _Part(NamedTuple):
    """One row of the table: a layer's turn, forward or backward, or the loss."""

    title: str
    items: list[_Item]
    notes: list[str]
    full: int = _FULL


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """What one step of training does with one sample; `fastnn.explain` makes it.

    ``print`` shows it as text, a notebook as HTML. Index i counts the layers, n is their number. All
    arrays are copies, of the network's dtype.

    Attributes
    ----------
    xs : list of ndarray
        n + 1 columns: ``xs[0]`` is the sample x, (ins, 1); ``xs[i + 1]``, (layers[i].outs, 1), is what
        layer i makes of ``xs[i]``. Of dropout and noise it is what they make of it in training.
    ys : list of ndarray or None
        n columns: the pre-activations ``np.dot(W, xs[i]) + b``, (layers[i].outs, 1); None for a layer
        that has no W.
    t : ndarray (outs, 1) or int
        The target, or the number of the class.
    loss : float
        The loss of the sample, without the penalties of layers.
    dxs : list of ndarray
        n + 1 columns: the gradient of the loss with respect to ``xs[i]``, of its shape.
    dWs, dbs : list of ndarray
        n arrays each: the gradients with respect to ``W``, (layers[i].outs, layers[i].ins), and ``b``,
        (layers[i].outs, 1). They are zeros for a layer that is frozen. For a layer that has no W they are
        those of its two trained rows, (outs, 1), or of no numbers, (outs, 0).
    weights_before, weights_after : list of tuples of ndarray
        The arrays of each layer before and after the step, as `NeuralNetwork.get_weights` gives them:
        W and b.
    loss_after : float
        The loss of the same sample after the step, with the same random numbers.
    lr : float or Schedule
        The network's learning rate.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, explain
    >>> net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    >>> step = explain(net, [[1.0], [2.0]], [[3.0]])
    >>> step.dWs[0], step.dbs[0], step.loss
    (array([[ -6., -12.]]), array([[-6.]]), 9.0)
    >>> W, b = step.weights_after[0]
    >>> np.allclose(W, [[0.6, 1.2]])
    True
    """

    xs: list[Array]
    ys: list[Array | None]
    t: Array | int
    loss: float
    dxs: list[Array]
    dWs: list[Array]
    dbs: list[Array]
    weights_before: list[tuple[Array, ...]]
    weights_after: list[tuple[Array, ...]]
    loss_after: float
    lr: float | Schedule
    _title: str = ""
    _chapters: tuple[tuple[str, list[_Part]], ...] = ()

    def __repr__(self) -> str:
        lines = [self._title]
        for heading, parts in self._chapters:
            lines.append(heading)
            for part in parts:
                lines += [f"  {part.title}"] * bool(part.title)
                lines += [f"    {line}" for line in _text_table(part)]
                lines += [f"    {note}" for note in part.notes]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        pieces = [f"<div><b>{html.escape(self._title)}</b>"]
        for heading, parts in self._chapters:
            pieces.append(f'<div style="margin-top:1em"><b>{html.escape(heading)}</b></div>')
            pieces += [_html_table(part) for part in parts]
        return "".join(pieces) + "</div>"


def explain(net: NeuralNetwork, x: Any, t: Any, *, seed: int = 0) -> Explanation:
    """One step of ``net.train(x, t)`` on one sample, number by number, with the article's symbols.

    In the order of the article's code: the forward pass from the first to the last layer, the loss and its
    gradient, then the backward loop from the last layer to the first, with the new weights. The gradients
    and the step are those of the compiled kernels. The network stays as it is.

    Parameters
    ----------
    net : NeuralNetwork
    x : array_like (ins, 1)
        One sample, a column.
    t : array_like (outs, 1), or int
        Its target, or the number of its class, whichever the loss takes.
    seed : int, default 0
        Of the random numbers of dropout and noise, as in ``net.train(x, t, seed=seed)``.

    Returns
    -------
    Explanation
        A table, as text and in notebooks as HTML; its attributes are the arrays. Large arrays are shown by
        their first and last numbers.

    Raises
    ------
    TypeError
        If `net` is no `NeuralNetwork`, or as in `NeuralNetwork.train`.
    ValueError
        If x or t are many columns, or as in `NeuralNetwork.train`; also if there is a `Standardize` or a
        `StandardizeTargets` that has not been fitted, since one sample has no spread.

    Notes
    -----
    The step is the optimiser's next one: of `SGD` without momentum it is ``W - lr * dW``, as in the article;
    of any other the table says which optimiser made it. Only the forward pass and ``df(y)`` are computed in
    NumPy, from the same formulas as the kernels', so that their last digits may differ.

    The symbols are those of R. G. Serrao, "Neural networks fundamentals with Python: backpropagation"
    (mathspp.com).

    Examples
    --------
    >>> from fastnn import Identity, Layer, MSELoss, NeuralNetwork, explain
    >>> net = NeuralNetwork([Layer(2, 1, Identity(), init="zeros")], MSELoss(), 0.1)
    >>> explain(net, [[1.0], [2.0]], [[3.0]])
    One step of a network 2-1 on one sample: MSELoss(), lr = 0.1, float64
    ...
    """
    if not isinstance(net, NeuralNetwork):
        hint = " (x and t come after it)" if isinstance(net, np.ndarray) else ""
        raise TypeError(f"net is a {type(net).__name__}; expected a NeuralNetwork{hint}")
    for own in net.engine.measuring:
        if not own.fitted:
            index = 0 if own is net.layers[0] else len(net.layers) - 1
            raise ValueError(
                f"layers[{index}] is {type(own).__name__}(), not fitted; expected one that has seen samples: "
                "train the network before, or call its adapt method"
            )
    form, target = net.engine.form, net.loss_function.target
    classes = target == "class" or (target is None and form.scale is None and are_class_indices(t))
    _check_single(real_array(x, "x"), "x", False)
    _check_single(real_array(t, "t"), "t", classes)

    twin = deepcopy(net)
    for layer in twin.layers:
        vars(layer)["smallest_batch"] = 1  # this one step shows what a sample alone does
    gradients = twin.gradients(x, t, training=True, seed=seed)
    before = net.get_weights()
    NeuralNetwork.train(twin, x, t, seed=seed)  # a subclass may have a loop of its own
    after = twin.get_weights()
    loss_after = twin.gradients(x, t, training=True, seed=seed).loss

    column = real_array(x, "x").reshape(net.layers[0].ins, 1)
    xs, ys = _forward(deepcopy(net.layers), column, net.dtype, seed)
    goal: Array | int = int(np.ravel(t)[0]) if classes else np.array(form.column_targets(t, 1)[0].T)
    step = Explanation(
        xs, ys, goal, gradients.loss, gradients.dxs, gradients.dWs, gradients.dbs, before, after, loss_after, net.lr
    )
    sizes = "-".join(str(size) for size in [net.layers[0].ins, *(a.outs for a in net.layers if isinstance(a, Layer))])
    rule = "" if descends_plainly(net.optimizer) else f"{net.optimizer!r}, "
    title = (
        f"One step of a network {sizes} on one sample: {net.loss_function!r}, {rule}lr = {_rate(net.lr)}, "
        f"{net.dtype.name}"
    )
    whole = _Part("", [], list(_notes_on_all(net)))
    chapters: tuple[tuple[str, list[_Part]], ...] = (
        ("Forward pass, from the first layer to the last", list(_forward_parts(net, step))),
        ("Loss", [_loss_part(net, step)]),
        ("Backward, from the last layer to the first", [whole, *_backward_parts(net, step)]),
        (f"The loss of this sample was {_number(step.loss)}, and is {_number(loss_after)} after the step.", []),
    )
    return replace(step, _title=title, _chapters=chapters)


def _check_single(array: Array, name: str, classes: bool) -> None:
    """An error that says how to take one sample, if there are many."""
    if classes and array.size > 1:
        raise ValueError(f"{name} has {array.size} class indices; expected that of one sample: {name}[i]")
    if not classes and array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(
            f"{name} has shape {array.shape}; expected one column, shape ({array.shape[0]}, 1): {name}[:, i:i+1]"
        )


def _forward(
    layers: list[BaseLayer], x: Array, dtype: np.dtype[Any], seed: int
) -> tuple[list[Array], list[Array | None]]:
    """The columns xs and ys of a training step; the layers are copies, whose running averages may change."""
    with np.errstate(all="ignore"):
        xs, ys = [x.astype(dtype)], list[Array | None]()
        for index, layer in enumerate(layers):
            if isinstance(layer, Layer):
                y = np.dot(layer.weights, xs[-1]) + layer.biases
                ys.append(y)
                out = layer.act_function.f(y)
            elif isinstance(layer, Stage):
                ys.append(None)
                came = x.astype(np.float64) if isinstance(layer, Standardize) else xs[-1]  # before it is narrowed
                out = layer.forward(came, True, noise_key(seed, 0, index))[0]
            xs.append(np.array(out, dtype))
    return xs, ys


# --- the parts of the table ----------------------------------------------------------------------


def _forward_parts(net: NeuralNetwork, step: Explanation) -> Iterator[_Part]:
    """A layer's turn in the forward pass, for each layer."""
    for i, layer in enumerate(net.layers):
        came, out = _Item(f"x = xs[{i}]", step.xs[i]), step.xs[i + 1]
        if isinstance(layer, Layer):
            W, b = step.weights_before[i]
            made = _Item(f"xs[{i + 1}] = f(np.dot(W, x) + b)", out)
            yield _Part(f"layers[{i}] = {layer!r}", [came, _Item("W", W), _Item("b", b), made], [])
        else:
            own = [_Item(name, array) for name, array in zip(layer.arrays(), step.weights_before[i])]
            notes = [_STAGES[type(layer).__name__]] if type(layer).__name__ in _STAGES else []
            yield _Part(f"layers[{i}] = {layer!r}", [came, *own, _Item(f"xs[{i + 1}]", out)], notes)


_STAGES = {
    "Dropout": "As in training, with the random numbers of this seed: some numbers become 0, the others grow.",
    "GaussianNoise": "As in training, with the random numbers of this seed.",
    "StandardizeTargets": "The target is that of the call less its mean, divided by its std; `predict` goes back. Both "
    "are in units of 2**exponent, the mean in two parts.",
    "BatchNorm": "As in training, where the batch is this sample alone: less its mean, which is itself, all is 0.",
}


def _loss_part(net: NeuralNetwork, step: Explanation) -> _Part:
    """The loss and its gradient, in which the backward loop begins."""
    last = f"xs[{len(net.layers)}]"
    target = str(step.t) if isinstance(step.t, int) else step.t
    items = [
        _Item(last, step.xs[-1]),
        _Item("t (class)" if isinstance(step.t, int) else "t", target),
        _Item(f"loss({last}, t)", _number(step.loss)),
        _Item(f"dx = dloss({last}, t)", step.dxs[-1]),
    ]
    if (predictor := net.engine.form.predictor) is not None:
        items.append(_Item("predict", predictor(step.xs[-1].T).T))
    return _Part("", items, [], _FULL_OUTPUTS)


def _backward_parts(net: NeuralNetwork, step: Explanation) -> Iterator[_Part]:
    """A layer's turn in the backward loop, for each layer, the last one first."""
    plain = descends_plainly(net.optimizer) and net.clip_norm is None and net.clip_value is None
    for i, layer in reversed(list(enumerate(net.layers))):
        dx = _Item("dx = np.dot(W.T, db)", step.dxs[i])
        title = f"layers[{i}]: x = xs[{i}], dx = dxs[{i + 1}]"
        notes = list(_notes(net, layer))
        changed = layer.trainable and step.dbs[i].size > 0
        by_rule = plain and layer.is_plain and changed and sum(layer is other for other in net.layers) == 1
        if isinstance(layer, Layer):
            y = step.ys[i]
            with np.errstate(all="ignore"):
                df = np.array(layer.act_function.df(y), net.dtype)
            items = [_Item("y = np.dot(W, x) + b", y if y is not None else ""), _Item("df(y)", df)]
            names = ["W", "b"]
            if changed:
                items += [_Item("db = df(y) * dx", step.dbs[i]), dx, _Item("dW = np.dot(db, x.T)", step.dWs[i])]
            else:
                items += [dx]
        else:
            items = [_Item("dx", step.dxs[i])]
            names = list(layer.arrays())[:2]
            if changed:
                items += [_Item(f"d{name}", d) for name, d in zip(names, (step.dWs[i], step.dbs[i]))]
        if changed:
            rule = "{0} - lr * d{0}" if by_rule else "{0} after the step"
            items += [_Item(rule.format(name), array) for name, array in zip(names, step.weights_after[i])]
        yield _Part(title, items, notes)


def _notes(net: NeuralNetwork, layer: BaseLayer) -> Iterator[str]:
    """What the update of one layer has besides the article's."""
    if not layer.trainable:
        yield "Frozen (trainable is False): it keeps its numbers."
        return
    if isinstance(layer, Stage) and layer.trained == 0:
        yield "It has nothing to train."
        return
    factors = layer.lr_factors(net.optimizer)
    if factors != (1.0, 1.0):
        of_b = f", and by {factors[1]:g} for b" if factors[1] != factors[0] else ""
        yield f"The step multiplies the learning rate by {factors[0]:g}{of_b} (the layer's lr_factor and the like)."
    penalties = [f"{layer.l1:g} * np.sign(W)"] * bool(layer.l1) + [f"{layer.l2:g} * W"] * bool(layer.l2)
    if penalties:
        yield f"The step adds {' + '.join(penalties)} to dW (the layer's l1 and l2)."
    if layer.max_norm is not None:
        yield f"After the step, rows of W with a norm above {layer.max_norm:g} are scaled down to it (max_norm)."
    if sum(layer is other for other in net.layers) > 1:
        yield "It stands in the network more than once: its numbers after the step are those of all its turns."


def _notes_on_all(net: NeuralNetwork) -> Iterator[str]:
    """What the updates of all layers have besides the article's."""
    if net.clip_value is not None:
        yield f"The step cuts every number of a gradient to at most {net.clip_value:g} in size (clip_value)."
    if net.clip_norm is not None:
        yield f"The step scales all gradients together down to a norm of at most {net.clip_norm:g} (clip_norm)."
    if not descends_plainly(net.optimizer):
        yield f"The step is the next one of {net.optimizer!r}, with what it remembers of the steps before."


# --- text and HTML -------------------------------------------------------------------------------


def _rate(lr: float | Schedule) -> str:
    return repr(lr) if isinstance(lr, Schedule) else f"{lr:g}"


def _number(value: float) -> str:
    return f"{value + 0.0:.4g}"  # 0.0 makes -0 a 0


def _shown(value: Array, full: int) -> list[list[str]]:
    """The numbers of a matrix as texts, row by row; in a large one "..." stands for most of them."""

    def places(size: int) -> list[int | None]:
        if size <= full:
            return list(range(size))
        return [*range(_FIRST), None, size - 1]

    rows, columns = places(value.shape[0]), places(value.shape[1])
    return [
        ["..." if i is None or j is None else _number(float(value[i, j])) for j in columns]
        for i in rows
    ]  # fmt: skip


def _what(value: Array, full: int) -> str:
    """The shape, and of an array that is not shown in full the range of its numbers."""
    shape = f"({value.shape[0]}, {value.shape[1]})"
    if max(value.shape) <= full or value.size == 0:
        return shape
    return f"{shape}, {_number(float(value.min()))} to {_number(float(value.max()))}"


def _block(item: _Item, full: int) -> list[str]:
    """A column of the text table: label, shape, numbers; all lines of one width."""
    if isinstance(item.value, str):
        lines = [item.label, "", item.value]
    else:
        cells = _shown(item.value, full)
        widths = [max(len(row[j]) for row in cells) for j in range(len(cells[0]))] if cells else []
        numbers = [" ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in cells]
        lines = [item.label, _what(item.value, full), *numbers]
    width = max(map(len, lines))
    return [line.ljust(width) for line in lines]


def _text_table(part: _Part) -> Iterator[str]:
    """The lines of a part: its columns side by side, as many as fit."""
    line: list[list[str]] = []
    for block in [_block(item, part.full) for item in part.items]:
        if line and sum(len(other[0]) + len(_GAP) for other in line) + len(block[0]) > _WIDTH:
            yield from _side_by_side(line)
            line = []
        line.append(block)
    yield from _side_by_side(line)


def _side_by_side(blocks: list[list[str]]) -> Iterator[str]:
    for i in range(max((len(block) for block in blocks), default=0)):
        yield _GAP.join(block[i] if i < len(block) else " " * len(block[0]) for block in blocks)


def _html_table(part: _Part) -> str:
    """A part as HTML: a table with one column for each array."""
    style = (
        'style="text-align:left; vertical-align:top; padding:0.1em 0.8em; white-space:nowrap; font-family:monospace"'
    )
    heads, bodies = [], []
    for item in part.items:
        if isinstance(item.value, str):
            what, body = "", html.escape(item.value)
        else:
            what = _what(item.value, part.full).replace("), ", ")<br>")
            rows = [
                "".join(f'<td style="text-align:right; padding:0 0.4em">{cell}</td>' for cell in row)
                for row in _shown(item.value, part.full)
            ]
            body = "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"
        heads.append(f"<th {style}>{html.escape(item.label)}<br><small>{what}</small></th>")
        bodies.append(f"<td {style}>{body}</td>")
    notes = "".join(f"<div><i>{html.escape(note)}</i></div>" for note in part.notes)
    title = f'<div style="margin-top:0.5em">{html.escape(part.title)}</div>' if part.title else ""
    table = f"<table><tr>{''.join(heads)}</tr><tr>{''.join(bodies)}</tr></table>" if part.items else ""
    return f"{title}{table}{notes}"
