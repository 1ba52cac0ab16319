"""Layers as they come from another library, one after another, put together as fastnn has them.

Others have a matrix, a bias and an activation each by itself; fastnn has them in one `Layer`. Others end with softmax;
in fastnn it is in the loss, and the network ends with what goes into it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Array
from ..formulas.activations import ActivationFunction, Identity, Sigmoid
from ..formulas.losses import BCEWithLogitsLoss, CrossEntropyLoss, LossFunction, MSELoss
from ..layers.base import BaseLayer
from ..layers.dense import Layer
from ..layers.embedding import Embedding
from ..layers.normalisation import BatchNorm, Standardize
from ..layers.scaling import Scale
from ..layers.stage import Stage

_NOTHING = 1e-20  # an epsilon that changes no variance of 1


class Assembly:
    """A network as it grows.

    Parameters
    ----------
    dtype : dtype
        Of its numbers, float32 or float64.
    width : int
        How many inputs it has; 0 where the first layer says so.

    Attributes
    ----------
    layers : list of BaseLayer
    width : int
        How many numbers come out of the last layer so far; 0 if that is not known yet.
    ends : str
        "softmax" or "sigmoid" if that is the end, of which the loss takes care; otherwise "".
    """

    def __init__(self, dtype: np.dtype[Any], width: int = 0) -> None:
        self.dtype, self.width, self.ends = dtype, width, ""
        self.layers: list[BaseLayer] = []
        self._open = False  # whether the last layer is a matrix that waits for its activation
        self._lacks_bias = False
        self._affine: BatchNorm | None = None  # one that stands for shifts and scales
        self._predicts: LossFunction | None = None  # whose predictions the end makes

    def matrix(self, W: Array, b: Array | None = None, trainable: bool = True) -> None:
        """A matrix W (outs, ins) and b (outs,)."""
        if W.ndim != 2 or (self.width and W.shape[1] != self.width):
            raise ValueError(f"its matrix has shape {W.shape}; expected (outs, {self.width or 'ins'})")
        outs, ins = W.shape
        if b is not None and b.size not in (1, outs):
            raise ValueError(f"its bias has shape {b.shape}; expected ({outs},)")
        layer = Layer(ins, outs, Identity(), init="zeros", dtype=self.dtype, trainable=trainable)
        layer.weights = W
        if b is not None:
            layer.biases = np.broadcast_to(b.ravel(), (outs,)).reshape(-1, 1)
        self._add(layer, outs)
        self._open, self._lacks_bias = True, b is None

    def activation(self, act: ActivationFunction) -> None:
        """An activation, of the matrix before it, or by itself: then behind a unit matrix that is not trained."""
        if isinstance(act, Identity):
            return
        if self._open:
            layer = self.layers[-1]
            assert isinstance(layer, Layer)
            layer.act_function = act
            self._open = self._lacks_bias = False
            return
        if not self.width:
            raise ValueError("it comes before any matrix; expected one that says how many inputs there are")
        layer = Layer(self.width, self.width, act, init="zeros", dtype=self.dtype, trainable=False)
        layer.weights = np.eye(self.width)
        self._add(layer, self.width)

    def stage(self, stage: Stage, rows: dict[str, Array], trainable: bool = True) -> None:
        """A stage, with the rows that differ from its usual ones."""
        width = self.width or max((row.size for row in rows.values()), default=0)
        if not width and not type(stage).rows:
            self._add(stage, 0)
            return
        shapes = stage.array_shapes(width) if width else {}
        if not width or any(row.size not in (1, int(np.prod(shapes[name]))) for name, row in rows.items()):
            sizes = [row.size for row in rows.values()]
            raise ValueError(f"its arrays have sizes {sizes}; expected {width or 'some'} numbers each")
        stage.build(width, self.dtype)
        stage.trainable = trainable
        places = stage.arrays()
        for name, row in rows.items():
            places[name][...] = row.reshape(shapes[name] if row.size > 1 else 1)
        self._add(stage, width)

    def lookup(self, stage: Embedding, table: Array, trainable: bool = True) -> None:
        """An `Embedding`, with the vectors (vectors, size) of its categories."""
        if table.shape != (stage.vectors, stage.size):
            raise ValueError(f"its table has shape {table.shape}; expected {(stage.vectors, stage.size)}")
        if self.width < stage.size * stage.categories.size:
            raise ValueError(f"it has {self.width} inputs; expected {stage.size} for each of its columns")
        rows = np.zeros(stage.array_shapes(self.width)["vectors"], table.dtype)
        rows.ravel()[: table.size] = table.ravel()
        self.stage(stage, {"vectors": rows}, trainable)

    def predicts(self, loss: LossFunction) -> None:
        """The end: what a loss makes of the outputs. fastnn has it in the loss."""
        self._predicts = loss

    def shift(self, c: Array) -> None:
        """x + c: a bias where one is missing; in front the mean of `Standardize`."""
        last = self.layers[-1] if self.layers else None
        self._fits(c)
        if self._open:
            assert isinstance(last, Layer)
            b = c.reshape(-1, 1) if self._lacks_bias else last.biases + c.reshape(-1, 1)
            last.biases = np.broadcast_to(b, last.biases.shape)
            self._lacks_bias = False
        elif last is None:
            rows = {"offset" if c.dtype.itemsize > self.dtype.itemsize else "mean": -c}
            self._standardize(rows)
        elif isinstance(last, Standardize) and len(self.layers) == 1 and np.all(last.row("scale") == 1):
            last.row("mean")[:, 0] -= c.ravel()
        elif isinstance(last, BatchNorm) and last is self._affine:
            last.row("beta")[:, 0] += c.ravel()
        elif isinstance(last, Scale):
            gamma = last.row("scale").copy()
            self.layers.pop()
            self._normalise({"gamma": gamma, "beta": c})
        else:
            self._normalise({"running_mean": -c})

    def scale(self, s: Array) -> None:
        """x * s: in front, behind a mean, the scale of `Standardize`; elsewhere a `Scale`."""
        last = self.layers[-1] if self.layers else None
        self._fits(s)
        if isinstance(last, Standardize) and len(self.layers) == 1 and np.all(last.row("scale") == 1):
            last.row("scale")[:, 0] = s.ravel()
        elif isinstance(last, BatchNorm) and last is self._affine:
            for name in ("gamma", "beta"):
                last.row(name)[:, 0] *= s.ravel()
        else:
            self.stage(Scale(), {"scale": s})

    def normalise(self, mean: Array, scale: Array) -> None:
        """(x - mean) * scale, in front."""
        if self.layers:
            self.shift(-mean)
            self.scale(scale)
        else:
            self._standardize({"mean": mean, "scale": scale})

    def _normalise(self, rows: dict[str, Array]) -> None:
        """gamma (x - mean) + beta, further on; what shifts and scales it next becomes a part of it."""
        self._affine = BatchNorm(eps=_NOTHING)
        self.stage(self._affine, rows)

    def _standardize(self, rows: dict[str, Array]) -> None:
        stage = Standardize(fitted=True)
        offset = rows.pop("offset", None)
        self.stage(stage, {"mean": np.zeros(1), **rows} if offset is None else {"mean": np.zeros(offset.size), **rows})
        if offset is not None:
            stage.offset = np.broadcast_to(offset.ravel(), (stage.outs,)).reshape(-1, 1)

    def _fits(self, c: Array) -> None:
        if self.width and c.size not in (1, self.width):
            raise ValueError(f"its constant has shape {c.shape}; expected {self.width} numbers, or one")

    def end(self, kind: str) -> None:
        """Softmax over all outputs, or sigmoid under a loss that has it inside."""
        self.ends = kind

    def _add(self, layer: BaseLayer, width: int) -> None:
        if self.ends:
            raise ValueError(f"it comes after {self.ends}; expected that at the end alone")
        self.layers.append(layer)
        self.width = width or self.width
        self._open = self._lacks_bias = False

    def finished(self, loss: LossFunction | None) -> tuple[list[BaseLayer], LossFunction]:
        """The layers, and the loss: `loss`, or what goes with the end.

        Under `BCEWithLogitsLoss` a sigmoid at the end is left to the loss.

        Raises
        ------
        ValueError
            If the end makes predictions as another loss than `loss` does.
        """
        if self._predicts is not None:
            loss = self._predicts if loss is None else loss
            x = np.linspace(-2.0, 2.0, 3 * max(1, self.width)).reshape(3, -1)
            if not np.array_equal(loss.predictions(x), self._predicts.predictions(x)):
                raise ValueError(f"it ends with the predictions of {self._predicts!r}; expected that loss, or none")
        if loss is None:
            loss = {"softmax": CrossEntropyLoss, "sigmoid": BCEWithLogitsLoss, "": MSELoss}[self.ends]()
        last = self.layers[-1] if self.layers else None
        if isinstance(loss, BCEWithLogitsLoss) and isinstance(last, Layer) and type(last.act_function) is Sigmoid:
            last.act_function = Identity()
        return self.layers, loss
