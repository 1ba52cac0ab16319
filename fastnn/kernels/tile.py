"""Explicit vector instructions: the `Vector` value and the register tiles of matrix products.

LLVM will not vectorise a matrix product by itself as well as this: it has to assume that the
arrays overlap, so it keeps sums in memory. Here the instructions are placed by hand, as LLVM
vector operations of the width of this processor (``cpu.lanes``), through Numba intrinsics.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from .cpu import lanes
from .fused import multiply_add as multiply_add, multiply_add_ir as _multiply_add
from .part import OVERLOAD

INDEX, LANE = ir.IntType(64), ir.IntType(32)


def _width(dtype: types.Float) -> int:
    return lanes(f"f{dtype.bitwidth // 8}")


def _ir_vector(dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), _width(dtype))


class Vector(types.Type):  # type: ignore[misc]
    """As many numbers of one dtype as one register holds."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype}, {_width(dtype)})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    """A Vector is one LLVM vector value."""

    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, _ir_vector(fe_type.dtype))


# --- instructions, on LLVM values ------------------------------------------------------------


def _element_bytes(vector: ir.VectorType) -> int:
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _splat(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(LANE, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(LANE, vector.count), [0] * vector.count))


def _vector_pointer(builder: Any, pointer: Any, index: Any, vector: ir.VectorType) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _load(builder: Any, pointer: Any, index: Any, vector: ir.VectorType) -> Any:
    return builder.load(_vector_pointer(builder, pointer, index, vector), align=_element_bytes(vector))


def _store(builder: Any, value: Any, pointer: Any, index: Any) -> None:
    builder.store(value, _vector_pointer(builder, pointer, index, value.type), align=_element_bytes(value.type))


def _prefetch(builder: Any, pointer: Any) -> None:
    """Ask for the cache line at `pointer`, which will be read later."""
    byte = ir.IntType(8).as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [byte, LANE, LANE, LANE])
    read, keep, data = ir.Constant(LANE, 0), ir.Constant(LANE, 3), ir.Constant(LANE, 1)
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0i8")
    builder.call(function, [builder.bitcast(pointer, byte), read, keep, data])


# --- the same instructions, for kernels ------------------------------------------------------


@intrinsic
def width_of(typingctx: Any, pointer: Any) -> Any:
    """How many numbers one vector holds."""
    return types.int64(pointer), lambda context, builder, sig, args: ir.Constant(INDEX, _width(pointer.dtype))


@intrinsic
def load(typingctx: Any, pointer: Any, index: Any) -> Any:
    """The vector that starts at element `index`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, args[0], args[1], _ir_vector(pointer.dtype))

    return Vector(pointer.dtype)(pointer, types.int64), codegen


@intrinsic
def store(typingctx: Any, vector: Any, pointer: Any, index: Any) -> Any:
    """Write `vector` at element `index`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _store(builder, *args)
        return context.get_dummy_value()

    return types.void(vector, pointer, types.int64), codegen


@intrinsic
def prefetch(typingctx: Any, pointer: Any) -> Any:
    """Ask for the cache line at `pointer`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _prefetch(builder, args[0])
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def splat(typingctx: Any, pointer: Any, value: Any) -> Any:
    """The vector whose every number is `value`, of the dtype that `pointer` points to."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[1], _ir_vector(pointer.dtype))

    return Vector(pointer.dtype)(pointer, pointer.dtype), codegen


@intrinsic
def _add(typingctx: Any, a: Any, b: Any) -> Any:
    return a(a, b), lambda context, builder, sig, args: builder.fadd(*args)


@overload(operator.add, jit_options=OVERLOAD)
def _vector_add(a, b):  # type: ignore[no-untyped-def]  # Numba compares the two signatures
    if isinstance(a, Vector) and a == b:
        return lambda a, b: _add(a, b)
    return None


@intrinsic
def either(typingctx: Any, a: Any, b: Any) -> Any:
    """The bits that are set in a or in b: zero where both are zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        bits = ir.VectorType(ir.IntType(8 * _element_bytes(kind)), kind.count)
        return builder.bitcast(builder.or_(*(builder.bitcast(value, bits) for value in args)), kind)

    return a(a, a), codegen


