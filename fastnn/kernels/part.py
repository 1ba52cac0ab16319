"""Kernels that become parts of others: they get no machine code of their own.

Numba compiles every function that a kernel calls as if Python were going to call it: with two wrappers, optimised,
made into machine code, and kept on disk. Its code then is copied into the caller and optimised once more there, and
so on up to the kernel that Python or an address leads to. Here a function that is called by compiled code is only
translated: what calls it is optimised and made into machine code once, with all its parts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import _dynfunc
from numba.core import errors, sigutils, typing
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """The code of a part, which waits for the kernel that it will be linked into."""

    def _optimize_final_module(self) -> None:
        """That is done there."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):  # type: ignore[misc]
    """Numba's last pass but one, with that library and without wrappers."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        codegen, flags = state.targetctx.codegen(), state.flags
        library = state.library = _PartLibrary(codegen, state.func_id.func_qualname)
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        super().run_pass(state)
        library._ensure_finalized()
        lowered, name = state["cr"], state.func_id.func_name
        # By this object the code that calls the part finds it; Numba wants it to be callable, but nobody calls it.
        key = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, "", 0, lowered.env, (library,))
        state["cr"] = lowered._replace(cfunc=key)
        state.targetctx.insert_user_function(key, lowered.fndesc, [library])
        return True


@lru_cache(maxsize=None)
def part_compiler(pipeline: Any) -> Any:
    """A compiler of Numba's, but for parts."""

    def define_pipelines(self: Any) -> list[Any]:
        pipelines: list[Any] = pipeline.define_pipelines(self)
        for passes in pipelines:
            passes.passes = [(_PartLowering if of is NativeLowering else of, text) for of, text in passes.passes]
            passes._finalized = False
            passes.finalize()
        return pipelines

    return type(f"{pipeline.__name__}OfParts", (pipeline,), {"define_pipelines": define_pipelines})


OVERLOAD: dict[str, Any] = {"error_model": "numpy", "pipeline_class": part_compiler(Compiler)}
"""``jit_options`` of an overload: compiled code alone calls it."""


class Kernel(CPUDispatcher):  # type: ignore[misc]
    """What `numba.njit` makes of a function, with the same arguments, but a part where compiled code calls it."""

    def __init__(
        self,
        py_func: Any,
        locals: dict[str, Any] | None = None,
        targetoptions: dict[str, Any] | None = None,
        pipeline_class: Any = Compiler,
    ) -> None:
        options = targetoptions or {}
        super().__init__(py_func, locals or {}, options, pipeline_class)
        self._parts: dict[tuple[Any, ...], Any] = {}
        self._part_compiler = type(self._compiler)(
            py_func, self.targetdescr, options, locals or {}, part_compiler(pipeline_class)
        )

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """How compiled code calls it with arguments of these types; called by Numba."""
        signature, args = self._compiler.fold_argument_types(args, kws)
        name, part = self.py_func.__name__, self._part(tuple(args))
        template = typing.make_concrete_template(f"CallTemplate({name})", key=name, signatures=[part.signature])
        return template, signature, args, {}

    def get_overload(self, sig: Any) -> Any:
        """What stands for it in code that calls it; called by Numba."""
        args, _ = sigutils.normalize_signature(sig)
        return self._parts[tuple(args)].entry_point

    def returns(self, *args: Any) -> Any:
        """The type of what it returns for arguments of these types."""
        return self._part(args).signature.return_type

    def _part(self, args: tuple[Any, ...]) -> Any:
        if args not in self._parts:
            try:
                with self._compiling_counter:  # by which Numba knows of recursion
                    self._parts[args] = self._part_compiler.compile(args, None)
            except errors.ForceLiteralArg as error:
                raise error.bind_fold_arguments(
                    lambda args, kws: self._compiler.fold_argument_types(args, kws)[1]
                ) from None
        return self._parts[args]
