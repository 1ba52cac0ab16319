"""What is changed in a formula between its text and Numba's typing of it: numbers written in it, and squares."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numba.core import compiler, ir
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import get_definition, guard
from numba.core.untyped_passes import ReconstructSSA

from . import numpy_scalars

_WHOLE = (range, len, int, round, slice)  # whose arguments are no numbers of the formula
_BITS = {operator.rshift, operator.lshift, operator.and_, operator.or_, operator.xor, operator.invert}
_BITS |= {operator.irshift, operator.ilshift, operator.iand, operator.ior, operator.ixor}
_POWERS = (operator.pow, operator.ipow)
_BY_NUMBER = set(numpy_scalars.OWN) - {"sum", "max"}  # of our own functions, those that are no ufuncs of NumPy's


@register_pass(mutates_CFG=False, analysis_only=False)
class NarrowConstants(FunctionPass):  # type: ignore[misc]
    """Make the numbers written in a formula float32, as NumPy 2 would with a float32 array.

    Numba would compute ``1 / (1 + x)`` in float64. Exponents stay integers (``x**2`` is x * x), and so does what a
    place in an array is computed from (``self.c[k + 1]``), and the integers among the arguments of functions that do
    not take each number by itself (``np.roll(self.c, 1)``, ``self.c.reshape(-1, 1)``).
    """

    _name = "fastnn_narrow_constants"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        uses = _Uses(state.func_ir)
        changed = False
        for block in state.func_ir.blocks.values():
            for statement in block.find_insts(ir.Assign):
                constant, name = statement.value, statement.target.name
                if not isinstance(constant, ir.Const) or name not in uses.real or name in uses.other | uses.whole:
                    continue
                if type(constant.value) is float or (type(constant.value) is int and name not in uses.counts):
                    # Not as a Const: Numba writes those out as text where it fuses operations on arrays
                    statement.value = ir.Global(f"number {name}", np.float32(constant.value), constant.loc)
                    changed = True
        return changed


class _Uses:
    """How the variables of a formula are used.

    Attributes
    ----------
    real : set of str
        As numbers in arithmetic.
    counts : set of str
        As arguments that may be an axis, a length or a place.
    whole : set of str
        For places in arrays.
    other : set of str
        In any other way.
    """

    def __init__(self, func_ir: Any) -> None:
        self._func_ir = func_ir
        self.real: set[str] = set()
        self.counts: set[str] = set()
        self.other: set[str] = set()
        self.whole: set[str] = set()
        for block in func_ir.blocks.values():
            for statement in block.body:
                self._note(statement)
        self._follow()

    def _note(self, statement: Any) -> None:
        expression: Any = getattr(statement, "value", None)
        operation = expression.op if isinstance(expression, ir.Expr) else None
        if operation in ("binop", "inplace_binop"):
            function = expression.immutable_fn if operation == "inplace_binop" else expression.fn
            if function in _BITS:
                self.whole |= {expression.lhs.name, expression.rhs.name}
            self.real.add(expression.lhs.name)
            (self.other if function in _POWERS else self.real).add(expression.rhs.name)
        elif operation == "call" and self._called(expression.func) not in _WHOLE:
            names = {argument.name for argument in expression.args}
            self.real |= names
            if not self._by_number(expression.func):
                self.counts |= names
            self.other.update(argument.name for _, argument in expression.kws)
        elif operation == "unary":
            self.real.add(expression.value.name)
        else:
            if operation == "getitem":
                self.whole.add(expression.index.name)
            elif isinstance(statement, ir.SetItem):
                self.whole.add(statement.index.name)
            elif operation == "call":
                self.whole.update(
                    argument.name for argument in expression.args if self._called(expression.func) is range
                )
            names = {variable.name for variable in statement.list_vars()}
            self.other |= names - ({statement.target.name} if isinstance(statement, ir.Assign) else set())

    def _called(self, function: Any) -> Any:
        """The global that is called; None if it is none."""
        definition = guard(get_definition, self._func_ir, function)
        return definition.value if isinstance(definition, (ir.Global, ir.FreeVar)) else None

    def _by_number(self, function: Any) -> bool:
        """Whether the function takes each number by itself; a method of an array and most functions of NumPy do not."""
        definition = guard(get_definition, self._func_ir, function)
        if not (isinstance(definition, ir.Expr) and definition.op == "getattr"):
            return getattr(self._called(function), "__module__", None) != "numpy"
        module = self._called(definition.value)
        if isinstance(module, ModuleType):
            name = definition.attr
            is_ufunc = isinstance(getattr(module, name, None), np.ufunc) and name != "ldexp"
            return is_ufunc or name in _BY_NUMBER
        owner = guard(get_definition, self._func_ir, definition.value)
        return isinstance(owner, ir.Arg) and owner.index == 0  # self.shared(x, 1)

    def _follow(self) -> None:
        """Add to `whole` what those are computed from."""
        waiting = list(self.whole)
        while waiting:
            for name in self._sources(waiting.pop()):
                if name not in self.whole:
                    self.whole.add(name)
                    waiting.append(name)

    def _sources(self, name: str) -> Iterator[str]:
        for definition in self._func_ir._definitions.get(name, ()):
            if isinstance(definition, ir.Var):
                yield definition.name
            elif isinstance(definition, ir.Expr):
                operation = definition.op
                if operation in ("binop", "inplace_binop", "unary", "build_tuple", "phi"):
                    yield from (variable.name for variable in definition.list_vars())
                elif operation == "call" and self._called(definition.func) not in (int, len, round):
                    yield from (argument.name for argument in definition.args)


@register_pass(mutates_CFG=False, analysis_only=False)
class Squares(FunctionPass):  # type: ignore[misc]
    """Make ``x**2`` the product that it is: Numba would compile its loop for powers, to find the same bits."""

    _name = "fastnn_squares"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        changed = False
        for block in state.func_ir.blocks.values():
            for power in block.find_exprs(op="binop"):
                if power.fn is operator.pow and _constant(state.func_ir, power.rhs) == 2:
                    power.fn, power.rhs = operator.mul, power.lhs
                    changed = True
        return changed


def _constant(func_ir: Any, variable: Any) -> Any:
    """The integer written in the text that `variable` is; None if it is none."""
    definition = guard(get_definition, func_ir, variable)
    return definition.value if isinstance(definition, ir.Const) and type(definition.value) is int else None


class FormulaCompiler(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's own pipeline with `Squares` in it."""

    def define_pipelines(self) -> list[Any]:
        pipeline = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(Squares, ReconstructSSA)
        self.add_passes(pipeline)
        pipeline.finalize()
        return [pipeline]

    def add_passes(self, pipeline: Any) -> None:
        """Those of a subclass."""


class NarrowCompiler(FormulaCompiler):
    """That with `NarrowConstants` in it."""

    def add_passes(self, pipeline: Any) -> None:
        """After `Squares`."""
        pipeline.add_pass_after(NarrowConstants, Squares)
