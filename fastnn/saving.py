"""Networks in files: one safetensors file holds the weights and, as JSON, everything else.

There is no pickle in it, and nothing that it says is believed (``files`` sees to the arrays): a file from a stranger
can do no more than fail to load. The format, in the metadata entry ``fastnn``: ``{"format": 2, "layers": [...],
"loss": ..., "lr": ..., "optimizer": ..., ...}``, where every activation, loss, optimiser, schedule and stage is
``{"class": name, "settings": {...}}`` with the arguments of its constructor, which is called with them, and
``"own": true`` where the class is not fastnn's. A layer that stands in several places is ``{"same_as": place}`` after
its first. `load` checks the whole description, and holds it against the arrays, before it makes any layer.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .checks import Array, count, flag, not_negative, one_of, optional, positive_integer, positive_number
from .data.tables import checked_names
from .engine.engine import Engine
from .engine.optimizer_state import OptimizerState
from .files import ArrayFile, Kind, Path, named, read_json, write_arrays
from .formulas.activations import ActivationFunction
from .formulas.component import MOST_DEEP, Component, array_from_file, built_in, is_array_in_file
from .formulas.losses import LossFunction
from .formulas.optimizers import Optimizer
from .formulas.schedules import Constant, Schedule
from .layers import embedding, noise, normalisation, scaling, targets  # noqa: F401  # a file may name their classes
from .layers.base import BaseLayer
from .layers.dense import Layer
from .layers.fitting import check_optimizer, check_stage
from .layers.stage import Stage

FORMAT = 2
MOST_STEPS = 2**53  # up to which a float counts them

_KEYS = {"format", "dtype", "layers", "loss", "lr", "optimizer", "clip_norm", "clip_value", "steps", "epochs"}
_MORE = ("run", "tabular")  # what others keep in a file beside a network, and check
_LATER = {"feature_names"}  # what files from before it was added lack
_LAYER_SETTINGS = ("l1", "l2", "max_norm", "trainable")
_LATER_LAYER_SETTINGS = {"lr_factor": 1.0, "bias_lr_factor": 1.0, "parametrization": "standard"}  # left out if so


def save(
    engine: Engine, path: Path, more: Mapping[str, Any] | None = None, arrays: Mapping[str, Array] | None = None
) -> None:
    """Write a network, with its optimiser's state, to `path`; `more` and `arrays` go along."""
    described, tensors = engine.alone(lambda: (description(engine), _copies(engine)))
    described.update(more or {})
    tensors.update(arrays or {})
    write_arrays(path, tensors, {"fastnn": json.dumps(described)})


def description(engine: Engine) -> dict[str, Any]:
    """What a file says of a network, in JSON's terms, beside its arrays."""
    first = _first_places(engine.layers)
    return {
        "format": FORMAT,
        "dtype": engine.dtype.name,
        "layers": [
            _describe_layer(layer) if first[i] == i else {"same_as": first[i]} for i, layer in enumerate(engine.layers)
        ],
        "loss": describe(engine.loss),
        "lr": engine.base_rate() if isinstance(engine.rate, Constant) else describe(engine.rate),
        "optimizer": describe(engine.optimizer),
        "clip_norm": engine.clip_norm,
        "clip_value": engine.clip_value,
        "steps": int(engine.state.steps[0]),
        "epochs": int(engine.state.epochs[0]),
        "feature_names": None if engine.feature_names is None else list(engine.feature_names),
    }


def _copies(engine: Engine) -> dict[str, Array]:
    """Copies of the arrays of a network, by name."""
    layers = engine.layers
    first = _first_places(layers)
    tensors: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        if first[i] == i:
            tensors.update({f"layers.{i}.{name}": array for name, array in layer.arrays().items()})
    for i, (layer, numbers) in enumerate(zip(layers, engine.state.numbers)):
        tensors[f"optimizer.{i}"] = numbers[:, :, : layer.outs]
    return {name: array.copy() for name, array in tensors.items()}


