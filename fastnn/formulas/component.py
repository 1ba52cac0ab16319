"""What activations, losses, optimisers, schedules and stages have in common: settings, which are attributes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np

from ..changes import Watched
from ..checks import Array
from ..kernels.formula import FormulaError

C = TypeVar("C", bound="Component")


class Component(Watched):
    """Something with settings, which are its public attributes.

    Attributes
    ----------
    required : mapping of str to value
        An example of each argument that the constructor cannot do without. `example` uses it.
    of_numbers : tuple of str
        The names of those of its formulas that take each number by itself.
    is_compiled : bool
        Whether the kernels compile the text of its class, so that a method set on one object would not count.
    """

    required: Mapping[str, Any] = {}
    of_numbers: tuple[str, ...] = ()
    is_compiled: bool = True

    @classmethod
    def example(cls: type[C]) -> C:
        """One of this class, for whoever tries out all classes: `fastnn.warmup`, the tests.

        Raises
        ------
        TypeError
            If an argument without a default is not in `required`.
        """
        try:
            return cls(**cls.required)
        except TypeError as error:
            raise TypeError(
                f"{cls.__name__} cannot be made as an example: {error}; give the class an attribute `required`, "
                "such as required = {'rate': 0.1}"
            ) from error

    def __setattr__(self, name: str, value: Any) -> None:
        if self.is_compiled and callable(getattr(type(self), name, None)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a method, and the kernels compile that of the class: it cannot be "
                f"set on one object. Write a subclass with the {name} that you want"
            )
        super().__setattr__(name, value)

    @property
    def attributes(self) -> dict[str, Any]:
        """The public attributes by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.attributes.items())
        return f"{type(self).__name__}({settings})"


def built_in(base: type) -> dict[str, Any]:
    """The classes of fastnn's own under `base` that one can make objects of, by name, in alphabetical order.

    A class is fastnn's own if it stands in one of its modules under its own name.
    """
    return {cls.__name__: cls for cls in sorted(_below(base), key=lambda cls: cls.__name__)}


def _below(base: type) -> Iterator[type]:
    package = __name__.split(".")[0]
    cls: type
    for cls in base.__subclasses__():
        yield from _below(cls)
        home = sys.modules.get(cls.__module__)
        own = cls.__module__.split(".")[0] == package and vars(home).get(cls.__name__) is cls
        if own and not inspect.isabstract(cls):
            yield cls


_SOUND: WeakSet[type] = WeakSet()
_PROBE = np.array([[-2.0, 0.75], [-0.5, -1.25], [0.25, 150.0], [1.0, -300.0], [3.0, 0.125]])


def check_elementwise(component: Component) -> None:
    """See, once for a class, that its formulas `of_numbers` take each number by itself, as the kernels do.

    Raises
    ------
    FormulaError
        If what one makes of a number depends on the others, as in softmax, which sums over the column.
    """
    cls = type(component)
    if cls in _SOUND:
        return
    for name in component.of_numbers:
        formula = getattr(component, name)
        parameters = inspect.signature(formula).parameters.values()
        states = len(getattr(component, "state", ()))  # what *state stands for in an optimiser's rule
        count = sum(states if one.kind is one.VAR_POSITIONAL else 1 for one in parameters)
        if _mixes(formula, [np.roll(_PROBE, shift, axis=0) for shift in range(count)]):
            hint = (
                ""
                if count > 1
                else (". For softmax at the end of a network take Identity, and CrossEntropyLoss, which has it inside")
            )
            raise FormulaError(
                f"{cls.__name__}.{name} makes something else of whole arrays than of each number by itself (with "
                "np.sum, np.max, np.cumsum or the like, or with random numbers), but the kernels compute it number by "
                f"number; expected a formula of each number by itself{hint}"
            )
    _SOUND.add(cls)


def _mixes(formula: Callable[..., Any], columns: list[Array]) -> bool:
    """Whether the formula makes something else of whole arrays than of their numbers one by one."""
    places = list(np.ndindex(_PROBE.shape))
    try:
        with np.errstate(all="ignore"):
            together = _as_tuple(formula(*(column.copy() for column in columns)))
            alone = [_as_tuple(formula(*(column[place].reshape(1, 1) for column in columns))) for place in places]
    except Exception:  # it is for single numbers alone, or the compiler will say what is wrong with it
        return False
    try:
        for k, whole in enumerate(together):
            if not isinstance(whole, (np.ndarray, np.number, int, float)):
                return False  # no numbers: the compiler says that
            pieces = np.array([np.asarray(some[k], float).reshape(()) for some in alone]).reshape(_PROBE.shape)
            if not np.allclose(np.broadcast_to(np.asarray(whole, float), _PROBE.shape), pieces, equal_nan=True):
                return True
    except ValueError:  # of another shape: np.cumsum makes one row of all
        return True
    except (TypeError, IndexError):
        return False
    return False


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)