@intrinsic
def total(typingctx: Any, vector: Any) -> Any:
    """The sum of a vector's numbers, by halves: always in the same order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, count = args[0], args[0].type.count
        while count > 1:
            count //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = (
                builder.shuffle_vector(value, undefined, ir.Constant(ir.VectorType(LANE, count), picks))
                for picks in (list(range(count)), list(range(count, 2 * count)))
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(LANE, 0))

    return vector.dtype(vector), codegen


@intrinsic
def first_of(typingctx: Any, vector: Any, count: Any, filler: Any) -> Any:
    """`vector` with `filler` (whatever was there) in all places but its first `count`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        places = ir.Constant(ir.VectorType(INDEX, kind.count), list(range(kind.count)))
        kept = builder.icmp_signed("<", places, _splat(builder, args[1], places.type))
        return builder.select(kept, args[0], _splat(builder, args[2], kind))

    return vector(vector, types.int64, vector.dtype), codegen


@intrinsic
def transpose_square(typingctx: Any, source: Any, row: Any, target: Any, target_row: Any) -> Any:
    """Write the transpose of as many rows of one vector as a vector has numbers.

    In log2(width) rounds: in the round of distance d, each pair of rows i and i + d swaps the
    blocks of d columns that lie on the wrong side of the diagonal (Eklundh 1972).
    """
    vector = _ir_vector(source.dtype)
    width = vector.count

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, row, target, target_row = args

        def start(base: Any, i: int, stride: Any) -> Any:
            return builder.gep(base, [builder.mul(ir.Constant(INDEX, i), stride)])

        zero = ir.Constant(INDEX, 0)
        rows = [_load(builder, start(source, i, row), zero, vector) for i in range(width)]
        distance = width // 2
        while distance:
            for i in range(width):
                if i & distance == 0:
                    pair = rows[i], rows[i + distance]
                    low = [c if c & distance == 0 else width + c - distance for c in range(width)]
                    high = [c + distance if c & distance == 0 else width + c for c in range(width)]
                    rows[i], rows[i + distance] = (
                        builder.shuffle_vector(*pair, ir.Constant(ir.VectorType(LANE, width), picks))
                        for picks in (low, high)
                    )
            distance //= 2
        for i in range(width):
            _store(builder, rows[i], start(target, i, target_row), zero)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), codegen


def make_tile(rows: int, vectors: int, listed: bool = False) -> Callable[..., None]:
    """The intrinsic for one tile of ``C = alpha A B + beta D``, `rows` by `vectors` whole vectors.

    ::

        C[i, j] = alpha * sum_k A[i, k] * B[k, j] + beta * D[i, j]

    for the `rows` rows from i on, and `depth` values from k on; if it is `listed`, both count places
    in the lists `i_list` and `k_list`, which hold the rows and the values of k.

    All of C's tile stays in registers while k runs: B is read by whole vectors, A one number at a
    time. A has any two strides, so it may be a batch of rows or its transpose. D is read only where
    beta is not 0; it may be C itself, or with row stride 0 one row for all (the bias). Every sum
    runs over k in ascending order whatever the tile, so a result does not depend on how a matrix
    was cut into tiles. Where it `begins` with D, since alpha and beta are 1, that is an addition less to wait for.
    """

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, c: Any, c_row: Any,
        d: Any, d_row: Any, i: Any, i_list: Any, k: Any, k_list: Any, depth: Any, alpha: Any, beta: Any, begins: Any,
    ) -> Any:  # fmt: skip
        vector = _ir_vector(c.dtype)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, a_row, a_k, b, b_k, c, c_row, d, d_row, i_first, i_list, k_first, k_list, depth, *factors = args
            alpha, beta, begins = factors

            def member(first: Any, places: Any, offset: Any) -> Any:
                place = builder.add(first, offset)
                return builder.load(builder.gep(places, [place])) if listed else place

            i_of = [member(i_first, i_list, ir.Constant(INDEX, i)) for i in range(rows)]

            def row(base: Any, i: int, stride: Any) -> Any:
                return builder.gep(base, [builder.mul(i_of[i], stride)])

            def column(j: int) -> Any:
                return ir.Constant(INDEX, j * vector.count)

            zero = ir.Constant(vector, [0.0] * vector.count)
            # LLVM's mem2reg makes registers of these slots.
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
            with builder.if_else(begins) as (from_d, from_zero):
                with from_d:
                    for i, slots in enumerate(sums):
                        for j, slot in enumerate(slots):
                            d_i_j = _load(builder, row(d, i, d_row), column(j), vector)
                            builder.store(builder.fadd(d_i_j, zero), slot)  # -0 becomes 0, as it does beside 0 * W
                with from_zero:
                    for i, slots in enumerate(sums):
                        for slot in slots:
                            builder.store(zero, slot)
                        _prefetch(builder, row(d, i, d_row))  # by the time the sums are done, D is in the cache
            a_rows = [row(a, i, a_row) for i in range(rows)]

            with cgutils.for_range(builder, depth) as loop:
                k = member(k_first, k_list, loop.index)
                b_start = builder.gep(b, [builder.mul(k, b_k)])
                a_start = builder.mul(k, a_k)
                b_k_j = [_load(builder, b_start, column(j), vector) for j in range(vectors)]
                for i in range(rows):
                    a_i_k = _splat(builder, builder.load(builder.gep(a_rows[i], [a_start])), vector)
                    for j in range(vectors):
                        slot = sums[i][j]
                        builder.store(_multiply_add(builder, a_i_k, b_k_j[j], builder.load(slot)), slot)

            scale, scale_d = _splat(builder, alpha, vector), _splat(builder, beta, vector)

            def write(value_of: Callable[[Any, Any, Any], Any]) -> None:
                for i in range(rows):
                    c_i, d_i = row(c, i, c_row), row(d, i, d_row)
                    for j in range(vectors):
                        _store(builder, value_of(builder.load(sums[i][j]), d_i, column(j)), c_i, column(j))

            def added(value: Any, d_i: Any, j: Any) -> Any:
                return _multiply_add(builder, scale, value, builder.fmul(scale_d, _load(builder, d_i, j, vector)))

            reads_d = builder.fcmp_unordered("!=", beta, ir.Constant(beta.type, 0.0))
            with builder.if_else(begins) as (complete, scaled):
                with complete:
                    write(lambda value, d_i, j: value)
                with scaled, builder.if_else(reads_d) as (add, overwrite):
                    with add:
                        write(added)
                    with overwrite:
                        write(lambda value, d_i, j: builder.fmul(scale, value))
            return context.get_dummy_value()

        index, places = types.int64, types.CPointer(types.int64)
        signature = types.void(
            a, index, index, b, index, c, index, d, index, index, places, index, places, index, c.dtype, c.dtype,
            types.boolean,
        )  # fmt: skip
        return signature, codegen

    return tile  # type: ignore[no-any-return]