def load(path: Path, custom: Iterable[type] = ()) -> Engine:
    """Read a network; see `fastnn.load`."""
    path, found = named(path), own_classes(custom)
    with clear_errors(path), ArrayFile(path) as file:
        described = _description(file)
        _check_description(described)
        dtype, abouts = np.dtype(described["dtype"]), described["layers"]
        parts = [_restored_part(about, i, found) for i, about in enumerate(abouts)]
        optimizer = restore(described["optimizer"], found, Optimizer)
        loss = restore(described["loss"], found, LossFunction)
        lr = described["lr"]
        rate = restore(lr, found, Schedule) if isinstance(lr, dict) else Constant(lr)
        check_optimizer(optimizer)
        kinds = _kinds_of_layers(abouts, parts, dtype, file.kinds)
        kinds.update(_kinds_of_numbers(optimizer, abouts, parts, dtype, file.kinds))
        _check_kinds(kinds, file.kinds, any(name in described for name in _MORE))
        layers: list[BaseLayer] = []
        for about, part in zip(abouts, parts):
            layers.append(layers[part] if isinstance(part, int) else _layer(about, part, dtype))
        engine = Engine(
            layers, loss, rate, optimizer, clip_norm=described["clip_norm"], clip_value=described["clip_value"]
        )
        for name, place in _places(engine.layers).items():
            if name in kinds:
                file.read_into(name, place)
        engine.feature_names = checked_names(described.get("feature_names"), engine.ins)
        state = engine.state
        state.steps[0], state.epochs[0] = described["steps"], described["epochs"]
        if "optimizer.0" in file.kinds:
            for name, place in _number_places(state).items():
                file.read_into(name, place)
    return engine


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The description and the arrays of a file; what lies in either is not checked."""
    path = named(path)
    with clear_errors(path), ArrayFile(path) as file:
        return _description(file), {name: file.read(name) for name in file.kinds}


def read_more(path: Path, name: str) -> tuple[Any, dict[str, Array]]:
    """What `save` was given as ``more[name]``, and as arrays whose names begin with it; neither is checked."""
    path = named(path)
    with clear_errors(path), ArrayFile(path) as file:
        arrays = {key: file.read(key) for key in file.kinds if key.startswith(f"{name}.")}
        return _description(file).get(name), arrays


def restore_optimizer(state: OptimizerState, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Set an optimiser's state to the one in a file, or raise a ValueError before anything is changed."""
    steps, epochs = (_steps(description[name], name) for name in ("steps", "epochs"))
    kinds = {name: Kind(array.dtype, array.shape) for name, array in tensors.items() if name.startswith("optimizer.")}
    if kinds:
        dtype = state.layers[0].dtype
        parts = [(i, layer.shape[0], layer.outs) for i, layer in enumerate(state.layers)]
        _check_kinds(_kinds_of_state(state.optimizer, parts, dtype), kinds, False)
        for name, place in _number_places(state).items():
            place[...] = tensors[name]
    state.steps[0], state.epochs[0] = steps, epochs


def layer_arrays(engine: Engine, tensors: Mapping[str, Array]) -> list[tuple[Array, ...]]:
    """The arrays of a file, layer by layer, for the layers of `engine`."""
    first = _first_places(engine.layers)
    return [
        tuple(tensors[f"layers.{first[i]}.{name}"] for name in layer.arrays()) for i, layer in enumerate(engine.layers)
    ]


def base_rate(lr: Any) -> Any:
    """The learning rate in a description: a number, or the one that the factors of its schedule multiply."""
    while isinstance(lr, dict):
        settings = lr.get("settings")
        if not isinstance(settings, dict):
            raise ValueError(f"{lr!r:.80} is no schedule")
        lr = settings.get("lr", settings.get("after"))  # a warm-up has the rate of what follows
    return lr


# --- activations, losses, optimisers, schedules, stages ----------------------------------------


def describe(thing: Component) -> dict[str, Any]:
    """The class of an activation, loss, optimiser, schedule or stage, and what makes one like it."""
    return thing.described()


def own_classes(custom: Iterable[type]) -> dict[str, type]:
    """The classes that a user gives for a file, by name."""
    try:
        classes = list(custom)
    except TypeError:
        hint = f" (write custom=[{custom.__name__}])" if isinstance(custom, type) else ""
        raise TypeError(f"custom is {custom!r}; expected a list of classes{hint}") from None
    found: dict[str, type] = {}
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Component)):
            raise TypeError(f"custom holds {cls!r}; expected your activations, losses, optimisers, schedules or stages")
        if found.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(f"custom holds two classes named {cls.__name__}; expected one")
    return found


def restore(about: Any, custom: Mapping[str, type], base: type = Component, depth: int = 0) -> Any:
    """The object that `describe` described, made by its constructor: one of `base`.

    Raises
    ------
    ValueError, TypeError
        If the description is none, names a class that is neither fastnn's nor in `custom` or no `base`, or the
        constructor refuses the settings.
    """
    _check_names(about, {"class", "settings"}, {"own"}, "the description of a class")
    name, settings = about["class"], about["settings"]
    if not isinstance(name, str) or not isinstance(settings, dict):
        raise ValueError(f"it describes a class by {name!r} and {settings!r}; expected a name and settings by name")
    if depth > MOST_DEEP:
        raise ValueError(f"its settings lie more than {MOST_DEEP} deep")
    cls: Any = custom.get(name) if flag(about.get("own", False), "own") else built_in(Component).get(name)
    if cls is None:
        raise ValueError(f"it uses the class {name}, which is not fastnn's: give it with custom=[{name}]")
    if not issubclass(cls, base):
        raise ValueError(f"it has a {name} where it should have one of {base.__name__}")
    made = {
        key: array_from_file(f"{name}.{key}", x)
        if is_array_in_file(x)
        else restore(x, custom, depth=depth + 1)
        if isinstance(x, dict)
        else x
        for key, x in settings.items()
    }
    for key, value in made.items():
        if isinstance(value, list) or (isinstance(value, int) and abs(value) >= 2**63):
            raise ValueError(
                f"{name} has the setting {key} = {value!r}; expected a number of 64 bits, a string or nothing"
            )
    try:
        return cls.made(made)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the settings of its {name} do not fit: {error}") from error


