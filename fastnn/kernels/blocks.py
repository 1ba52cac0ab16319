"""The C functions that kernels call by address: an activation or a loss over a block of numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from .fields import numeric_fields
from .formula import FormulaError, Method, age, block_address
from .memory import ONE, array_value, number, pointer_plus
from .numpy_scalars import COSTLY
from .part import OVERLOAD
from .refusal import ARRAY, NUMBER, NUMBERS, described

FLOAT64 = types.CPointer(types.float64)

_ONE_NUMBER = (
    "{} is compiled for one number at a time: use arithmetic, comparisons and NumPy functions of numbers (np.where "
    "instead of indexing), and keep what it needs as attributes of self: numbers, or arrays of them to loop over."
)
_ONE_COLUMN = (
    "A loss is compiled for the column of one sample: use what Numba knows of NumPy arrays of shape (outs, 1), and "
    "keep what it needs as attributes of self: numbers, or arrays of them."
)


def activation_blocks(activation: object, dtype: np.dtype[Any]) -> tuple[int, int]:
    """Addresses of ``x = f(y)`` and ``db = df(y) * dx`` over blocks of numbers.

    Where f(y) says what df(y) is, as for tanh, a method ``df_of_f(y, f)`` saves the work of a second exp.
    """
    cls: Any = type(activation)
    fields, real = numeric_fields(activation), numba.from_dtype(dtype)
    data, count = types.CPointer(real), types.int64
    hint, method = _ONE_NUMBER.format("An activation"), Method("f", ("x",), (real,), NUMBER)
    f = block_address(cls, fields, real, _make_f, types.void(FLOAT64, data, data, count), (method,), hint)
    make: Any = _make_df
    method = Method("df", ("x",), (real,), NUMBER)
    if df_method(cls) == "df_of_f":
        make, method = _make_df_of_f, Method("df_of_f", ("x", "f"), (real, real), NUMBER)
    signature = types.void(FLOAT64, data, data, data, data, count)
    df = block_address(cls, fields, real, make, signature, (method,), hint)
    return f, df


def df_method(cls: type) -> str:
    """The derivative to compile: ``df_of_f`` if there is one and no subclass has changed ``f`` or ``df`` since."""
    return "df_of_f" if age(cls, "df_of_f") <= min(age(cls, "f"), age(cls, "df")) else "df"


@intrinsic
def whole_registers(typingctx: Any) -> Any:
    """Have this function's loop take whole registers: left to itself LLVM takes half of those of AVX-512.

    Elsewhere it changes nothing, nor does it change any bit.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def _make_f(self_of: Any, f: Any) -> Callable[..., None]:
    def block(parameters: Any, y: Any, x: Any, count: int) -> None:
        whole_registers()
        act = self_of(parameters)
        for i in range(count):
            x[i] = f(act, y[i])

    return block


def _make_df(self_of: Any, df: Any) -> Callable[..., None]:
    def block(parameters: Any, y: Any, x: Any, dx: Any, db: Any, count: int) -> None:
        whole_registers()
        act = self_of(parameters)
        for i in range(count):
            db[i] = df(act, y[i]) * dx[i]

    return block


def _make_df_of_f(self_of: Any, df_of_f: Any) -> Callable[..., None]:
    def block(parameters: Any, y: Any, x: Any, dx: Any, db: Any, count: int) -> None:
        whole_registers()
        act = self_of(parameters)
        for i in range(count):
            db[i] = df_of_f(act, y[i], x[i]) * dx[i]

    return block


def loss_block(loss: object, dtype: np.dtype[Any], class_index: bool) -> int:
    """Address of the losses of n samples, which lie `apart` (0: they are added up), and of their gradients.

    `class_index` says what a target is: the number of a class, or a value for each output.
    """
    cls: Any = type(loss)
    fields, real = numeric_fields(loss), numba.from_dtype(dtype)
    data, count = types.CPointer(real), types.int64
    signature = types.void(FLOAT64, data, data, data, count, count, count, FLOAT64, count)
    names = loss_methods(cls)
    if class_index and names == ELEMENTS:
        raise FormulaError(f"{cls.__name__} takes values as targets, and was given the numbers of classes")
    make, methods = loss_maker(names, class_index), _methods_of_loss(names, real, class_index)
    if names == ELEMENTS and _is_costly(cls):
        make = _mean_of_costly_elements
    hint = _ONE_NUMBER.format("A loss of f and df") if names == ELEMENTS else _ONE_COLUMN
    return block_address(cls, fields, real, make, signature, methods, hint, narrow=of_numbers(names))


