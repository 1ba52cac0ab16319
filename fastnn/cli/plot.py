"""``fastnn plot``: a picture of a network, or of its training."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..extras import needs
from ..files import replaced
from ..network import NeuralNetwork
from ..training.history import History
from .models import load_any
from .report import Debug, Json, reporting
from .tables import check_out, read_table, writing

SAFETENSORS = b"{"  # the ninth byte of such a file, behind the length of its header


def plot(
    *,
    source: Annotated[str, typer.Argument(help="A model, or what fastnn train --history wrote.")],
    out: Annotated[str, typer.Option(help="Where to write the picture: .png, .svg or .pdf.")],
    most: Annotated[int, typer.Option(min=1, max=2**63 - 1, help="How many neurons of a layer to draw.")] = 16,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Draw the network of a model, or the learning curve of a training (needs matplotlib).

    \b
    Example:
        fastnn plot houses.safetensors --out network.png
    """
    with reporting(json, debug) as report:
        check_out(out, source)
        form = os.path.splitext(out)[1].lower()
        if form not in (".png", ".svg", ".pdf"):
            raise typer.BadParameter(f"{out!r}; expected a name that ends in .png, .svg or .pdf", param_hint="--out")
        with open(source, "rb") as file:
            is_model = file.read(9)[8:] == SAFETENSORS
        needs("matplotlib", "a picture", "matplotlib")
        from matplotlib.figure import Figure

        from .. import plot as pictures

        figure = Figure(figsize=(10, 6), layout="constrained")
        if is_model:
            loaded = load_any(source)
            network, names = (loaded, None) if isinstance(loaded, NeuralNetwork) else (
                loaded.network_, [str(name) for name in loaded.get_feature_names_out()]
            )  # fmt: skip
            pictures.network_diagram(network, most=most, input_names=names, ax=figure.subplots())
        else:
            past = _history(source)
            judge = "validation_error" if "validation_error" in past else None
            pictures.learning_curves(past, monitor=judge, mode="min" if judge else "auto", ax=figure.subplots())
        with writing(out), replaced(out) as place:
            figure.savefig(place, format=form[1:], dpi=100)
        report.say(f"{'network' if is_model else 'learning curve'}: {out}", out=out)


def _history(path: str) -> History:
    """The history in a table."""
    frame = read_table(path)
    if "epoch" not in frame.columns or not all(dtype.is_numeric() for dtype in frame.dtypes):
        raise ValueError(f"{path!r} is neither a model nor a history; expected what train --history wrote")
    history = History()
    for row in frame.iter_rows(named=True):
        history.add(int(row.pop("epoch")), {name: float("nan") if v is None else float(v) for name, v in row.items()})
    return history
