"""``fastnn export``: a model in a form that others read."""

from __future__ import annotations

import io
import json as as_json
import os
from typing import Annotated, Any

import typer

from ..extras import needs
from ..files import replaced
from ..network import NeuralNetwork
from ..words import listed
from .models import load_any
from .report import Debug, Json, plain, reporting
from .tables import check_out, writing

ABOUT = "fastnn.json"  # the file in a program of torch.export that says what inputs and outputs are


def export(
    *,
    model: Annotated[str, typer.Argument(help="A file that fastnn train, or save of a network or a model, wrote.")],
    onnx: Annotated[str | None, typer.Option(help="Write ONNX there (needs onnx).")] = None,
    c: Annotated[str | None, typer.Option(help="Write C99 there, and its header beside it.")] = None,
    torch: Annotated[str | None, typer.Option(help="Write a program of torch.export there (needs torch).")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a model as ONNX, C or PyTorch; several at once are fine.

    ONNX and C hold all of a model of a table, the treatment of its columns included. To PyTorch goes the network alone,
    which is said: its inputs are the numbers that the columns become, whose names the file holds as fastnn.json.

    \b
    Example:
        fastnn export houses.safetensors --c houses.c
    """
    with reporting(json, debug) as report:
        places = {"onnx": onnx, "c": c, "torch": torch}
        wanted = {name: path for name, path in places.items() if path is not None}
        if not wanted:
            raise typer.BadParameter("nothing to write; expected one at least", param_hint="--onnx, --c or --torch")
        header = [] if c is None else [os.path.splitext(c)[0] + ".h"]  # to_c writes it, too
        for k, (name, path) in enumerate(wanted.items()):
            before = [*list(wanted.values())[:k], *header]
            check_out(path, model, option=f"--{name}", written=before if path != c else before[:k])
        if c is not None and not c.endswith(".c"):
            raise typer.BadParameter(f"{c!r}; expected a name that ends in .c", param_hint="--c")
        for path in header:
            check_out(path, model, option="the header of --c")
        loaded = load_any(model)
        for name, path in wanted.items():
            network = loaded if hasattr(loaded, f"to_{name}") else _network(loaded)
            with writing(path):
                if name == "torch":
                    _write_torch(network, path, None if network is loaded else _inside(loaded))
                elif name == "onnx":
                    network.to_onnx(path)
                else:
                    network.to_c(path)
            report.say(f"{name}: {path}")
            if network is not loaded:
                inside = _inside(loaded)
                report.warn(
                    f"{path!r} holds the network alone, without the treatment of columns: its "
                    f"{network.engine.ins} inputs are what {type(loaded).__name__}.load({model!r})"
                    f".preprocessor_.transform(table) gives, {listed(inside['inputs'])} "
                    f"(all are in the file, as {ABOUT}), and its outputs are {inside['outputs']}"
                )
                report.values[f"inside_{name}"] = inside
        report.values["written"] = wanted


def _network(model: Any) -> NeuralNetwork:
    """The only network of a model."""
    if isinstance(model, NeuralNetwork):
        return model
    if len(model.networks_) > 1:
        raise ValueError(f"the model has {len(model.networks_)} networks, and an export holds one; train with one")
    return model.network_  # type: ignore[no-any-return]


def _inside(model: Any) -> dict[str, Any]:
    """What the inputs and outputs of the network of a table's model are."""
    classes = getattr(model, "classes_", None)
    found: dict[str, Any] = {"inputs": [str(name) for name in model.get_feature_names_out()]}
    if classes is not None:
        return {**found, "outputs": "logits of the classes", "classes": plain(classes)}
    scale = {"target_mean": plain(model.target_mean_), "target_scale": plain(model.target_scale_)}
    return {**found, "outputs": "of a standardised target (times target_scale, plus target_mean)", **scale}


def _write_torch(network: Any, path: str, inside: dict[str, Any] | None) -> None:
    """Write the module as a program for any number of rows, with what is `inside` as a file of it."""
    torch = needs("torch", "an export to PyTorch", "torch")
    module = network.to_torch().eval()
    example = torch.zeros(2, network.engine.ins, dtype=getattr(torch, str(network.dtype)))
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={} if inside is None else {ABOUT: as_json.dumps(inside)})
    with replaced(path) as file:
        file.write(content.getvalue())