def _methods_of_loss(names: tuple[str, ...], real: Any, class_index: bool) -> tuple[Method, ...]:
    """What these methods take and return."""
    if names == ELEMENTS:
        return tuple(Method(name, ("v", "t"), (real, real), NUMBER) for name in names)
    values = types.Array(real, 1 if names == ("row",) else 2, "C")
    pair, kinds = ("values", "expected"), (values, types.int64 if class_index else values)
    if names == ("row",):
        return (Method("row", (*pair, "d"), (*kinds, values), NUMBER),)
    return Method("loss", pair, kinds, NUMBER), Method("dloss", pair, kinds, ARRAY)


def loss_methods(cls: type) -> tuple[str, ...]:
    """The methods from which the block of a loss is made.

    A method ``row(values, expected, d)`` gives loss and gradient at once, on one-dimensional arrays,
    and writes the gradient into d. A loss that is the mean of ``f(v, t)`` over the outputs has the
    derivative ``df(v, t)``. Any other is compiled from ``loss`` and ``dloss`` as the article
    writes them, on columns.
    """
    columns = min(age(cls, "loss"), age(cls, "dloss"))  # what a subclass has written last counts
    elements = hasattr(cls, "f") and hasattr(cls, "df") and getattr(cls, "target", None) == "values"
    if hasattr(cls, "row") and age(cls, "row") <= columns:
        return ("row",)
    return ELEMENTS if elements and min(age(cls, "f"), age(cls, "df")) <= columns else ("loss", "dloss")


def loss_maker(names: tuple[str, ...], class_index: bool) -> Callable[..., Any]:
    """What makes the block of the methods `names`."""
    if names == ELEMENTS:
        return _mean_of_elements
    if names == ("row",):
        return _row_of_class if class_index else _row_of_values
    return _column_of_class if class_index else _column_of_values


ELEMENTS = ("f", "df")  # the methods of a loss that is a mean over the outputs


def of_numbers(names: tuple[str, ...]) -> bool:
    """Whether these methods of a loss are formulas of single numbers, which are float32 in a float32 network."""
    return names in (("row",), ELEMENTS)


def _mean_of_elements(self_of: Any, f: Any, df: Any) -> Callable[..., None]:
    def block(
        parameters: Any, x: Any, t: Any, dx: Any, n: int, outs: int, stride: int, losses: Any, apart: int
    ) -> None:
        me, share = self_of(parameters), 1.0 / outs
        for i in range(n):
            values, expected, d = pointer_plus(x, i * stride), pointer_plus(t, i * outs), pointer_plus(dx, i * stride)
            total = 0.0
            for j in range(outs):
                total += f(me, values[j], expected[j])
                d[j] = df(me, values[j], expected[j]) * share
            losses[i * apart] += total * share

    return block


NEAR = 64  # numbers at a time in the next one