# --- what a file says of a network --------------------------------------------------------------


def _description(file: ArrayFile) -> dict[str, Any]:
    if "fastnn" not in file.metadata:
        raise ValueError("it is no network of fastnn's: its metadata have no entry 'fastnn'")
    description = read_json(file.metadata["fastnn"])
    if not isinstance(description, dict) or "format" not in description:
        raise ValueError("its description is no JSON object with a format")
    if type(description["format"]) is not int or description["format"] != FORMAT:
        raise ValueError(f"its format is {description['format']!r}; this fastnn reads {FORMAT}")
    return description


def _check_names(about: Any, needed: set[str], allowed: set[str], what: str) -> None:
    """See that `about` has the entries that it needs, and no others than are allowed."""
    if not isinstance(about, dict):
        raise ValueError(f"{what} is {about!r}; expected entries by name")
    for name in sorted(needed - set(about)):
        raise ValueError(f"it lacks {name!r} in {what}")
    for name in sorted(set(about) - needed - allowed):
        raise ValueError(f"it has {name!r} in {what}; expected {', '.join(sorted(needed | allowed))} alone")


def _check_description(about: dict[str, Any]) -> None:
    """See that everything is there and of the right type, and that the layers' sizes fit."""
    # The rest of a checkpoint is the checkpoint's to judge
    more = set(about) if "run" in about else {*_LATER, *_MORE}
    _check_names(about, _KEYS, more, "the description")
    one_of("float32", "float64")(about["dtype"], "dtype")
    for name in ("steps", "epochs"):
        _steps(about[name], name)
    for name in ("clip_norm", "clip_value"):
        about[name] = optional(positive_number)(about[name], name)
    if not isinstance(about["lr"], dict):
        not_negative(about["lr"], "lr")
    if not isinstance(about["layers"], list) or not about["layers"]:
        raise ValueError("its layers are no list of at least one")
    sizes: list[tuple[int, int]] = []
    for i, layer in enumerate(about["layers"]):
        if not isinstance(layer, dict):
            raise ValueError(f"layer {i} is {layer!r}; expected entries by name")
        if "same_as" in layer:
            _check_names(layer, {"same_as"}, set(), f"layer {i}")
            place = count(layer["same_as"], "same_as")
            if place >= i or "same_as" in about["layers"][place]:
                raise ValueError(f"layer {i} is the same as layer {place}; expected one before it")
            sizes.append(sizes[place])
        else:
            is_dense = layer.get("class") == "Layer" and "own" not in layer
            own = {"act_function"} if is_dense else {"trainable"}
            _check_names(layer, {"class", "settings", "ins", "outs"} | own, {"own"}, f"layer {i}")
            sizes.append((positive_integer(layer["ins"], "ins"), positive_integer(layer["outs"], "outs")))
            if not is_dense and layer["ins"] != layer["outs"]:
                raise ValueError(f"layer {i} has {layer['ins']} inputs and {layer['outs']} outputs; expected as many")
    for i, (below, above) in enumerate(zip(sizes, sizes[1:])):
        if below[1] != above[0]:
            raise ValueError(f"layer {i} has {below[1]} outputs but layer {i + 1} takes {above[0]} inputs")
    checked_names(about.get("feature_names"), sizes[0][0])


def _steps(value: Any, name: str) -> int:
    steps = count(value, name)
    if steps > MOST_STEPS:
        raise ValueError(f"{name} is {steps}; expected at most 2**53")
    return steps


def _describe_layer(layer: Any) -> dict[str, Any]:
    # A subclass of Layer differs in how it begins; what it is afterwards is a Layer
    sizes = {"ins": layer.ins, "outs": layer.outs}
    if isinstance(layer, Layer):
        changed = [name for name, usual in _LATER_LAYER_SETTINGS.items() if getattr(layer, name) != usual]
        settings = {name: getattr(layer, name) for name in (*_LAYER_SETTINGS, *changed)}
        return {"class": "Layer", **sizes, "act_function": describe(layer.act_function), "settings": settings}
    return {**describe(layer), **sizes, "trainable": layer.trainable}


