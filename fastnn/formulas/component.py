"""What activations, losses, optimisers, schedules and stages have in common: settings, which are attributes.

A file keeps of such an object its class and the arguments of the constructor that make one like it (`described`), and
`made` calls the constructor: nothing is ever set by a name that a file gives.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np

from ..changes import Watched
from ..checks import Array, Checked, shown
from ..kernels.fields import MOST_NUMBERS, arrays_read, as_array, reads
from ..kernels.formula import FormulaError

C = TypeVar("C", bound="Component")


class Component(Checked, Watched):
    """Something with settings, which are its public attributes.

    Attributes
    ----------
    required : mapping of str to value
        An example of each argument that the constructor cannot do without. `example` uses it.
    of_numbers : tuple of str
        The names of those of its formulas that take each number by itself.
    is_compiled : bool
        Whether the kernels compile the text of its class, so that a method set on one object would not count.
    of_the_class : frozenset of str
        Names of what only a class may say: what kernels, or the memory that they are given, are made by.
    given : tuple
        The arguments with which the constructor was called, by place and by name.
    """

    __slots__ = ("__dict__", "__weakref__", "given")  # beside the attributes, as `stamp` is

    required: Mapping[str, Any] = {}
    of_numbers: tuple[str, ...] = ()
    is_compiled: bool = True
    of_the_class: frozenset[str] = frozenset({"required", "of_numbers", "is_compiled", "of_the_class", "checked"})
    given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls, *args, **kwargs)
        object.__setattr__(self, "given", (args, kwargs))
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), _GIVEN: self.given}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "given", state.get(_GIVEN, ((), {})))
        super().__setstate__({name: value for name, value in state.items() if name != _GIVEN})

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
        if name in self.of_the_class:
            raise TypeError(
                f"{type(self).__name__}.{name} cannot be set on one object: the kernels go by that of the class. "
                f"Write a subclass with the {name} that you want"
            )
        if self.is_compiled and callable(getattr(type(self), name, None)):
            raise TypeError(
                f"{type(self).__name__}.{name} is a method, and the kernels compile that of the class: it cannot be "
                f"set on one object. Write a subclass with the {name} that you want"
            )
        if self.is_compiled and isinstance(value, (list, tuple, np.ndarray)) and reads(type(self), name):
            value = as_array(value)
        super().__setattr__(name, value)

    @property
    def attributes(self) -> dict[str, Any]:
        """The public attributes by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @classmethod
    def made(cls: type[C], settings: Mapping[str, Any]) -> C:
        """One made by calling the constructor with `settings`, and with nothing but its parameters.

        Raises
        ------
        ValueError, TypeError
            If a name is no parameter, one is missing, or the constructor refuses a value.
        """
        parameters = _parameters(cls)
        kinds = {one.kind for one in parameters.values()}
        unknown = [name for name in settings if name not in parameters]
        if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ValueError(
                f"{cls.__name__} has no setting {unknown[0]!r}; expected the parameters of its constructor: "
                f"{', '.join(parameters) or 'none'}"
            )
        placed = [settings[name] for name, one in parameters.items() if one.kind is one.POSITIONAL_ONLY]
        named = {name: value for name, value in settings.items() if name not in _placed(parameters)}
        return cls(*placed, **named)

    def described(self, depth: int = 0) -> dict[str, Any]:
        """Its class, and the arguments of the constructor that make one like it, for a file.

        Each is the attribute of the parameter's name, as it is now, or what the constructor was given.

        Raises
        ------
        TypeError
            If the constructor does not make one like it, or takes more than numbers, arrays of numbers, strings, None
            and components.
        ValueError
            If components lie within components more than 16 deep.
        """
        cls = type(self)
        if depth > MOST_DEEP:
            raise ValueError(f"{cls.__name__} lies {depth} deep in others; a file holds at most {MOST_DEEP}")
        reason = ""
        candidates = [self._arguments(now=True), self._arguments(now=False)]
        within = {id(x): x for arguments in candidates for x in arguments.values() if isinstance(x, Component)}
        described = {key: x.described(depth + 1) for key, x in within.items()}  # each once, however deep they lie
        for arguments in candidates:
            try:
                settings = {name: _plain(f"{cls.__name__}.{name}", x) for name, x in arguments.items()}
                difference = self.difference(cls.made(settings))
            except (TypeError, ValueError) as error:
                difference = str(error)
            if not difference:
                own = {} if is_built_in(cls) else {"own": True}
                settings = {name: described.get(id(x), _in_file(x)) for name, x in settings.items()}
                return {"class": cls.__name__, **own, "settings": settings}
            reason = reason or difference
        raise TypeError(
            f"{reason}. A file keeps the arguments of a constructor: let {cls.__name__}.__init__ take all that its "
            "objects differ by, as numbers, arrays, strings or None, and keep each as the attribute of that name"
        )

    def _arguments(self, *, now: bool) -> dict[str, Any]:
        """The arguments of the constructor: as they were given, or, `now`, the attributes of their names."""
        parameters = _parameters(type(self))
        signature = inspect.Signature(list(parameters.values()))
        found: dict[str, Any] = {}
        for name, value in signature.bind_partial(*self.given[0], **self.given[1]).arguments.items():
            kind = parameters[name].kind
            found.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
        if now:
            for name in {**parameters, **found}:
                if name in vars(self) or isinstance(getattr(type(self), name, None), property):
                    found[name] = getattr(self, name)
        return {name: found[name] for name in {**parameters, **found} if name in found}

    def difference(self, other: Component) -> str:
        """The first attribute by which `other`, of the same class, differs, in words; "" if there is none."""
        mine, others = self.compared, other.compared
        for name in {**mine, **others}:
            if name not in others:
                return f"{type(self).__name__}.{name} is {mine[name]!r}, which cannot be saved"
            if name not in mine or not _same(mine[name], others[name]):
                value = repr(mine[name]) if name in mine else "not there"
                return (
                    f"{type(self).__name__}.{name} is {value}, which cannot be saved: made anew it would be "
                    f"{others[name]!r}"
                )
        return ""

    @property
    def compared(self) -> dict[str, Any]:
        """The attributes, private ones too, that must come back from a file."""
        return dict(vars(self))

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={_in_words(value)}" for name, value in self.attributes.items())
        return f"{type(self).__name__}({settings})"


