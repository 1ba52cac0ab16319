"""fastnn: fully connected networks on a CPU, trained in compiled loops.

See `NeuralNetwork` for the network, `Layer` for its parts, and `fastnn.reference` for the same
in plain NumPy. `fastnn.nn` has the article's names with its defaults.

The public names stand in ``fastnn.public``. They, NumPy and Numba are loaded when the first of them is asked for:
a program that only mentions fastnn does not wait for them.
"""

import os
from typing import TYPE_CHECKING

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .public import *  # noqa: F403
else:  # a type checker would believe that there is every name

    def __getattr__(name):
        """A module, or a public name before the first use of one."""
        import importlib.util

        if name == "__all__" or not name.startswith("_"):
            if importlib.util.find_spec(f"{__name__}.{name}"):
                return importlib.import_module(f"{__name__}.{name}")
            public = importlib.import_module(f"{__name__}.public")
            globals().update({known: getattr(public, known) for known in public.__all__}, __all__=public.__all__)
            if name in globals():
                return globals()[name]
            if name in public.elsewhere:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {public.elsewhere[name]}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*__getattr__("__all__"), *globals()})


if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
    from .kernels import compiling as compiling  # which says at once that this cannot be

del TYPE_CHECKING, os
