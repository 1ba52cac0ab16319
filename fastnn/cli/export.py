"""``fastnn export``: a model in a form that others read."""

from __future__ import annotations

import io
from typing import Annotated, Any

import typer

from ..extras import needs
from ..files import replaced
from ..network import NeuralNetwork
from .models import load_any
from .report import Debug, Json, reporting
from .tables import check_out


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
    which is said: its inputs are the numbers that the columns become.

    \b
    Example:
        fastnn export houses.safetensors --c houses.c
    """
    with reporting(json, debug) as report:
        places = {"onnx": onnx, "c": c, "torch": torch}
        wanted = {name: path for name, path in places.items() if path is not None}
        if not wanted:
            raise typer.BadParameter("nothing to write; expected one at least", param_hint="--onnx, --c or --torch")
        for k, (name, path) in enumerate(wanted.items()):
            check_out(path, model, *list(wanted.values())[:k], option=f"--{name}")
        loaded = load_any(model)
        for name, path in wanted.items():
            network = loaded if hasattr(loaded, f"to_{name}") else _network(loaded)
            if name == "torch":
                _write_torch(network, path)
            elif name == "onnx":
                network.to_onnx(path)
            else:
                network.to_c(path)
            report.say(f"{name}: {path}")
            if network is not loaded:
                report.warn(
                    f"{path!r} holds the network alone, without the treatment of columns: its "
                    f"{network.engine.ins} inputs are what model.preprocessor_.transform(table) gives, and its outputs "
                    "are " + ("logits of the classes" if hasattr(loaded, "classes_") else "of a standardised target")
                )
        report.values["written"] = wanted


def _network(model: Any) -> NeuralNetwork:
    """The only network of a model."""
    if isinstance(model, NeuralNetwork):
        return model
    if len(model.networks_) > 1:
        raise ValueError(f"the model has {len(model.networks_)} networks, and an export holds one; train with one")
    return model.network_  # type: ignore[no-any-return]


def _write_torch(network: Any, path: str) -> None:
    """Write the module as a program for any number of rows."""
    torch = needs("torch", "an export to PyTorch", "torch")
    module = network.to_torch().eval()
    example = torch.zeros(2, network.engine.ins, dtype=getattr(torch, str(network.dtype)))
    program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    content = io.BytesIO()
    torch.export.save(program, content)
    with replaced(path) as file:
        file.write(content.getvalue())
