"""Decision regions of a classifier with two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..bank import NetworkBank
from ..checks import Array, an_object_of, optional, positive_integer, shown
from ..extras import needs
from ..network import NeuralNetwork
from .canvas import DARK, axes_for, class_colours, indices, labels, numbers

MARGIN = 0.08  # of the points' spread, on every side
STEPS = 8  # of certainty: bands are read more easily than a gradient, and a GIF of them is small
PALEST, STRONGEST = 0.12, 0.65


def decision_regions(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    bounds: Sequence[float] | None = None,
    resolution: int = 200,
    ax: Any = None,
) -> Any:
    """Where in the plane a classifier with two inputs sees which class, the stronger coloured the surer it is.

    Parameters
    ----------
    model : NeuralNetwork, NetworkBank, or a fitted classifier with ``predict``
        Where it gives probabilities, certainty is shown in eight steps from even odds to 1.
    X : array_like (n, 2), optional
        Samples, drawn as points; the picture reaches a little beyond them.
    y : array_like (n,), optional
        Their classes: the points have the colours of these.
    bounds : (left, right, bottom, top), optional
        What the picture shows; needed without X.
    resolution : int, default 200
        Points of the grid on each side.
    ax : matplotlib Axes, optional
        See `fastnn.plot`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the model has not two inputs; if y has a label that is none of its classes; if there is neither X nor
        bounds; if anything is not finite.
    TypeError
        If `model` is no classifier.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastnn import mlp, plot
    >>> net = mlp([2, 3], loss="cross_entropy", seed=0)
    >>> ax = plot.decision_regions(net, [[0, 1], [1, 0]], [2, 0], ax=Figure().subplots())
    >>> ax.images[0].get_array().shape
    (200, 200, 3)
    """
    plane = Plane(X, y, bounds, resolution)
    image = plane.image(model)
    return plane.draw(axes_for(ax, "decision_regions"), image, model)


class Plane:
    """A part of the plane and the samples in it; it makes and draws images of what a model sees there."""

    def __init__(self, X: Any, y: Any, bounds: Sequence[float] | None, resolution: int) -> None:
        self.points = None if X is None else numbers(X, "X", None, 2)
        self.labels = None if y is None else labels(y, "y")
        if self.labels is not None and (self.points is None or len(self.points) != len(self.labels)):
            have = "there is no X" if self.points is None else f"X has {len(self.points)} rows"
            raise ValueError(f"y has {len(self.labels)} labels but {have}; expected one for each row of X")
        if bounds is None and self.points is None:
            raise ValueError("neither X nor bounds is given; expected samples or bounds=(left, right, bottom, top)")
        if bounds is None:
            assert self.points is not None
            low, high = self.points.min(axis=0), self.points.max(axis=0)
            margin = np.where(high > low, MARGIN * (high - low), 1.0)
            (left, bottom), (right, top) = low - margin, high + margin
        else:
            left, right, bottom, top = numbers(bounds, "bounds", 4)
        if not (left < right and bottom < top):
            raise ValueError(
                f"bounds is {shown(bounds)}; expected (left, right, bottom, top), left < right, bottom < top"
            )
        self.bounds = tuple(float(one) for one in (left, right, bottom, top))
        self.side = positive_integer(resolution, "resolution")
        xs, ys = (low + (np.arange(self.side) + 0.5) * (high - low) / self.side
                  for low, high in ((left, right), (bottom, top)))  # fmt: skip
        self.grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)  # the centres of the image's pixels

    def image(self, model: Any) -> Array:
        """The colours of the regions, (side, side, 3) in bytes; its first row is the lowest."""
        inputs = _inputs(model)
        if inputs not in (2, None):
            raise ValueError(f"model takes {inputs} inputs; expected 2, one for each side of the picture")
        classes, found, certainty = _seen(model, self.grid)
        if self.labels is not None:
            indices(self.labels, classes, "y", "the classes of the model")
        strength = STRONGEST
        if certainty is not None:
            steps = np.minimum(np.floor(certainty * STEPS), STEPS - 1) / (STEPS - 1)
            strength = (PALEST + (STRONGEST - PALEST) * steps)[:, np.newaxis]
        colours = 1 - strength * (1 - class_colours(len(classes))[found])
        return np.round(255 * colours).astype(np.uint8).reshape(self.side, self.side, 3)

    def draw(self, ax: Any, image: Array, model: Any) -> Any:
        """Draw such an image, and the samples above it."""
        ax.imshow(image, extent=self.bounds, origin="lower", aspect="auto", interpolation="nearest")
        classes = classes_of(model)
        colours = class_colours(len(classes))
        if self.points is not None and self.labels is None:
            ax.scatter(*self.points.T, s=14, color="white", edgecolors=DARK, linewidths=0.6)
        elif self.points is not None and self.labels is not None:
            place = indices(self.labels, classes, "y", "the classes of the model")
            for k in np.unique(place):
                here = self.points[place == k]
                ax.scatter(*here.T, s=18, color=colours[k], edgecolors=DARK, linewidths=0.6, label=f"{classes[k]}")
        else:
            for k, colour in enumerate(colours):
                ax.plot([], [], "s", color=colour, label=f"{classes[k]}")
        if ax.get_legend_handles_labels()[0] and len(classes) <= 12:
            ax.legend(title="class", loc="best", framealpha=0.8)  # where the fewest samples are
        names = _names(model) or ("input 0", "input 1")
        ax.set(xlim=self.bounds[:2], ylim=self.bounds[2:], xlabel=names[0], ylabel=names[1])
        return ax


def _one(model: Any) -> Any:
    """The network of a bank that stands for all."""
    return model[0] if isinstance(model, NetworkBank) else model


def _inputs(model: Any) -> int | None:
    """How many inputs a model takes, where it says so."""
    one = _one(model)
    if isinstance(one, NeuralNetwork):
        return one.layers[0].ins
    if not callable(getattr(one, "predict", None)):
        optional(an_object_of(NeuralNetwork, "a NeuralNetwork or a fitted classifier"))(model, "model")
        raise TypeError("model is None; expected a NeuralNetwork or a fitted classifier")
    return getattr(one, "n_features_in_", None)


def _names(model: Any) -> Sequence[str] | None:
    """The names of the inputs, where the model has them."""
    one = _one(model)
    names = one.feature_names if isinstance(one, NeuralNetwork) else getattr(one, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def classes_of(model: Any) -> Array:
    """The classes that a model tells apart."""
    one = _one(model)
    if isinstance(one, NeuralNetwork):
        return np.arange(max(one.layers[-1].outs, 2))
    classes = getattr(one, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        raise TypeError(
            f"model is {shown(model)}, without classes_ (n_classes,); expected a NeuralNetwork or a fitted classifier"
        )
    return classes


def _seen(model: Any, grid: Array) -> tuple[Array, Array, Array | None]:
    """The classes, the index of the one at each point, and how sure it is, from 0 at even odds to 1."""
    classes = classes_of(model)
    if isinstance(_one(model), NeuralNetwork):
        found = np.asarray(model.predict_classes(grid))
        if found.ndim != 1:
            raise ValueError(
                f"model gives {found.shape[1]} labels for each sample; expected one class, as of CrossEntropyLoss"
            )
        try:
            p = np.asarray(model.predict_proba(grid))
        except TypeError:  # a loss without probabilities
            return classes, found, None
    else:
        if (names := getattr(model, "feature_names_in_", None)) is not None:
            grid = needs("pandas", "fastnn.plot.decision_regions of a model with named columns", "pandas").DataFrame(
                grid, columns=names
            )
        found = indices(labels(model.predict(grid), "model.predict"), classes, "model.predict", "model.classes_")
        if not hasattr(model, "predict_proba"):
            return classes, found, None
        p = np.asarray(model.predict_proba(grid))
    if not np.isfinite(p).all():
        raise ValueError("model gives probabilities that are not finite; expected 0 to 1. Did its training diverge?")
    even = 1 / p.shape[1]
    return classes, found, np.clip((p.max(axis=1) - even) / (1 - even), 0, 1)
