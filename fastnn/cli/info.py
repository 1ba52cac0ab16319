"""``fastnn info``: what a file holds."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ..network import NeuralNetwork
from ..tabular import TabularClassifier
from ..words import many
from .models import columns, load_any, parameters
from .report import Debug, Json, reporting


def info(
    *,
    model: Annotated[str, typer.Argument(help="A file that fastnn train, or save of a network or a model, wrote.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is in a file: columns, classes, layers.

    \b
    Example:
        fastnn info houses.safetensors
    """
    with reporting(json, debug) as report:
        loaded = load_any(model)
        network = loaded if isinstance(loaded, NeuralNetwork) else loaded.network_
        size = os.path.getsize(model)
        report.say(f"{model}: {type(loaded).__name__}, {many(size, 'byte')}", kind=type(loaded).__name__, bytes=size)
        if not isinstance(loaded, NeuralNetwork):
            report.say(f"target: {loaded.target_name_}", target=loaded.target_name_)
            if isinstance(loaded, TabularClassifier):
                report.say(f"classes: {', '.join(map(str, loaded.classes_))}", classes=loaded.classes_)
            elif loaded.quantiles is not None:
                report.say(f"quantiles: {', '.join(map(str, loaded.quantiles))}", quantiles=loaded.quantiles)
            elif loaded.distribution is not None:
                report.say(f"distribution: {loaded.distribution}", distribution=loaded.distribution)
            found = columns(loaded)
            heads = ("column", "kind", "treatment", "importance")
            report.table("Columns", heads, [[column[head] for head in heads] for column in found])
            epochs = f"{many(loaded.n_iter_, 'epoch')}, the best was number {loaded.best_epoch_}"
            count = len(loaded.networks_)
            report.say(f"networks: {count}, trained for {epochs}", columns=found, networks=count,
                       epochs=loaded.n_iter_, best_epoch=loaded.best_epoch_)  # fmt: skip
        report.say(network.summary(), parameters=parameters(network), inputs=network.engine.ins,
                   outputs=network.engine.outs, layers=[repr(layer) for layer in network.layers])  # fmt: skip