def _restored_part(about: dict[str, Any], index: int, custom: Mapping[str, type]) -> Any:
    """What takes no memory of a layer: its activation, the stage before it is built, or the place of the same."""
    if "same_as" in about:
        return about["same_as"]
    if "act_function" in about:
        settings = about["settings"]
        _check_names(settings, set(_LAYER_SETTINGS), set(_LATER_LAYER_SETTINGS), f"the settings of layer {index}")
        for name in settings:
            Layer.checked[name](settings[name], name)
        return restore(about["act_function"], custom, ActivationFunction)
    stage = restore({name: about[name] for name in ("class", "own", "settings") if name in about}, custom, Stage)
    check_stage(stage)
    stage.trainable = flag(about["trainable"], "trainable")
    return stage


def _layer(about: dict[str, Any], part: Any, dtype: np.dtype[Any]) -> BaseLayer:
    if isinstance(part, Stage):
        part.build(about["outs"], dtype)
        return part
    return Layer(about["ins"], about["outs"], part, init="zeros", dtype=dtype, **about["settings"])


# --- the arrays of a file -------------------------------------------------------------------------


def _first_places(layers: list[BaseLayer]) -> list[int]:
    """For each place in a network the first one where the same layer stands."""
    first: dict[int, int] = {}
    return [first.setdefault(id(layer), i) for i, layer in enumerate(layers)]


def _places(layers: list[BaseLayer]) -> dict[str, Array]:
    """The arrays of the layers by their names in a file."""
    first = _first_places(layers)
    each = ((i, layer) for i, layer in enumerate(layers) if first[i] == i)
    return {f"layers.{i}.{name}": array for i, layer in each for name, array in layer.arrays().items()}


def _number_places(state: OptimizerState) -> dict[str, Array]:
    """The optimiser's numbers by their names in a file."""
    state.make_room(state.layers[0].dtype)
    pairs = enumerate(zip(state.layers, state.numbers))
    return {f"optimizer.{i}": numbers[:, :, : layer.outs] for i, (layer, numbers) in pairs}


def _kinds_of_layers(
    abouts: list[dict[str, Any]], parts: list[Any], dtype: np.dtype[Any], found: Mapping[str, Kind]
) -> dict[str, Kind]:
    """What the arrays of the layers must be; rows that were added later may be missing."""
    kinds = {}
    for i, (about, part) in enumerate(zip(abouts, parts)):
        if isinstance(part, Stage):
            for name, shape in part.array_shapes(about["outs"]).items():
                key = f"layers.{i}.{name}"
                if key in found or name not in type(part).later:
                    kinds[key] = Kind(dtype, shape)
        elif not isinstance(part, int):
            kinds[f"layers.{i}.W"] = Kind(dtype, (about["outs"], about["ins"]))
            kinds[f"layers.{i}.b"] = Kind(dtype, (about["outs"], 1))
    return kinds


def _kinds_of_numbers(
    optimizer: Optimizer,
    abouts: list[dict[str, Any]],
    parts: list[Any],
    dtype: np.dtype[Any],
    found: Mapping[str, Kind],
) -> dict[str, Kind]:
    """What the optimiser's numbers must be, if the file has any."""
    if not any(name.startswith("optimizer.") for name in found):
        return {}
    sizes = []
    for i, part in enumerate(parts):
        k = part if isinstance(part, int) else i
        outs = abouts[k]["outs"]
        rows = parts[k].trained_rows(outs) if isinstance(parts[k], Stage) else abouts[k]["ins"] + 1
        sizes.append((i, rows, abouts[k]["outs"]))
    return _kinds_of_state(optimizer, sizes, dtype)


def _kinds_of_state(optimizer: Optimizer, sizes: list[tuple[int, int, int]], dtype: np.dtype[Any]) -> dict[str, Kind]:
    depth = max(1, len(optimizer.state))
    return {f"optimizer.{i}": Kind(dtype, (depth, rows, outs)) for i, rows, outs in sizes}


def _check_kinds(wanted: Mapping[str, Kind], found: Mapping[str, Kind], others: bool) -> None:
    """See that the arrays are those that are wanted; `others` says whether there may be more."""
    for name, kind in wanted.items():
        if name not in found:
            raise ValueError(f"it lacks the array {name!r}")
        if found[name] != kind:
            raise ValueError(
                f"its array {name!r} is {found[name].dtype} of shape {found[name].shape}; expected {kind.dtype} of "
                f"shape {kind.shape}"
            )
    known = ("layers.", "optimizer.")
    for name in found:
        if name not in wanted and (not others or name.startswith(known)):
            raise ValueError(f"it has an array {name!r}, of which its description does not know")


@contextlib.contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Errors from inside a file, as errors about the file."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)!r} cannot be loaded: {reason}") from error
