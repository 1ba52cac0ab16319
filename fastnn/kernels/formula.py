"""From an activation's or a loss's NumPy text to machine code.

A formula is a method of a class, written with NumPy as the article writes it::

    class LeakyReLU(ActivationFunction):
        def f(self, x):
            return np.maximum(x, x * self.leaky_param)

NumPy runs that text on arrays: the reference does. Here Numba compiles the same text for one
number, inside a loop over a block of numbers. Nothing is registered or decorated:

- ``self`` is a compile-time object (`SelfType`): its numbers and arrays of numbers are read from an
  array of parameters, so changing one needs no compilation, and its methods are compiled on demand;
- ``np`` is ``numpy_scalars``, which has exp and tanh in forms that LLVM can vectorise;
- module-level helper functions that the formula calls are compiled in the same way;
- in float32 the constants of the text are float32 too, or every ``1 - x`` would be float64.

The machine code is cached on disk under a hash of the text and of all that it refers to.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import types as pytypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload_attribute, overload_method, register_model

from . import numpy_scalars
from .compiling import OPTIONS, compiled_address, undisturbed
from .fields import Fields, place_of
from .memory import ADDRESS, array_value
from .part import OVERLOAD, Kernel
from .refusal import (
    FormulaError as FormulaError,
    Text,
    check_result,
    check_returns,
    check_text,
    explained,
)
from .rewriting import FormulaCompiler, NarrowCompiler

Function = Callable[..., Any]


# --- self ------------------------------------------------------------------------------------


class SelfType(types.Type):  # type: ignore[misc]
    """The type of ``self`` in a formula: a class (one subclass each), its numbers and its arrays of numbers."""

    cls: type = object

    def __init__(self, fields: Fields, dtype: types.Float, narrow: bool) -> None:
        self.fields, self.dtype, self.narrow = fields, dtype, narrow
        super().__init__(name=f"{self.cls.__qualname__}@{id(self.cls)}({fields}, {narrow}, {dtype})")


class SelfModel(models.PrimitiveModel):  # type: ignore[misc]
    """``self`` is a pointer to its parameters, which are float64."""

    def __init__(self, dmm: Any, fe_type: SelfType) -> None:
        super().__init__(dmm, fe_type, ir.DoubleType().as_pointer())


@lru_cache(maxsize=None)
def _self_class(cls: type) -> type[SelfType]:
    """The `SelfType` of `cls`, on which Numba looks up the methods that formulas call."""
    own: type[SelfType] = type(f"SelfOf{cls.__name__}", (SelfType,), {"cls": cls})
    register_model(own)(SelfModel)
    for name in _methods(cls):
        _teach_method(own, name)
    return own


def _methods(cls: type) -> dict[str, pytypes.FunctionType]:
    """The methods of `cls` that a formula may call."""
    found = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, pytypes.FunctionType) and not name.startswith("__"):
                found[name] = value
    return found


def _teach_method(own: type[SelfType], name: str) -> None:
    """Let formulas call ``self.name(...)``; it is compiled when one does."""

    @overload_method(own, name, jit_options=OVERLOAD)
    def method(self, *args):  # type: ignore[no-untyped-def]  # Numba compares the two signatures
        compiled = _compiled(getattr(self.cls, name), self.dtype, self.narrow)

        def run(self, *args):  # type: ignore[no-untyped-def]
            return compiled(self, *args)

        return run


@lru_cache(maxsize=None)
def _teach_field(own: type[SelfType], name: str) -> None:
    """Let formulas read ``self.name``."""

    @overload_attribute(own, name, jit_options=OVERLOAD)
    def attribute(self):  # type: ignore[no-untyped-def]
        names = [field for field, _ in self.fields]
        if name not in names:  # of another object it was a number: Numba says that it is unknown
            return None
        index = names.index(name)
        kind, _, dimensions = self.fields[index][1].partition(" ")
        of_one = {"float": self.dtype, "int": types.int64, "bool": types.boolean}[kind]
        place = place_of(self.fields, index)
        read = _array(place, of_one, int(dimensions)) if dimensions else _parameter(place, of_one)

        def get(self):  # type: ignore[no-untyped-def]
            return read(self)

        return get


def _parameter(place: int, result: Any) -> Any:
    """The function that reads parameter number `place` of ``self`` as a `result`."""

    @intrinsic
    def read(typingctx: Any, self: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.load(builder.gep(args[0], [ir.Constant(ADDRESS, place)]))
            return context.cast(builder, value, types.float64, result)

        return result(self), codegen

    return read


def _array(place: int, of_one: Any, dimensions: int) -> Any:
    """The function that reads the array that is described at `place` (see `place_of`): no formula may write into it."""

    @intrinsic
    def read(typingctx: Any, self: Any) -> Any:
        result = types.Array(of_one, dimensions, "C", readonly=True)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            header = builder.bitcast(args[0], ADDRESS.as_pointer())
            start, *shape = (
                builder.load(builder.gep(header, [ir.Constant(ADDRESS, place + k)])) for k in range(1 + dimensions)
            )
            data = builder.gep(builder.bitcast(args[0], ir.IntType(8).as_pointer()), [start])
            data = builder.bitcast(data, context.get_data_type(of_one).as_pointer())
            return array_value(context, builder, result, data, shape)

        return result(self), codegen

    return read


def _self_from(self_type: SelfType) -> Any:
    """The function that makes ``self`` of a pointer to its parameters."""

    @intrinsic
    def make(typingctx: Any, parameters: Any) -> Any:
        return self_type(types.CPointer(types.float64)), lambda context, builder, sig, args: args[0]

    return make


# --- the text of one function ----------------------------------------------------------------


def _names(code: pytypes.CodeType) -> set[str]:
    """Every name that `code`, or a function inside it, mentions."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, pytypes.CodeType):
            names |= _names(constant)
    return names


