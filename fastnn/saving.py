"""Networks in files: one safetensors file holds the weights and, as JSON, everything else.

There is no pickle in it, so a file from a stranger can do no more than fail to load. The format,
in the metadata entry ``fastnn``: ``{"format": 1, "layers": [...], "loss": ..., "lr": ...,
"optimizer": ..., ...}``, where every activation, loss, optimiser and schedule is
``{"class": name, "settings": {...}}`` with the numbers that are its attributes.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .checks import Array
from .engine.engine import Engine
from .engine.optimizer_state import OptimizerState
from .extras import needs
from .formulas.component import Component, built_in
from .formulas.schedules import Constant, Schedule
from .layers.base import BaseLayer, assign
from .layers.dense import Layer
from .layers.stage import Stage

Path = str | os.PathLike[str]

FORMAT = 1


def save(
    engine: Engine, path: Path, more: Mapping[str, Any] | None = None, arrays: Mapping[str, Array] | None = None
) -> None:
    """Write a network, with its optimiser's state, to `path`; `more` and `arrays` go along."""
    described, tensors = engine.alone(lambda: (description(engine), _copies(engine)))
    described.update(more or {})
    tensors.update(arrays or {})
    write = needs("safetensors.numpy", "save", "safetensors").save
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_atomically(path, write(tensors, metadata={"fastnn": json.dumps(described)}))


def description(engine: Engine) -> dict[str, Any]:
    """What a file says of a network, in JSON's terms, beside its arrays."""
    return {
        "format": FORMAT,
        "dtype": engine.dtype.name,
        "layers": [_describe_layer(layer) for layer in engine.layers],
        "loss": describe(engine.loss),
        "lr": engine.base_rate() if isinstance(engine.rate, Constant) else describe(engine.rate),
        "optimizer": describe(engine.optimizer),
        "clip_norm": engine.clip_norm,
        "clip_value": engine.clip_value,
        "steps": int(engine.state.steps[0]),
    }


def _copies(engine: Engine) -> dict[str, Array]:
    """Copies of the arrays of a network, by name."""
    layers = engine.layers
    tensors = {f"layers.{i}.{name}": a for i, layer in enumerate(layers) for name, a in layer.arrays().items()}
    for i, (layer, numbers) in enumerate(zip(layers, engine.state.numbers)):
        tensors[f"optimizer.{i}"] = numbers[:, :, : layer.outs]
    return {name: array.copy() for name, array in tensors.items()}


def load(path: Path, custom: Iterable[type]) -> Engine:
    """Read a network; see `fastnn.load`."""
    description, tensors = read(path)
    found = {cls.__name__: cls for cls in custom}
    with _clear_errors(path):
        layers = [_restore_layer(about, description["dtype"], found) for about in description["layers"]]
        lr = description["lr"]
        engine = Engine(
            layers,
            restore(description["loss"], found),
            restore(lr, found) if isinstance(lr, dict) else Constant(lr),
            restore(description["optimizer"], found),
            clip_norm=description["clip_norm"],
            clip_value=description["clip_value"],
        )
        for layer, arrays in zip(engine.layers, layer_arrays(engine, tensors)):
            for (name, place), array in zip(layer.arrays().items(), arrays):
                assign(name, place, array)
        restore_optimizer(engine.state, description, tensors)
    return engine


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The description and the arrays of a file."""
    safetensors = needs("safetensors", "load", "safetensors")
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"path is {str(path)!r}; there is no such file")
    with _clear_errors(path), safetensors.safe_open(path, framework="numpy") as file:
        description = json.loads((file.metadata() or {})["fastnn"])
        if description["format"] != FORMAT:
            raise ValueError(f"its format is {description['format']}; this fastnn reads {FORMAT}")
        return description, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)


def restore_optimizer(state: OptimizerState, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Set an optimiser's state to the one in a file."""
    state.steps[0] = description["steps"]
    if "optimizer.0" in tensors:
        state.make_room(state.layers[0].dtype)
        for i, (layer, numbers) in enumerate(zip(state.layers, state.numbers)):
            numbers[:, :, : layer.outs] = tensors[f"optimizer.{i}"]


def describe(thing: object) -> dict[str, Any]:
    """The class of an activation, loss, optimiser or schedule, and its settings."""
    settings: dict[str, Any] = {}
    for name, value in vars(thing).items():
        if isinstance(value, Schedule):
            settings[name] = describe(value)
        elif value is None or isinstance(value, (bool, int, float, str)):
            settings[name] = value
        elif isinstance(value, (np.bool_, np.integer, np.floating)):
            settings[name] = value.item()
        else:
            raise TypeError(
                f"{type(thing).__name__}.{name} is {value!r}, which cannot be saved; "
                "expected a number, a string or None"
            )
    return {"class": type(thing).__name__, "settings": settings}


def restore(about: Mapping[str, Any], custom: Mapping[str, type]) -> Any:
    """The object that `describe` described; its attributes are set as they were, without a call."""
    name = about["class"]
    cls: Any = custom.get(name, built_in(Component).get(name))
    if cls is None:
        raise ValueError(f"it uses the class {name}, which is not fastnn's: give it with custom=[{name}]")
    thing = cls.__new__(cls)
    for attribute, value in about["settings"].items():
        setattr(thing, attribute, restore(value, custom) if isinstance(value, dict) else value)
    return thing


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either the old one or the new one, whenever the process dies."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the new name, too, must be on the disk
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _describe_layer(layer: Any) -> dict[str, Any]:
    # A subclass of Layer differs in how it begins; what it is afterwards is a Layer
    name = "Layer" if isinstance(layer, Layer) else type(layer).__name__
    sizes = {"class": name, "ins": layer.ins, "outs": layer.outs}
    if isinstance(layer, Layer):
        settings = {name: getattr(layer, name) for name in ("l1", "l2", "max_norm", "trainable")}
        return {**sizes, "act_function": describe(layer.act_function), "settings": settings}
    return {**sizes, "settings": {**layer.attributes, "trainable": layer.trainable}}


def _restore_layer(about: Mapping[str, Any], dtype: str, custom: Mapping[str, type]) -> BaseLayer:
    if about["class"] == "Layer":
        act = restore(about["act_function"], custom)
        return Layer(about["ins"], about["outs"], act, init="zeros", dtype=dtype, **about["settings"])
    layer: Any = restore(about, custom)
    Stage.__init__(layer)
    layer.trainable = about["settings"]["trainable"]
    layer.build(about["outs"], np.dtype(dtype))
    return layer  # type: ignore[no-any-return]


def layer_arrays(engine: Engine, tensors: Mapping[str, Array]) -> list[tuple[Array, ...]]:
    """The arrays of a file, layer by layer, for the layers of `engine`."""
    return [tuple(tensors[f"layers.{i}.{name}"] for name in layer.arrays()) for i, layer in enumerate(engine.layers)]


@contextlib.contextmanager
def _clear_errors(path: Path) -> Any:
    """Errors from inside a file, as errors about the file."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)!r} cannot be loaded: {reason}") from error
