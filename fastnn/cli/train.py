"""``fastnn train``: from a table to a model in a file."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..tabular import TabularClassifier, TabularRegressor
from ..training.callbacks import Callback, Logs
from ..words import many
from .models import columns, parameters
from .report import Debug, Json, Report, readable, reporting, rows_of
from .rows import Rows
from .scores import Scores
from .source import Source, opened, polars
from .tables import check_name, check_out, write_table, writing
from .target import check_columns, column_of, read_target
from .texts import warn_of_dates

INTERRUPTED = 130  # the exit code, with or without a model: a script that goes on only where all went well, stops
MOST = 2**63 - 1  # of whole numbers
RECIPE, LEAST, VISITS = 256, 16, 1_000_000  # epochs, at most and at least; and how many rows they visit in all, about


def train(
    *,
    data: Annotated[str, typer.Argument(help="CSV, Parquet, Arrow or NPZ, gzip or not; - is standard input.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    out: Annotated[str, typer.Option(help="Where to write the model, a safetensors file.")],
    task: Annotated[
        str | None, typer.Option(help="classification or regression; by default found from the target.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Columns to leave out, as id,name or one each time.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="By default 256, and fewer for more than 3,900 rows.")
    ] = None,
    hidden: Annotated[str, typer.Option(help="Units of each hidden layer; nothing for none.")] = "256,256,256",
    networks: Annotated[
        int, typer.Option(min=1, max=MOST, help="How many networks, whose predictions are averaged.")
    ] = 1,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Calibrate probabilities on held-out rows.")] = False,
    quantiles: Annotated[str | None, typer.Option(help="Learn quantiles, not the mean, as 0.05,0.5,0.95.")] = None,
    distribution: Annotated[str | None, typer.Option(help='"normal": learn standard deviations, too.')] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds, after which training ends with its epoch.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of held-out rows, first weights and orders.")] = 0,
    validation_fraction: Annotated[float, typer.Option(help="The part of the rows to hold out.")] = 0.2,
    threads: Annotated[int | None, typer.Option(min=1, max=MOST, help="By default as many as repay it.")] = None,
    sample_rows: Annotated[
        int | None,
        typer.Option(min=2, max=MOST, help="Train on so many rows at random; by default all that fit into memory."),
    ] = None,
    history: Annotated[str | None, typer.Option(help="Write loss and validation error of each epoch, as CSV.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a model on a table.

    Ctrl-C during the epochs ends them; the best one so far is written, and the exit code is 130.

    \b
    Example:
        fastnn train houses.csv --target price --out houses.safetensors
    """
    with reporting(json, debug) as report:
        started = time.perf_counter()
        check_out(out, data)
        if history is not None:
            check_name(history, "--history")
            check_out(history, data, option="--history", written=[out])
        settings: dict[str, Any] = {
            "hidden_layer_sizes": _numbers(hidden, int, "--hidden"), "n_networks": networks, "random_state": seed,
            "validation_fraction": validation_fraction, "time_limit": time_limit, "n_jobs": threads,
        }  # fmt: skip
        levels = None if quantiles is None else _numbers(quantiles, float, "--quantiles")
        sizes = settings["hidden_layer_sizes"]
        _expect(all(1 <= size <= MOST for size in sizes), "--hidden", hidden, "positive numbers")
        _expect(task in (None, "classification", "regression"), "--task", task, "classification or regression")
        _expect(
            0 <= validation_fraction < 1, "--validation-fraction", validation_fraction, "0 or more, and less than 1"
        )
        _expect(time_limit is None or 0 < time_limit < np.inf, "--time-limit", time_limit, "a number above 0")
        if levels is not None:
            _expect(all(0 < level < 1 for level in levels), "--quantiles", quantiles, "numbers between 0 and 1")
            _expect(list(levels) == sorted({*levels}), "--quantiles", quantiles, "them in ascending order, each once")
            _expect(distribution is None, "--distribution", distribution, "it without --quantiles, or these alone")
        _expect(distribution in (None, "normal"), "--distribution", distribution, "'normal'")
        _expect(
            not calibrate or validation_fraction > 0, "--calibrate", calibrate, "rows for it: --validation-fraction"
        )
        dropped = [name.strip() for name in ",".join(drop or []).split(",") if name.strip()]
        kept = Rows(target, dropped, sample_rows, seed, TabularRegressor().max_one_hot)
        with opened(data) as source:
            frame = _read(source, kept, target, dropped, data, report)
            found = read_target(column_of(frame, target), task, source)
            report.say(f"{found.task} of {target!r}: {found.reason}" + ("" if task else " (--task says otherwise)"),
                       task=found.task, target=target)  # fmt: skip
            warn_of_dates(report, source, frame.columns)
        X, y = frame.drop(target), found.values
        del frame
        if epochs is None:
            epochs = min(RECIPE, max(LEAST, round(VISITS / X.height)))
            why = "the recipe's" if epochs == RECIPE else f"of the recipe's {RECIPE}, because there are many rows"
            report.say(f"{many(epochs, 'epoch')}, {why} (--epochs says otherwise)")
        settings["epochs"] = epochs
        model: TabularClassifier | TabularRegressor
        if found.task == "classification":
            for option, given in (("--quantiles", levels), ("--distribution", distribution)):
                if given is not None:
                    raise typer.BadParameter("it is for regression", param_hint=option)
            model = TabularClassifier(calibrate=calibrate, **settings)
        else:
            if calibrate:
                raise typer.BadParameter("it is for classification", param_hint="--calibrate")
            model = TabularRegressor(quantiles=levels, distribution=distribution, **settings)
        if sys.stderr.isatty() and not json:
            model.callbacks = _Bar(epochs * networks)
        model.fit(X, y)
        model.callbacks = None
        with writing(out):
            model.save(out)  # before anything is said: where nobody can read that, the model is there
        _summarize(report, model, X, y)
        if history is not None:
            past = model.history_
            frame_of = {"epoch": past.epoch, **past}
            if model.validation_errors_:
                frame_of["validation_error"] = model.validation_errors_
            write_table(polars().DataFrame(frame_of), history)
        seconds = time.perf_counter() - started
        report.say(f"{out}: written, {seconds:.1f} s in all", model=out, seconds=round(seconds, 3))
        report.values["interrupted"] = model.interrupted_
        if model.interrupted_:
            report.warn(f"interrupted: {out} holds the best epoch so far; the exit code is {INTERRUPTED}")
    if model.interrupted_:
        raise typer.Exit(INTERRUPTED)


