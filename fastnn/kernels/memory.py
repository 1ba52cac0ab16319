"""Addresses and pointers: how a kernel reaches the network's memory.

Python hands a kernel one integer, the address of a record (see ``records``); the record holds
the addresses of the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

ADDRESS = ir.IntType(64)
ONE = ir.Constant(ADDRESS, 1)


@intrinsic
def pointer_at(typingctx: Any, address: Any, like: Any) -> Any:
    """The integer `address` as a pointer to elements of the array `like`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(types.int64, like), codegen


@intrinsic
def pointer_to(typingctx: Any, array: Any) -> Any:
    """Pointer to the first element of `array`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def pointer_plus(typingctx: Any, pointer: Any, count: Any) -> Any:
    """`pointer` advanced by `count` elements."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.int64), codegen


@intrinsic
def address_of(typingctx: Any, pointer: Any) -> Any:
    """The address to which `pointer` points, as a record keeps it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ADDRESS)

    return types.int64(pointer), codegen


@intrinsic
def number(typingctx: Any, pointer: Any, value: Any) -> Any:
    """`value` as a number of the dtype that `pointer` points to."""
    return pointer.dtype(pointer, pointer.dtype), lambda context, builder, sig, args: args[1]


def array_value(context: Any, builder: Any, kind: Any, data: Any, shape: list[Any]) -> Any:
    """The array, of Numba's type `kind` and contiguous, of the numbers at `data`, which somebody else owns."""
    array = context.make_array(kind)(context, builder)
    size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides = [size]
    for length in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], length))
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()


def record_reader(dtype: Any) -> Callable[[int], Any]:
    """A function for kernels: the record of `dtype` at an address."""
    record = numba.from_dtype(dtype)

    @intrinsic
    def read(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(record))

        return record(types.int64), codegen

    return read  # type: ignore[no-any-return]


@intrinsic
def call(typingctx: Any, address: Any, *args: Any) -> Any:
    """Call the void C function at `address` with `args` (pointers and numbers)."""
    return _caller(types.void, args)


@intrinsic
def ask(typingctx: Any, address: Any, *args: Any) -> Any:
    """What the C function at `address`, which returns an int64, says to `args`."""
    return _caller(types.int64, args)


def _caller(answer: Any, args: Any) -> Any:
    parameters = args[0] if len(args) == 1 and isinstance(args[0], types.BaseTuple) else types.Tuple(args)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        # Variable arguments arrive packed in one tuple.
        unpacked = [builder.extract_value(values[1], i) for i in range(len(parameters))]
        kinds = [context.get_value_type(kind) for kind in parameters]
        returned = ir.VoidType() if answer is types.void else ADDRESS
        function = builder.inttoptr(values[0], ir.FunctionType(returned, kinds).as_pointer())
        result = builder.call(function, unpacked)
        return context.get_dummy_value() if answer is types.void else result

    return answer(types.int64, types.StarArgTuple.from_types(parameters)), codegen