def _in_words(value: Any) -> str:
    """The value of an attribute, an array in one line."""
    if isinstance(value, np.ndarray):
        with np.printoptions(threshold=12, edgeitems=2, linewidth=10**6):
            return " ".join(repr(value).split())
    return repr(value)


MOST_DEEP = 16  # components within components
_GIVEN = " given"  # no attribute has such a name


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """The parameters of the constructor by name."""
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])  # type: ignore[misc]


def _placed(parameters: Mapping[str, inspect.Parameter]) -> set[str]:
    return {name for name, one in parameters.items() if one.kind is one.POSITIONAL_ONLY}


def _plain(name: str, value: Any) -> Any:
    """A setting as the constructor gets it when a file is read."""
    if isinstance(value, Component):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    if type(value) in (np.ndarray, np.memmap) and value.dtype.name in _DTYPES and 1 <= value.size <= MOST_NUMBERS:
        return np.array(value)
    raise TypeError(
        f"{name} is {shown(value)}, which cannot be saved; expected a number, an array of numbers, a string or None"
    )


_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
_DTYPES += ("float16", "float32", "float64")


def _in_file(value: Any) -> Any:
    """A plain setting as JSON has it."""
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.name, "array": value.tolist()}
    return value


def is_array_in_file(value: Any) -> bool:
    """Whether it is an array, of the settings in a file."""
    return isinstance(value, dict) and set(value) == {"dtype", "array"}