def make_lanes_tile(rows: int, columns: int) -> Callable[..., None]:
    """The intrinsic for one tile of as many products as a vector has numbers, `rows` by `columns` vectors.

    ::

        C[i, j] = D[i, j] + sum_k A[i, k] * B[k, j]

    where each element is a vector: number l of it belongs to product number l (see ``lanes``). The sums run as those
    of one product do; they begin with D, which may be C itself, or with zero where nothing `begins`.
    """

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, c: Any, c_row: Any,
        c_column: Any, depth: Any, begins: Any, d: Any, d_row: Any, d_column: Any,
    ) -> Any:  # fmt: skip
        vector = _ir_vector(c.dtype)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, a_row, a_k, b, b_k, b_column, c, c_row, c_column, depth, begins, d, d_row, d_column = args
            nothing, zero = ir.Constant(INDEX, 0), ir.Constant(vector, [0.0] * vector.count)

            def places(base: Any, count: int, apart: Any) -> list[Any]:
                return [builder.gep(base, [builder.mul(ir.Constant(INDEX, i), apart)]) for i in range(count)]

            a_places, b_places = places(a, rows, a_row), places(b, columns, b_column)
            sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(columns)] for _ in range(rows)]
            with builder.if_else(builder.icmp_signed("!=", begins, nothing)) as (from_d, from_zero):
                with from_d:
                    for slots, d_i in zip(sums, places(d, rows, d_row)):
                        for j, slot in enumerate(slots):
                            d_i_j = builder.mul(ir.Constant(INDEX, j), d_column)
                            builder.store(builder.fadd(_load(builder, d_i, d_i_j, vector), zero), slot)
                with from_zero:
                    for slots in sums:
                        for slot in slots:
                            builder.store(zero, slot)
            with cgutils.for_range(builder, depth) as loop:
                a_start, b_start = builder.mul(loop.index, a_k), builder.mul(loop.index, b_k)
                b_k_j = [_load(builder, place, b_start, vector) for place in b_places]
                for i in range(rows):
                    a_i_k = _load(builder, a_places[i], a_start, vector)
                    for j in range(columns):
                        slot = sums[i][j]
                        builder.store(_multiply_add(builder, a_i_k, b_k_j[j], builder.load(slot)), slot)
            for slots, c_i in zip(sums, places(c, rows, c_row)):
                for j, slot in enumerate(slots):
                    _store(builder, builder.load(slot), c_i, builder.mul(ir.Constant(INDEX, j), c_column))
            return context.get_dummy_value()

        index = types.int64
        signature = types.void(a, index, index, b, index, index, c, index, index, index, index, d, index, index)
        return signature, codegen

    return tile  # type: ignore[no-any-return]
