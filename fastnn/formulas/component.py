"""What activations, losses, optimisers, schedules and stages have in common: settings, which are attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ..changes import Watched

C = TypeVar("C", bound="Component")


class Component(Watched):
    """Something with settings, which are its public attributes.

    Attributes
    ----------
    required : mapping of str to value
        An example of each argument that the constructor cannot do without. `example` uses it.
    """

    required: Mapping[str, Any] = {}

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

    @property
    def attributes(self) -> dict[str, Any]:
        """The public attributes by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.attributes.items())
        return f"{type(self).__name__}({settings})"


def built_in(base: type) -> dict[str, Any]:
    """The classes of fastnn's own under `base` that one can make objects of, by name, in alphabetical order."""
    return {cls.__name__: cls for cls in sorted(_below(base), key=lambda cls: cls.__name__)}


def _below(base: type) -> Iterator[type]:
    cls: Any
    for cls in base.__subclasses__():
        yield from _below(cls)
        if cls.__module__.split(".")[0] == __name__.split(".")[0] and not inspect.isabstract(cls):
            yield cls
