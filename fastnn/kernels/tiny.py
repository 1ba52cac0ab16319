"""Online training of a tiny network, with every weight in a register.

The kernels of ``recursion`` take networks of any size, so they keep weights in memory and call the
activations by address. On 2-3-2 neurons that is most of the time. Here a kernel is written for
one architecture: sizes, activations and loss are compiled in, and every weight is a local variable
for as long as the loop over the samples runs. `source` shows what it looks like.

It computes what the generic kernels compute, number by number in the same order, and so gives
the same bits: a run may change over from one to the other at any step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .blocks import ELEMENTS, df_method, loss_maker, loss_methods, of_numbers
from .compiling import compiled_address, part_of_formulas, undisturbed
from .cpu import lanes, padded
from .epoch import STEPS, not_finite, note_divergence
from .fields import Fields, numeric_fields
from .formula import callables, class_digest
from .fused import multiply_add_ir
from .memory import number, pointer_at, pointer_plus
from .order import row_of
from .records import network_at, run_at
from .recursion import FLOAT64, layer_of
from .special import SpecialKernels
from .tile import INDEX

WATCHED = 64  # steps between two looks at the loss: one in each would cost up to 5%

# --- numbers in registers: a matrix is a tuple of its rows' numbers ---------------------------


def _unpack(builder: Any, numbers: Any) -> list[Any]:
    return [builder.extract_value(numbers, i) for i in range(numbers.type.count)]


def _pack(builder: Any, numbers: list[Any]) -> Any:
    packed = ir.Constant(ir.ArrayType(numbers[0].type, len(numbers)), ir.Undefined)
    for i, value in enumerate(numbers):
        packed = builder.insert_value(packed, value, i)
    return packed


@intrinsic(prefer_literal=True)
def read(typingctx: Any, pointer: Any, rows: Any, columns: Any, stride: Any) -> Any:
    """The numbers of a matrix (rows, columns) in memory, whose rows lie `stride` apart."""
    shape = rows.literal_value, columns.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [i * stride.literal_value + j for i in range(shape[0]) for j in range(shape[1])]
        return _pack(builder, [builder.load(builder.gep(args[0], [ir.Constant(INDEX, place)])) for place in places])

    return types.UniTuple(pointer.dtype, shape[0] * shape[1])(pointer, rows, columns, stride), codegen


@intrinsic(prefer_literal=True)
def write(typingctx: Any, numbers: Any, pointer: Any, columns: Any, stride: Any) -> Any:
    """Put a matrix of so many columns back into memory."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for place, value in enumerate(_unpack(builder, args[0])):
            i, j = divmod(place, columns.literal_value)
            builder.store(value, builder.gep(args[1], [ir.Constant(INDEX, i * stride.literal_value + j)]))
        return context.get_dummy_value()

    return types.void(numbers, pointer, columns, stride), codegen


@intrinsic(prefer_literal=True)
def room(typingctx: Any, like: Any, count: Any) -> Any:
    """Pointer to room for `count` numbers of the dtype of `like`, which lives until the kernel returns."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.alloca_once(builder, context.get_value_type(like.dtype), size=count.literal_value)

    return types.CPointer(like.dtype)(like, count), codegen


# --- the recursion on them; each is the function of the same name in `recursion` -------------


@intrinsic
def affine(typingctx: Any, x: Any, W: Any, b: Any) -> Any:
    """b + x W, the sums as in ``single.affine``; but a bias of -0 may stay so, as no zero of x is passed over."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, W, b = (_unpack(builder, numbers) for numbers in args)
        y = list(b)
        for k, x_k in enumerate(x):
            y = [multiply_add_ir(builder, x_k, W[k * len(b) + j], y_j) for j, y_j in enumerate(y)]
        return _pack(builder, y)

    return b(x, W, b), codegen