def _mean_of_costly_elements(self_of: Any, f: Any, df: Any) -> Callable[..., None]:
    """The same, with the same bits, where f or df takes longer than to copy a number and back.

    A sum is a chain of additions, and a sample may have one output alone: the loop above is none of vectors. Here the
    formulas have a loop of their own, over the numbers of some samples, or over some of the numbers of one.
    """

    @intrinsic
    def room(typingctx: Any, like: Any) -> Any:
        """A pointer to NEAR numbers of the kind to which another points, which are there while the call lasts."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return cgutils.alloca_once(builder, context.get_value_type(like.dtype), size=NEAR)

        return like(like), codegen

    def block(
        parameters: Any, x: Any, t: Any, dx: Any, n: int, outs: int, stride: int, losses: Any, apart: int
    ) -> None:
        whole_registers()
        me, share = self_of(parameters), 1.0 / outs
        values, d, parts = room(x), room(x), room(losses)
        rows = max(1, NEAR // outs)
        for first in range(0, n, rows):
            last, total = min(n, first + rows), 0.0
            for begin in range(0, outs, NEAR):  # once, unless there is one sample with more
                end = min(outs, begin + NEAR)
                width, expected = end - begin, pointer_plus(t, first * outs + begin)
                if outs == 1:  # loops over one number each would take as long as all the rest
                    for i in range(last - first):
                        values[i] = x[(first + i) * stride]
                else:
                    for i in range(last - first):
                        for j in range(width):
                            values[i * width + j] = x[(first + i) * stride + begin + j]
                for k in range((last - first) * width):
                    parts[k] = f(me, values[k], expected[k])
                    d[k] = df(me, values[k], expected[k]) * share
                if outs == 1:
                    for i in range(last - first):
                        losses[(first + i) * apart] += parts[i]
                        dx[(first + i) * stride] = d[i]
                    break
                for i in range(last - first):
                    for j in range(width):
                        total += parts[i * width + j]
                        dx[(first + i) * stride + begin + j] = d[i * width + j]
                    if end == outs:
                        losses[(first + i) * apart] += total * share
                        total = 0.0

    return block


def _is_costly(cls: Any) -> bool:
    """Whether the loss of a number or its derivative has more than arithmetic in it."""
    return any(name in COSTLY for method in ELEMENTS for name in getattr(cls, method).__code__.co_names)


def _row_of_class(self_of: Any, row: Any) -> Callable[..., None]:
    return _rows(self_of, row, _class_at)


def _row_of_values(self_of: Any, row: Any) -> Callable[..., None]:
    return _rows(self_of, row, _row_at)


def _column_of_class(self_of: Any, loss: Any, dloss: Any) -> Callable[..., None]:
    return _columns(self_of, loss, dloss, _class_at)


def _column_of_values(self_of: Any, loss: Any, dloss: Any) -> Callable[..., None]:
    return _columns(self_of, loss, dloss, _column_at)


# Every function that is compiled by itself and then becomes part of another one is optimised once more there. So the
# formulas stand in the block itself, and what gives them their arguments is a few instructions.


def _rows(self_of: Any, row: Any, target_at: Any) -> Callable[..., None]:
    def block(
        parameters: Any, x: Any, t: Any, dx: Any, n: int, outs: int, stride: int, losses: Any, apart: int
    ) -> None:
        whole_registers()
        me = self_of(parameters)
        for i in range(n):
            values, d = _row_at(x, i, stride, outs), _row_at(dx, i, stride, outs)
            losses[i * apart] += row(me, values, target_at(t, i, outs, outs), d)

    return block


def _columns(self_of: Any, loss: Any, dloss: Any, target_at: Any) -> Callable[..., None]:
    def block(
        parameters: Any, x: Any, t: Any, dx: Any, n: int, outs: int, stride: int, losses: Any, apart: int
    ) -> None:
        me = self_of(parameters)
        for i in range(n):
            values, expected = _column_at(x, i, stride, outs), target_at(t, i, outs, outs)
            _put(dloss(me, values, expected), _column_at(dx, i, stride, outs))
            losses[i * apart] += loss(me, values, expected)

    return block


def _put(result: Any, d: Any) -> None:
    """d = result, a column or one number; NaN where it is no column of that length.

    Not ``d[:] = result``: for that Numba compiles an error message, which takes as long as all the rest together.
    """


@overload(_put, jit_options=OVERLOAD)
def _put_column(result, d):  # type: ignore[no-untyped-def]
    if not isinstance(result, types.Array):
        return lambda result, d: d.fill(result)
    if result.ndim != 2:
        return None

    def put(result, d):  # type: ignore[no-untyped-def]
        fits = result.shape == d.shape
        for j in range(d.shape[0]):
            d[j, 0] = result[j, 0] if fits else np.nan

    return put


# What follows gives sample number i of those whose numbers begin at a pointer and lie `apart`.


def _array_at(dimensions: int) -> Any:
    """The numbers of a sample as an array (outs,) or (outs, 1)."""

    @intrinsic
    def array_at(typingctx: Any, pointer: Any, i: Any, apart: Any, outs: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place, i, apart, outs = args
            data = builder.gep(place, [builder.mul(i, apart)])
            return array_value(context, builder, signature.return_type, data, [outs, ONE][:dimensions])

        return types.Array(pointer.dtype, dimensions, "C")(pointer, *(types.int64,) * 3), codegen

    return array_at


_row_at, _column_at = _array_at(1), _array_at(2)


@intrinsic
def _class_at(typingctx: Any, pointer: Any, i: Any, apart: Any, outs: Any) -> Any:
    """The number of its class, an int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        classes = builder.bitcast(args[0], ir.IntType(64).as_pointer())
        return builder.load(builder.gep(classes, [args[1]]))

    return types.int64(pointer, *(types.int64,) * 3), codegen


def update_block(optimizer: Any, dtype: np.dtype[Any], *, many_rates: bool = False) -> int:
    """Address of one step of `optimizer` over a block of `count` parameters.

    Its numbers for a parameter lie `room` apart. The rate is one number, or of `many_rates` one for each parameter.
    """
    cls: Any = type(optimizer)
    names = tuple(optimizer.state)
    check_update(cls, names)
    fields, real = numeric_fields(optimizer), numba.from_dtype(dtype)
    data, count, time = types.CPointer(real), types.int64, types.float64
    signature = types.void(FLOAT64, data, data, data, count, count, data if many_rates else time, time)
    given = ("w", "g", "lr", "step", *names)
    method, hint = Method("update", given, (real,) * len(given), NUMBERS), _ONE_NUMBER.format("An update")
    made = update_maker(cls, names, many_rates)
    return block_address(cls, fields, real, made, signature, (method,), hint, distinct=many_rates)