def _translated(value: Any, dtype: types.Float, narrow: bool) -> Any:
    """What a formula means by a global or closed-over `value`."""
    if value is np:
        return numpy_scalars.namespace
    if isinstance(value, pytypes.FunctionType):
        return _compiled(value, dtype, narrow)
    name = getattr(value, "__name__", "")
    if name in numpy_scalars.OWN and value is getattr(np, name):  # from numpy import exp
        return numpy_scalars.OWN[name]
    return value


def _compiled(function: pytypes.FunctionType, dtype: types.Float, narrow: bool) -> Any:
    """The dispatcher of a formula or of a helper function it calls, with the constants that it refers to now."""
    return _compiled_as(function, dtype, narrow, function_digest(function))


@lru_cache(maxsize=None)
def _compiled_as(function: pytypes.FunctionType, dtype: types.Float, narrow: bool, digest: str) -> Any:
    code = function.__code__
    scope = {name: function.__globals__[name] for name in _names(code) if name in function.__globals__}
    cells = tuple(
        pytypes.CellType(_translated(cell.cell_contents, dtype, narrow)) for cell in function.__closure__ or ()
    )
    copy = pytypes.FunctionType(
        code,
        {**function.__globals__, **{name: _translated(value, dtype, narrow) for name, value in scope.items()}},
        function.__name__,
        function.__defaults__,
        cells,
    )
    copy.__qualname__ = function.__qualname__
    options = {**OPTIONS, "forceinline": True}  # a call would stop the vectoriser
    return Kernel(copy, {}, options, NarrowCompiler if narrow and dtype.bitwidth == 32 else FormulaCompiler)


# --- the hash of a formula -------------------------------------------------------------------


def _digest(value: Any, seen: set[int]) -> str:
    """A text that changes when the meaning of `value` in a formula may have changed."""
    if isinstance(value, pytypes.FunctionType):
        if id(value) in seen:
            return "recursion"
        seen.add(id(value))
        names = sorted(_names(value.__code__))
        parts = [_digest(value.__code__, seen), _digest(value.__defaults__, seen)]
        parts += [f"{n}={_digest(value.__globals__[n], seen)}" for n in names if n in value.__globals__]
        parts += [_digest(cell.cell_contents, seen) for cell in value.__closure__ or ()]
        return f"function({','.join(parts)})"
    if isinstance(value, pytypes.CodeType):
        constants = [_digest(constant, seen) for constant in value.co_consts]
        return f"code({value.co_code.hex()},{value.co_names},{value.co_varnames},{constants})"
    if isinstance(value, pytypes.ModuleType):
        return value.__name__
    if hasattr(value, "py_func"):
        return _digest(value.py_func, seen)
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    return f"{type(value).__qualname__}:{value!r}"


def function_digest(function: Function) -> str:
    """Hash of a function's text and of all that it refers to."""
    return hashlib.sha256(_digest(function, set()).encode()).hexdigest()


def age(cls: type, name: str) -> int:
    """How far up among the bases of `cls` stands the class that defines `name`: 0 is `cls` itself."""
    return next((i for i, base in enumerate(cls.__mro__) if name in vars(base)), len(cls.__mro__))


def class_digest(cls: type, *more: object) -> str:
    """Hash of all methods of `cls` (a formula may call any of them)."""
    seen: set[int] = set()
    text = [f"{name}:{_digest(function, seen)}" for name, function in sorted(_methods(cls).items())]
    return hashlib.sha256(repr((text, more)).encode()).hexdigest()


# --- blocks ----------------------------------------------------------------------------------


def callables(cls: Any, fields: Fields, real: types.Float, names: tuple[str, ...], narrow: bool = True) -> list[Any]:
    """``self_of``, which gives ``self`` from a pointer to the parameters, and the methods `names`, for kernels."""
    own: Any = _self_class(cls)
    for name, _ in fields:
        _teach_field(own, name)
    return [_self_from(own(fields, real, narrow)), *(_compiled(getattr(cls, name), real, narrow) for name in names)]


