"""Kernels for special cases, which nobody has to have: compiled where the steps to come repay it."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable

when: str = os.environ.get("FASTNN_TINY", "auto")
"""Whether they are compiled: "auto", "always" (at once) or "never"; those of tiny networks were the first."""


class SpecialKernels:
    """Kernels of one kind, by their keys.

    Parameters
    ----------
    compiling : float
        Seconds that it takes to compile one, about.
    saving : float
        Seconds that one saves in every step, about.
    """

    def __init__(self, compiling: float, saving: float) -> None:
        self.compiling, self.saving = compiling, saving
        self._addresses: dict[Hashable, int] = {}
        self._taken: dict[Hashable, int] = {}  # how many steps, without a kernel

    def address(self, key: Hashable, compiled: Callable[[bool], int], steps: int, ahead: int) -> int:
        """Address of the kernel for the next `steps` steps; 0 where the `ahead` steps to come do not repay it.

        One that is in the disk cache is taken from there at once. Steps that were taken without the
        kernel, by any network of this process, count like those to come.

        Parameters
        ----------
        key
            What it is compiled for.
        compiled : function
            Returns its address; if it is told so, only from the disk cache, or else 0.
        steps, ahead : int
        """
        if when not in ("auto", "always", "never"):
            raise ValueError(f"the environment variable FASTNN_TINY is {when!r}; expected 'auto', 'always' or 'never'")
        if when == "never":
            return 0
        if key not in self._addresses:
            self._addresses[key] = compiled(True)
        if self._addresses[key] == 0:
            taken = self._taken.get(key, 0)
            if when == "always" or (taken + ahead) * self.saving > self.compiling:
                self._addresses[key] = compiled(False)
            else:
                self._taken[key] = taken + steps
        return self._addresses[key]