def _read(source: Source, kept: Rows, target: str, dropped: list[str], data: str, report: Report) -> Any:
    """The rows to train on, and what is said of those that were left."""
    check_columns(source.columns, target, dropped, data)
    width = len(source.columns)
    if width - len({target, *dropped}) == 0:
        raise ValueError(f"{data!r} has no column besides the target {target!r}; expected one at least")
    frame = kept.of(source)
    report.say(f"{data}: {rows_of(kept.read)}, {many(width, 'column')}", rows=kept.read)
    if missing := kept.without_target:
        report.say(f"target {target!r} is missing in {rows_of(missing)}, left out", rows_left_out=missing)
    if frame.height == 0:
        raise ValueError(f"the target {target!r} is missing in all rows; expected values")
    if frame.height < kept.read - kept.without_target:
        report.say(f"training on {rows_of(frame.height)}, chosen at random", rows_chosen=frame.height)
    if kept.crowded:
        report.warn(
            f"the memory that is free has room for {frame.height:,} of {rows_of(kept.read)}; how many may "
            f"differ from time to time: --sample-rows {frame.height} takes as many again"
        )
    return frame


def _summarize(report: Report, model: TabularClassifier | TabularRegressor, X: Any, y: Any) -> None:
    """Say what was done to the columns, how training went, and how good the model is."""
    found = columns(model)
    for column, name in zip(found, X.columns):
        column["missing"] = int(X[name].null_count()) + (int(X[name].is_nan().sum()) if X[name].dtype.is_float() else 0)
    heads = ("column", "kind", "missing", "treatment", "importance")
    report.table("Columns", heads, [[column[head] for head in heads] for column in found])
    report.values["columns"] = found
    stopped = f"; {model.history_.stopped}" if model.history_.stopped else ""
    report.say(
        f"{many(model.n_iter_, 'epoch')}, the best was number {model.best_epoch_}; networks: {len(model.networks_)}, "
        f"of {many(parameters(model.network_), 'parameter')}{stopped}",
        epochs=model.n_iter_, best_epoch=model.best_epoch_, networks=len(model.networks_),
        parameters=parameters(model.network_),
    )  # fmt: skip
    rows = model.validation_rows_
    if len(rows):
        measured = Scores(model).add(X[rows], y.to_numpy()[rows]).values()
        text = ", ".join(f"{name} {readable(value)}" for name, value in measured.items())
        report.say(f"on {many(len(rows), 'held-out row')}, which chose the epoch: {text}", validation=measured)


def _expect(good: bool, option: str, value: Any, what: str) -> None:
    """See that the value of an option can be, before anything is read."""
    if not good:
        raise typer.BadParameter(f"{value!r}; expected {what}", param_hint=option)


def _numbers(text: str, kind: type, option: str) -> tuple[Any, ...]:
    """Numbers with commas between them; none of nothing, if they are whole ones."""
    try:
        return tuple(kind(part) for part in text.split(",")) if text.strip() or kind is float else ()
    except ValueError:
        raise typer.BadParameter(f"{text!r}; expected numbers with commas between them", param_hint=option) from None


class _Bar(Callback):
    """The epochs of all networks, and the loss on the held-out rows."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.bar: Progress | None = None

    def __deepcopy__(self, memo: object) -> _Bar:
        return self  # of several networks, all count in one bar

    def on_train_begin(self) -> None:
        if self.bar is None:
            texts = TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[loss]}")
            self.bar = Progress(*texts, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self.row = self.bar.add_task("", total=self.count, loss="")
            self.bar.start()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.bar is not None:
            text = "  ".join(f"{name} {value:.4g}" for name, value in logs.items() if np.isfinite(value))
            self.bar.update(self.row, advance=1, loss=text)

    def on_train_end(self) -> None:
        if self.bar is not None:
            self.bar.stop()