class Method(NamedTuple):
    """A formula of a class: what it is called, takes and returns.

    Attributes
    ----------
    name : str
    parameters : tuple of str
        What it must take after ``self``.
    types : tuple of Numba's types
        Theirs.
    returns : str
        NUMBER, ARRAY or NUMBERS (see ``refusal``).
    """

    name: str
    parameters: tuple[str, ...]
    types: tuple[Any, ...]
    returns: str


@lru_cache(maxsize=None)
@undisturbed
def block_address(
    cls: Any,
    fields: Fields,
    real: types.Float,
    make: Function,
    signature: Any,
    methods: tuple[Method, ...],
    hint: str,
    narrow: bool = True,
    distinct: bool = False,
) -> int:
    """Address of the C function that ``make(self_of, *compiled)`` returns, compiled.

    Parameters
    ----------
    cls, fields
        The class of the activation, loss or optimiser, and its `numeric_fields`.
    real
        Numba's type of the network's numbers.
    make
        Takes ``self_of``, which gives ``self`` from a pointer to the parameters, and the compiled
        `methods`; returns a function of `signature`.
    hint
        The end of the error message: what such a formula may use.
    narrow
        For formulas of numbers: in float32, their constants are float32 too.
    distinct
        Whether all pointers that it will get lead to different memory.

    Raises
    ------
    FormulaError
        If Numba cannot compile it, or it does what compiled text cannot: raise errors, print.
    """
    texts = [_text(cls, fields, method, hint) for method in methods]
    for text in texts:
        check_text(text)
        check_returns(text)
    names = tuple(method.name for method in methods)
    try:
        key = class_digest(cls, fields, str(real), str(signature), make.__qualname__, names, narrow)
        self_of, *compiled = callables(cls, fields, real, names, narrow)
        return compiled_address(make(self_of, *compiled), signature, key, distinct=distinct)
    except FormulaError:  # which says all there is to say
        raise
    except Exception as error:  # Numba lets some of Python's own through, as AttributeError
        for text, method in zip(texts, methods):  # each by itself: the first that fails is the one
            _try(text, fields, method, real, narrow)
        raise explained(texts[0], error, f"; this is of {' and '.join(names)} together, in {real}") from None


def _text(cls: Any, fields: Fields, method: Method, hint: str) -> Text:
    """The text of a method, which must be a plain one that takes what it is given."""
    name, wanted = f"{cls.__name__}.{method.name}", ("self", *method.parameters)
    function = inspect.getattr_static(cls, method.name)
    if not isinstance(function, pytypes.FunctionType):
        raise FormulaError(
            f"{name} is a {type(function).__name__}; expected a plain method, def {method.name}({', '.join(wanted)}): "
            "it needs no decorator to be compiled"
        )
    takes = inspect.signature(function)
    try:
        takes.bind(*wanted)
    except TypeError:
        raise FormulaError(f"{name} takes {takes}; expected ({', '.join(wanted)})") from None
    return Text(function, name, cls, tuple(field for field, _ in fields), hint)


def _try(text: Text, fields: Fields, method: Method, real: types.Float, narrow: bool) -> None:
    """Compile one method alone, and say what is wrong with it, if it is the one that fails."""
    try:
        result = _result_type(text, fields, method.types, real, narrow)
    except Exception as error:
        more = ""
        if real == types.float32:
            with contextlib.suppress(Exception):
                wide = tuple(_widened(kind) for kind in method.types)
                _result_type(text, fields, wide, types.float64, narrow)
                more = f"; in float64 it compiles, but in float32 {_NARROW if narrow else _WIDE}"
        raise explained(text, error, more) from None
    check_result(text, result, method.returns)


_NARROW = (
    "the numbers written in a formula, arguments too, are float32: write int(3) where a whole number is needed, as for "
    "a length or a place"
)
_WIDE = (
    "the column is float32, and what np.zeros, np.ones and the like make is float64: np.zeros_like(values) is of the "
    "column's dtype, as is np.zeros(3, values.dtype), where both must be of one"
)


def _result_type(text: Text, fields: Fields, kinds: tuple[Any, ...], real: types.Float, narrow: bool) -> Any:
    own: Any = _self_class(text.cls)  # type: ignore[arg-type]
    dispatcher = _compiled(text.function, real, narrow)
    return dispatcher.returns(own(fields, real, narrow), *kinds)


def _widened(kind: Any) -> Any:
    """A type with float64 in the place of float32."""
    if isinstance(kind, types.Array):
        return kind.copy(dtype=types.float64) if kind.dtype == types.float32 else kind
    return types.float64 if kind == types.float32 else kind