def array_from_file(name: str, about: Mapping[str, Any]) -> Array:
    """The array that a file describes.

    Raises
    ------
    ValueError
        If it is none of numbers of that dtype.
    """
    dtype, numbers = about["dtype"], about["array"]
    wanted = "expected lists of numbers, all equally long"
    if dtype not in _DTYPES:
        raise ValueError(f"{name} is an array of dtype {shown(dtype)}; expected one of {', '.join(_DTYPES)}")
    try:
        found = np.array(numbers)
        array = found.astype(dtype)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError(f"{name} is {shown(numbers)}; {wanted}") from None
    exact = found.dtype.kind in "biuf" and np.array_equal(array, found, equal_nan=True)
    if not isinstance(numbers, list) or not 1 <= array.size <= MOST_NUMBERS or not exact:
        raise ValueError(f"{name} is {shown(numbers)}; {wanted}, and of dtype {dtype}")
    return array


def _same(a: Any, b: Any) -> bool:
    """Whether two attributes are as good as equal."""
    if isinstance(a, Component):
        return a is b or (type(a) is type(b) and not a.difference(b))
    if isinstance(a, (list, tuple)) is not isinstance(b, (list, tuple)):  # which no formula reads, and no array
        return False
    try:
        return bool(np.array_equal(a, b, equal_nan=True))
    except (TypeError, ValueError):
        return bool(np.array_equal(a, b))


def is_built_in(cls: type) -> bool:
    """Whether it is a class of fastnn's own: it stands in one of its modules under its own name."""
    home = sys.modules.get(cls.__module__)
    return cls.__module__.split(".")[0] == _PACKAGE and home is not None and vars(home).get(cls.__name__) is cls


_PACKAGE = __name__.split(".")[0]


def built_in(base: type) -> dict[str, Any]:
    """The classes of fastnn's own under `base` that one can make objects of, by name, in alphabetical order."""
    return {cls.__name__: cls for cls in sorted(_below(base), key=lambda cls: cls.__name__)}


def _below(base: type) -> Iterator[type]:
    cls: type
    for cls in base.__subclasses__():
        yield from _below(cls)
        if is_built_in(cls) and not inspect.isabstract(cls):
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


FAR = (-1e6, 1e6)
"""Numbers at which a formula is tried that may compute from a number the place where it reads an array."""


def check_arrays(component: Component, formulas: tuple[str, ...]) -> None:
    """See that its `formulas` of numbers make one number of each, whatever arrays they read.

    The kernels look at no index.

    Raises
    ------
    FormulaError
        If one raises an error on a number, or makes an array of it; or if an array is none of numbers.
    """
    arrays = arrays_read(component)
    if not arrays:
        return
    name = type(component).__name__
    about = ", ".join(f"{name}.{key} of shape {array.shape}" for key, array in arrays.items())
    for method in formulas:
        formula = getattr(component, method)
        parameters = inspect.signature(formula).parameters.values()
        states = len(getattr(component, "state", ()))
        count = sum(states if one.kind is one.VAR_POSITIONAL else 1 for one in parameters)
        try:
            with np.errstate(all="ignore"):
                results = _as_tuple(formula(*np.linspace(0.5, 0.25, count)))
                for number in FAR:
                    with contextlib.suppress(
                        ArithmeticError, ValueError
                    ):  # Python's own numbers are no concern of ours
                        formula(*np.roll(np.linspace(0, number, count + 1)[1:], count // 2))
        except Exception as error:
            raise FormulaError(
                f"{name}.{method}, given numbers of up to {FAR[-1]:g}, raised {type(error).__name__}: {error}; it "
                f"reads {about}, and may ask for places that are there alone, whatever number it is given: "
                "min(max(i, 0), len(self.table) - 1)"
            ) from error
        if any(np.shape(result) for result in results):
            raise FormulaError(
                f"{name}.{method} makes an array of one number; it reads {about}, and is compiled for one number at a "
                "time: let it ask for single numbers (self.coefficients[0]) or loop over them. A loss with something "
                "of its own for each output is a LossFunction: write its loss and dloss, of columns (outs, 1)"
            )


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
