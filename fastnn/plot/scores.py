"""How good predictions are: of classes, of values, of probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import flag, positive_integer
from .canvas import BLUE, DARK, ORANGE, SEQUENTIAL, axes_for, colour_bar, colour_map, indices, labels, numbers, on_cell

WRITTEN = 20  # classes, above which the cells of a matrix are too small for their numbers


def confusion_matrix(y_true: Any, y_pred: Any, *, classes: Any = None, normalize: bool = False, ax: Any = None) -> Any:
    """How often samples of each class (rows) were taken for which (columns).

    Parameters
    ----------
    y_true, y_pred : array_like (n,)
        Class labels: numbers or words.
    classes : array_like (k,), optional
        The labels in the order of rows and columns; by default all that occur, sorted.
    normalize : bool, default False
        Whether to show shares of each row instead of numbers of samples.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes
        Its image holds the matrix.

    Raises
    ------
    ValueError
        If the lengths differ, a label is missing, or is none of `classes`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import plot
    >>> ax = plot.confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2], ax=Figure().subplots())
    >>> ax.images[0].get_array().data.tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    """
    true, predicted = labels(y_true, "y_true"), labels(y_pred, "y_pred")
    flag(normalize, "normalize")
    _same_length(len(true), predicted, "y_pred")
    known = np.unique(np.concatenate([true, predicted])) if classes is None else labels(classes, "classes")
    if len(set(known.tolist())) < len(known):
        raise ValueError("classes holds a label twice; expected each once")
    rows, columns = (indices(one, known, name, "classes") for one, name in ((true, "y_true"), (predicted, "y_pred")))
    matrix = np.zeros((len(known), len(known)), int)
    np.add.at(matrix, (rows, columns), 1)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cells = shares if normalize else matrix

    ax = axes_for(ax, "confusion_matrix")
    top = max(float(cells.max()), 1e-12)
    drawn = ax.imshow(cells, cmap=colour_map(SEQUENTIAL), vmin=0, vmax=1 if normalize else top)
    if len(known) <= WRITTEN:
        for i, j in np.argwhere(matrix):  # where there is none, no number: the others are seen at once
            value = cells[i, j]
            word = f"{value:.2f}" if normalize else f"{value}"
            ax.text(j, i, word, ha="center", va="center", fontsize=9 if len(known) <= 10 else 6,
                    color=on_cell(value if normalize else value / top))  # fmt: skip
    ticks = np.arange(0, len(known), math.ceil(len(known) / 50))  # of very many classes not each has its name
    words = [str(known[k]) for k in ticks]
    long = max(map(len, words)) > 3
    small = 10 if len(ticks) <= 12 else 6
    ax.set_xticks(ticks, words, rotation=45 if long else 0, ha="right" if long else "center", fontsize=small)
    ax.set_yticks(ticks, words, fontsize=small)
    colour_bar(ax, drawn, "share of the class" if normalize else "samples")
    right = np.trace(matrix) / len(true)
    ax.set(xlabel="predicted class", ylabel="true class", title=f"{right:.1%} of {len(true):,} right")
    return ax


def predicted_against_true(y_true: Any, y_pred: Any, *, low: Any = None, high: Any = None, ax: Any = None) -> Any:
    """Predicted values over true ones, with their intervals; on the diagonal they agree.

    Parameters
    ----------
    y_true, y_pred : array_like (n,) or (n, 1)
    low, high : array_like (n,), optional
        The ends of the intervals of the predictions, both or neither.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes
        Intervals that miss the truth are drawn in another colour; the legend says how many hold it.

    Raises
    ------
    ValueError
        If the lengths differ, anything is not finite, one end of the intervals is missing, or low is above high.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import plot
    >>> ax = plot.predicted_against_true(
    ...     [1, 2, 3], [1.1, 2.2, 2.5], low=[1, 2, 2.4], high=[1.2, 2.4, 2.6], ax=Figure().subplots()
    ... )
    >>> ax.get_legend_handles_labels()[1][-2:]
    ['2 of 3 intervals hold the truth', '1 of 3 miss it']
    """
    true = numbers(y_true, "y_true", None)
    predicted = numbers(y_pred, "y_pred", None)
    _same_length(len(true), predicted, "y_pred")
    if (low is None) != (high is None):
        raise ValueError(f"{'low' if low is None else 'high'} is None; expected both ends of the intervals, or neither")
    ends = None if low is None else (numbers(low, "low", None), numbers(high, "high", None))
    if ends is not None:
        _same_length(len(true), ends[0], "low")
        _same_length(len(true), ends[1], "high")
        if (ends[0] > ends[1]).any():
            at = int(np.argmax(ends[0] > ends[1]))
            raise ValueError(f"low[{at}] is {ends[0][at]} but high[{at}] is {ends[1][at]}; expected low <= high")

    ax = axes_for(ax, "predicted_against_true")
    values = np.concatenate([true, predicted])
    span = [values.min(), values.max()]
    ax.plot(span, span, color=DARK, linewidth=1, linestyle="--", label="predicted = true", zorder=3)
    size = float(np.clip(300 / np.sqrt(len(true)), 4, 25))
    if ends is None:
        ax.scatter(true, predicted, s=size, color=BLUE, alpha=0.7, linewidths=0)
    else:
        holds = (ends[0] <= true) & (true <= ends[1])
        count = int(holds.sum())
        for some, colour, word in ((holds, BLUE, f"{count} of {len(true)} intervals hold the truth"),
                                   (~holds, ORANGE, f"{len(true) - count} of {len(true)} miss it")):  # fmt: skip
            if some.any():
                ax.vlines(true[some], ends[0][some], ends[1][some], color=colour, alpha=0.45, linewidth=1.2)
                ax.scatter(true[some], predicted[some], s=size, color=colour, linewidths=0, label=word)
    spread = float(np.sum((true - true.mean()) ** 2))
    r2 = f"R2 {1 - float(np.sum((true - predicted) ** 2)) / spread:.3f}, " if spread else ""
    error = float(np.mean(np.abs(true - predicted)))
    ax.set(xlabel="true", ylabel="predicted", title=f"{r2}mean absolute error {error:.3g}")
    ax.grid(alpha=0.25)
    ax.legend(loc="upper left", fontsize=8)
    return ax


def calibration_curve(y_true: Any, probabilities: Any, *, bins: int = 10, ax: Any = None) -> Any:
    """Whether what is given a probability of p happens p of the time: on the diagonal it does.

    Parameters
    ----------
    y_true : array_like (n,)
        Class indices from 0, as `predict_classes` numbers them.
    probabilities : array_like (n,) or (n, k)
        Of class 1; or of each class, as `predict_proba` gives. Of two classes the curve is that of class 1, of more
        that of the class which is taken for the likeliest.
    bins : int, default 10
        Into so many equal parts of 0 to 1 the probabilities are sorted.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes
        The legend has the expected calibration error: the distance from the diagonal, averaged over the samples.

    Raises
    ------
    ValueError
        If the lengths differ, a probability is outside 0 to 1, or a class is none of the columns.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import plot
    >>> ax = plot.calibration_curve([0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25], ax=Figure().subplots())
    >>> ax.lines[1].get_xydata().tolist()
    [[0.25, 0.25]]
    """
    p = np.asarray(probabilities)
    p = numbers(p, "probabilities", None, None) if p.ndim == 2 and p.shape[1] > 1 else numbers(p, "probabilities", None)
    if p.min() < 0 or p.max() > 1 + 1e-6:
        worst = p.min() if p.min() < 0 else p.max()
        raise ValueError(f"probabilities holds {worst:g}; expected 0 to 1: of logits, predict_proba makes them")
    positive_integer(bins, "bins")
    true = labels(y_true, "y_true")
    _same_length(len(true), p, "probabilities")
    true = indices(true, np.arange(2 if p.ndim == 1 else p.shape[1]), "y_true", "the classes of the probabilities")
    if p.ndim == 2 and p.shape[1] > 2:
        happened, p, which = true == np.argmax(p, axis=1), p.max(axis=1), "the likeliest class"
    else:
        happened, p, which = true == 1, p if p.ndim == 1 else p[:, 1], "class 1"
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    filled = counts > 0
    said = np.bincount(place, p, bins)[filled] / counts[filled]
    seen = np.bincount(place, happened, bins)[filled] / counts[filled]
    error = float(np.sum(counts[filled] * np.abs(said - seen)) / len(p))

    ax = axes_for(ax, "calibration_curve")
    ax.plot([0, 1], [0, 1], color=DARK, linewidth=1, linestyle="--", label="as often as said")
    ax.plot(said, seen, "-", color=BLUE, linewidth=1.5, label=f"calibration error {error:.3f}")
    ax.scatter(said, seen, s=15 + 150 * counts[filled] / counts.max(), color=BLUE, zorder=3, label="area: samples")
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=f"probability given to {which}",
           ylabel="how often it was so", aspect="equal")  # fmt: skip
    ax.grid(alpha=0.25)
    handles, words = ax.get_legend_handles_labels()
    ax.legend(handles[:2], words[:2], loc="upper left", fontsize=8)
    return ax


def _same_length(count: int, other: Any, name: str) -> None:
    if len(other) != count:
        raise ValueError(f"{name} has {len(other)} rows but y_true {count}; expected as many")
