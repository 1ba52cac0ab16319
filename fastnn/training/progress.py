"""What a fit shows while it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .callbacks import Callback, Logs

if TYPE_CHECKING:
    from collections.abc import Mapping

DELAY = 1.0  # seconds before a bar appears: short runs show none


def progress(verbose: int, epochs: int) -> Callback | None:
    """The callback for `verbose`: 0 nothing, 1 a bar on a terminal, 2 one line an epoch."""
    if verbose == 0 or (verbose == 1 and not sys.stderr.isatty()):
        return None
    if verbose == 2:
        return Lines(epochs)
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return None
    return Bar(tqdm, epochs)


class Lines(Callback):
    """One line an epoch, on standard output."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        print(f"epoch {epoch}/{self.epochs}  {summary(logs)}", flush=True)


class Bar(Callback):
    """tqdm's bar over the epochs, with loss, metrics and the time that is left."""

    def __init__(self, tqdm: Any, epochs: int) -> None:
        self._tqdm, self._epochs = tqdm, epochs

    def on_train_begin(self) -> None:
        self._bar = self._tqdm(total=self._epochs, unit="epoch", delay=DELAY, leave=False)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._bar.set_postfix_str(summary(logs), refresh=False)
        self._bar.update()

    def on_train_end(self) -> None:
        self._bar.close()


def summary(logs: Mapping[str, float]) -> str:
    """The numbers of an epoch in one line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
