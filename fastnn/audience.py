"""Whether a person is watching, and the line for one who would wonder why nothing happens."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE = 2.0  # seconds of compiling, in all, before the line appears


def is_watched(stream: Any) -> bool:
    """Whether it is a terminal or a notebook; a process without a console has no stream, or another object there."""
    if type(stream).__module__.startswith("ipykernel."):
        return True  # its isatty() says no
    try:
        return bool(stream.isatty())
    except Exception:
        return False


class Notice:
    """A line on standard error, once in a process, where work of one kind has taken long and a person is watching.

    Parameters
    ----------
    text : function
        Returns the line.
    patience : float
        Seconds of that work, in all.

    Attributes
    ----------
    said : bool
        Whether there is nothing more to say.
    """

    def __init__(self, text: Callable[[], str], patience: float = PATIENCE) -> None:
        self.text, self.left, self.said = text, patience, False

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """Such work goes on within it."""
        if self.said or not is_watched(sys.stderr):
            yield
            return
        timer = threading.Timer(max(self.left, 0.0), self._say)
        timer.daemon = True
        started = time.perf_counter()
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self.left -= time.perf_counter() - started

    def _say(self) -> None:
        if not self.said:
            self.said = True
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed meanwhile
                print(self.text(), file=sys.stderr, flush=True)