def check_update(cls: type, names: tuple[str, ...]) -> None:
    """See that ``update`` takes as many numbers as there are in the optimiser's state."""
    wanted = ("self", "w", "g", "lr", "step", *names)
    signature = inspect.signature(cls.update)  # type: ignore[attr-defined]
    try:
        signature.bind(*wanted)
    except TypeError:
        raise FormulaError(
            f"{cls.__name__}.update takes {signature}; expected {_text(wanted)}, as its state is {_text(names)}"
        ) from None


def _text(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)})"


@lru_cache(maxsize=None)
def update_maker(cls: type, names: tuple[str, ...], many_rates: bool) -> Callable[..., Any]:
    """What makes the block of an optimiser with such a state, at one rate or many.

    For the state {"m": ..., "v": ...} its loop is ``w[i], m[i], v[i] = update(me, w[i], g[i], lr, step, m[i], v[i])``.
    """

    @intrinsic
    def state_of(typingctx: Any, s: Any, room: Any, i: Any) -> Any:
        """The numbers of parameter i, as a tuple."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            s_at, room, i = args
            numbers = [builder.load(place) for place in _places(builder, s_at, room, i, len(names))]
            return context.make_tuple(builder, signature.return_type, numbers)

        return types.UniTuple(s.dtype, len(names))(s, types.int64, types.int64), codegen

    @intrinsic
    def assign(typingctx: Any, w: Any, s: Any, room: Any, i: Any, values: Any) -> Any:
        """What ``update`` returns goes to parameter i and to its numbers."""
        kinds = tuple(values) if isinstance(values, types.BaseTuple) else (values,)
        if isinstance(values, types.BaseTuple) is not bool(names) or len(kinds) != len(names) + 1:
            raise FormulaError(f"{cls.__name__}.update returns {_misfit(values, names)}")
        for kind in kinds:
            if not isinstance(kind, (types.Integer, types.Float, types.Boolean)):
                raise FormulaError(f"{cls.__name__}.update returns {described(kind)}; expected numbers alone")

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            w_at, s_at, room, i, packed = args
            numbers = cgutils.unpack_tuple(builder, packed) if names else [packed]
            places = [builder.gep(w_at, [i]), *_places(builder, s_at, room, i, len(names))]
            for place, value, kind in zip(places, numbers, kinds):
                builder.store(context.cast(builder, value, kind, w.dtype), place)
            return context.get_dummy_value()

        return types.void(w, s, types.int64, types.int64, values), codegen

    def make(self_of: Any, update: Any) -> Callable[..., None]:
        def block(parameters: Any, w: Any, g: Any, s: Any, count: int, room: int, lr: float, step: float) -> None:
            whole_registers()
            me, rate, time = self_of(parameters), number(w, lr), number(w, step)
            for i in range(count):
                assign(w, s, room, i, update(me, w[i], g[i], rate, time, *state_of(s, room, i)))

        return block

    def make_for_many_rates(self_of: Any, update: Any) -> Callable[..., None]:
        def block(parameters: Any, w: Any, g: Any, s: Any, count: int, room: int, lr: Any, step: float) -> None:
            whole_registers()
            me, time = self_of(parameters), number(w, step)
            for i in range(count):
                assign(w, s, room, i, update(me, w[i], g[i], lr[i], time, *state_of(s, room, i)))

        return block

    made = make_for_many_rates if many_rates else make
    made.__qualname__ = f"update_maker{_text(names)}"  # a part of the cache key, as the state is not in the text
    return made


def _misfit(values: Any, names: tuple[str, ...]) -> str:
    """What the return value of an ``update`` is, and what it should be."""
    if not names:
        return f"a tuple of {len(values)}; expected w alone, as it has no state"
    if not isinstance(values, types.BaseTuple):
        return f"w alone; expected {len(names) + 1} numbers, {_text(('w', *names))}"
    return f"{len(values)} numbers; expected {len(names) + 1}, {_text(('w', *names))}"


def _places(builder: Any, s: Any, room: Any, i: Any, count: int) -> list[Any]:
    """Where the `count` numbers of parameter i are."""
    offsets = [builder.mul(ir.Constant(room.type, k), room) for k in range(count)]
    return [builder.gep(builder.gep(s, [offset]), [i]) for offset in offsets]