@intrinsic
def propagate(typingctx: Any, W: Any, db: Any) -> Any:
    """db W', each sum as the lanes of a vector make it: see ``tile.total``."""
    outs, width = db.count, lanes(f"f{db.dtype.bitwidth // 8}")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        W, db = (_unpack(builder, numbers) for numbers in args)

        def dot(W_k: list[Any]) -> Any:
            sums: list[Any] = [None] * width  # of a lane; None: nothing falls to it
            for j in range(outs):
                before = sums[j % width]
                if before is None:
                    sums[j % width] = builder.fmul(W_k[j], db[j])
                else:
                    sums[j % width] = multiply_add_ir(builder, W_k[j], db[j], before)
            while len(sums) > 1:
                half = len(sums) // 2
                sums = [_sum(builder, low, high) for low, high in zip(sums[:half], sums[half:])]
            return sums[0]

        return _pack(builder, [dot(W[k : k + outs]) for k in range(0, len(W), outs)])

    return types.UniTuple(db.dtype, W.count // outs)(W, db), codegen


def _sum(builder: Any, low: Any, high: Any) -> Any:
    return low if high is None else builder.fadd(low, high)


@intrinsic
def descend(typingctx: Any, x: Any, db: Any, W: Any, lr: Any) -> Any:
    """W - lr x' db."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, db, W = (_unpack(builder, numbers) for numbers in args[:3])
        minus, real = builder.fneg(args[3]), signature.return_type.dtype
        after = []
        for k, x_k in enumerate(x):
            step = builder.fmul(minus, context.cast(builder, x_k, real, types.float64))
            step = context.cast(builder, step, types.float64, real)
            after += [multiply_add_ir(builder, step, db_j, W[k * len(db) + j]) for j, db_j in enumerate(db)]
        return _pack(builder, after)

    return W(x, db, W, types.float64), codegen


@intrinsic
def descend_b(typingctx: Any, db: Any, b: Any, lr: Any) -> Any:
    """b - lr db."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        db, b = (_unpack(builder, numbers) for numbers in args[:2])
        step = context.cast(builder, builder.fneg(args[2]), types.float64, signature.return_type.dtype)
        return _pack(builder, [multiply_add_ir(builder, step, db_j, b_j) for db_j, b_j in zip(db, b)])

    return b(db, b, types.float64), codegen


# --- the text of the kernel ------------------------------------------------------------------


def source(sizes: Sequence[int], strides: Sequence[int], derivatives: Sequence[str], names: tuple[str, ...]) -> str:
    """The text of the kernel for a network of `sizes`.

    `derivatives` names the method of each activation, `names` those of the loss (see ``blocks``).

    Its arguments are those of all steps (see ``epoch``).
    """
    outs, layers = sizes[-1], range(len(strides))
    enter, leave, forward, backward = [], [], [], []
    for l in layers:
        W, b, columns = f"pointer_at(layer{l}.W, REAL)", f"pointer_at(layer{l}.b, REAL)", sizes[l + 1]
        enter += [
            f"layer{l} = layer_of(net, {l})",
            f"act{l} = self{l}(pointer_at(layer{l}.act, FLOAT64))",
            f"W{l} = read({W}, {sizes[l]}, {columns}, {strides[l]})",
            f"b{l} = read({b}, 1, {columns}, {strides[l]})",
        ]
        forward += [
            f"y{l} = affine(x{l}, W{l}, b{l})",
            f"x{l + 1} = {_each(f'f{l}(act{l}, y{l}[%d])', columns)}",
        ]
        leave += [f"write(W{l}, {W}, {columns}, {strides[l]})", f"write(b{l}, {b}, {columns}, {strides[l]})"]
    # The share of an output in the mean is due in dx. A power of two rounds nothing (but what is so small that it is
    # flushed to zero), so it may come before dx is there.
    early = names == ELEMENTS and outs & (outs - 1) == 0
    for l in reversed(layers):
        known = f"y{l}[%d], x{l + 1}[%d]" if derivatives[l] == "df_of_f" else f"y{l}[%d]"
        slope = f"df{l}(act{l}, {known})" + (" * share" if l == layers[-1] and early else "")
        backward += [
            f"db = {_each(f'{slope} * dx[%d]', sizes[l + 1])}",
            f"dx = propagate(W{l}, db)" if l > 0 else "",
            f"W{l} = descend(x{l}, db, W{l}, lr)",
            f"b{l} = descend_b(db, b{l}, lr)",
        ]
    if names == ELEMENTS:  # the loop of `blocks`, unrolled
        loss = [
            "total = 0.0",
            *(f"total = total + loss_f(me, x{len(layers)}[{j}], t[{j}])" for j in range(outs)),
            f"dx = {_each(f'loss_df(me, x{len(layers)}[%d], t[%d])' + ('' if early else ' * share'), outs)}",
            "loss_sum[0] += total * share",
        ]
    else:
        loss = [
            f"write(x{len(layers)}, values, {outs}, {outs})",
            f"loss(me, values, t, d, 1, {outs}, {outs}, loss_sum, 0)",
            f"dx = read(d, 1, {outs}, {outs})",
        ]
    steps = [
        "row, lr = row_of(run, i), rates[(i - first) * rate_step]",
        f"x0 = read(pointer_plus(X, row * {sizes[0]}), 1, {sizes[0]}, {sizes[0]})",
        "t = pointer_plus(T, row * net.target_items)",
        *forward,
        *loss,
        *backward,
    ]
    lines = [
        "net, run = network_at(address), run_at(run_address)",
        "X, T, share = pointer_at(run.x, REAL), pointer_at(run.t, REAL), 1.0 / net_outs",
        "me, sum_at = loss_self(pointer_at(net.loss_self, FLOAT64)), pointer_at(net.loss_sum, FLOAT64)",
        "values, d, loss_sum = room(REAL, net_outs), room(REAL, net_outs), room(FLOAT64, 1)",
        "loss_sum[0] = sum_at[0]",
        *enter,
        f"for begin in range(first, last, {WATCHED}):",
        "    so_far = loss_sum[0]",
        f"    for i in range(begin, min(last, begin + {WATCHED})):",
        *(f"        {step}" for step in steps if step),
        "    if not_finite(loss_sum[0]):",
        f"        note_divergence(run, before + begin, so_far, begin, {WATCHED})",
        *leave,
        "sum_at[0] = loss_sum[0]",
    ]
    body = "\n".join(f"    {line}" for line in lines).replace("net_outs", str(outs))
    return f"def online(address, run_address, first, last, rates, rate_step, before, who):\n{body}\n"


def _each(formula: str, count: int) -> str:
    """The tuple of a formula for each of `count` numbers, rounded to the network's dtype."""
    return "(" + "".join(f"number(X, {formula.replace('%d', str(j))}), " for j in range(count)) + ")"


# --- when there is such a kernel -------------------------------------------------------------

MOST_NUMBERS = 64  # weights and biases; beyond, with tanh, the vectors of ``recursion`` are as fast

KERNELS = SpecialKernels(compiling=0.7, saving=50e-9)


class Architecture(NamedTuple):
    """What a kernel is compiled for."""

    sizes: tuple[int, ...]
    activations: tuple[tuple[type, Fields], ...]
    loss: tuple[type, Fields]
    class_index: bool
    dtype: str


def is_tiny(sizes: Sequence[int]) -> bool:
    """Whether a network of these sizes may have a kernel of its own."""
    return sum((ins + 1) * outs for ins, outs in zip(sizes, sizes[1:])) <= MOST_NUMBERS


def architecture(
    sizes: Sequence[int], activations: Sequence[object], loss: object, dtype: np.dtype[Any], class_index: bool
) -> Architecture:
    """The `Architecture` of a network."""
    kinds = tuple((type(activation), numeric_fields(activation)) for activation in activations)
    return Architecture(tuple(sizes), kinds, (type(loss), numeric_fields(loss)), class_index, dtype.name)


def online_address(key: Architecture, steps: int, ahead: int) -> int:
    """Address of the kernel for the next `steps` of `ahead` steps, or 0: see `SpecialKernels.address`."""
    return KERNELS.address(key, partial(_compiled, key), steps, ahead)


SCOPE: dict[str, Any] = {
    "__name__": __name__, "network_at": network_at, "run_at": run_at, "layer_of": layer_of, "row_of": row_of,
    "pointer_at": pointer_at, "pointer_plus": pointer_plus, "number": number, "FLOAT64": FLOAT64, "read": read,
    "write": write, "room": room, "affine": affine, "propagate": propagate, "descend": descend, "descend_b": descend_b,
    "not_finite": not_finite, "note_divergence": note_divergence,
}  # fmt: skip


@undisturbed
def _compiled(architecture: Architecture, only_cached: bool = False) -> int:
    """Address of the compiled kernel; 0 if it should come from the disk cache and is not there."""
    sizes, activations, (loss, loss_fields), class_index, dtype = architecture
    names = loss_methods(loss)
    real, strides = numba.from_dtype(np.dtype(dtype)), [padded(outs, dtype) for outs in sizes[1:]]
    scope = {**SCOPE, "REAL": np.empty(0, dtype)}
    digests = [class_digest(cls, fields) for cls, fields in activations]
    derivatives = [df_method(cls) for cls, _ in activations]
    for l, (cls, fields) in enumerate(activations):
        scope[f"self{l}"], scope[f"f{l}"], scope[f"df{l}"] = callables(cls, fields, real, ("f", derivatives[l]))
    methods = callables(loss, loss_fields, real, names, of_numbers(names))
    if names == ELEMENTS:
        scope["loss_self"], scope["loss_f"], scope["loss_df"] = methods
    else:
        block = loss_maker(names, class_index)(*methods)
        scope["loss_self"], scope["loss"] = _as_it_is, part_of_formulas(block)
    key = class_digest(loss, loss_fields, names, class_index, sizes, strides, dtype, derivatives, digests)
    exec(
        compile(source(sizes, strides, derivatives, names), __file__, "exec"), scope
    )  # this file's name is for the cache
    return compiled_address(scope["online"], STEPS, key, only_cached)


@part_of_formulas
def _as_it_is(pointer: Any) -> Any:
    return pointer
