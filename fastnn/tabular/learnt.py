"""What a fit of an estimator learns: all that predictions and files need."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import saving
from ..checks import Array
from ..files import Path
from ..network import NeuralNetwork
from .preprocessor import Preprocessor

FORMAT = 1


class Learnt:
    """Networks, preprocessing, and what a kind of estimator adds.

    Parameters
    ----------
    preprocessor : Preprocessor
    networks : list of NeuralNetwork
        All of the same layers.
    more : dict
        What the estimator needs besides, in JSON's terms.
    """

    def __init__(self, preprocessor: Preprocessor, networks: Sequence[NeuralNetwork], more: dict[str, Any]) -> None:
        self.preprocessor, self.networks, self.more = preprocessor, list(networks), more

    def save(self, path: Path, kind: str, parameters: dict[str, Any]) -> None:
        """Write everything to one safetensors file."""
        first, *others = self.networks
        described = {
            "format": FORMAT, "kind": kind, "parameters": parameters, "networks": len(self.networks),
            "preprocessor": self.preprocessor.described(), "more": self.more,
        }  # fmt: skip
        arrays = {
            f"tabular.{k}.{i}.{j}": array
            for k, net in enumerate(others, 1)
            for i, layer in enumerate(net.get_weights())
            for j, array in enumerate(layer)
        }
        saving.save(first.engine, path, {"tabular": described}, arrays)

    @classmethod
    def load(cls, path: Path, kind: str) -> tuple[Learnt, dict[str, Any]]:
        """What `save` wrote, and the parameters; see `saving.load`.

        Raises
        ------
        ValueError, OSError
            If there is no such file, or it is not sound, or of another kind of estimator.
        """
        engine = saving.load(path)
        about, arrays = saving.read_more(path, "tabular")
        with saving.clear_errors(path):
            wanted = {"format", "kind", "parameters", "networks", "preprocessor", "more"}
            if not isinstance(about, dict) or set(about) != wanted:
                raise ValueError("it is a network without a table's preprocessing; fastnn.load reads it")
            if type(about["format"]) is not int or about["format"] != FORMAT:
                raise ValueError(f"its tabular format is {about['format']!r}; this fastnn reads {FORMAT}")
            if about["kind"] != kind:
                raise ValueError(f"it is of a {about['kind']!r:.40}; expected one of a {kind}: load it by that class")
            if not isinstance(about["parameters"], dict) or not isinstance(about["more"], dict):
                raise ValueError("its parameters are no values by name")
            shares = about["more"].get("importances")
            if not isinstance(shares, list) or not all(type(share) in (int, float) for share in shares):
                raise ValueError("its importances are no list of numbers")
            first = NeuralNetwork.around(engine)
            preprocessor = Preprocessor.made(about["preprocessor"])
            if preprocessor.width != engine.ins:
                raise ValueError(
                    f"its preprocessing makes {preprocessor.width} columns; its network takes {engine.ins} inputs"
                )
            if len(shares) != preprocessor.n_features_in_:
                raise ValueError(f"it has {len(shares)} importances; expected {preprocessor.n_features_in_}")
            count = about["networks"]
            shapes = [[array.shape for array in layer] for layer in first.get_weights()]
            if type(count) is not int or not 1 <= count <= 1 + len(arrays):
                raise ValueError(f"it speaks of {count!r:.20} networks, but has not the arrays of so many")
            names = {f"tabular.{k}.{i}.{j}" for k in range(1, count) for i, layer in enumerate(shapes)
                     for j in range(len(layer))}  # fmt: skip
            if names != set(arrays):
                raise ValueError("the arrays of its other networks are not those that it speaks of")
            networks = [first]
            for k in range(1, count):
                weights = [tuple(arrays[f"tabular.{k}.{i}.{j}"] for j in range(len(layer)))
                           for i, layer in enumerate(shapes)]  # fmt: skip
                networks.append(twin(first, weights))
            return cls(preprocessor, networks, about["more"]), about["parameters"]

    def outputs(self, rows: Array) -> Array:
        """The outputs of each network, (networks, n, outs)."""
        return np.stack([net.predict(rows) for net in self.networks])


def twin(net: NeuralNetwork, weights: list[tuple[Array, ...]]) -> NeuralNetwork:
    """A copy of a network with other weights."""
    made = copy.deepcopy(net)
    made.set_weights(weights)
    return made
