"""Compile kernels: those with long sums for the vector units, the others as they stand.

Every kernel has numba's error model "numpy": a division by zero gives inf or nan and raises nothing, so a
kernel asks for itself where a denominator can be 0. No kernel holds the interpreter lock.

What a kernel costs to compile is the code that the optimiser meets, as often as it meets it. So parts that
call other parts are optimised only as pieces of the kernel that Python calls, and code that is rarely
needed or needed by many stands behind an address: compiled once, when it is first asked for.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from threading import Timer
from typing import Any, TypeVar, cast

from llvmlite import ir
from llvmlite.binding import Linkage, parse_assembly
from numba import njit, types
from numba.core import cgutils, event, sigutils
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.runtime import rtsys
from numba.extending import intrinsic

__all__ = ["NOTICE", "address_of", "call_at", "compiled", "inlined", "inlined_sums"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
# Reordering a sum is all that is granted: NaN, infinities and signed zeros keep their meaning.
_REORDER: dict[str, Any] = {"fastmath": {"reassoc", "contract"}}


def compiled(kernel: Kernel) -> Kernel:
    """Compile `kernel` once and keep it on disk, if any cache folder is writable.

    numba looks beside the source, then in the user's cache folder. A read-only installation under an
    unwritable home has neither and numba then raises at import: such a process compiles in memory instead.

    Examples
    --------
    >>> @compiled
    ... def add(a, b):
    ...     return a + b
    >>> add(1, 2)
    3
    """
    return cast(Kernel, _kept(kernel, no_cfunc_wrapper=True))


def inlined(kernel: Kernel) -> Kernel:
    """Compile `kernel` for other kernels to call, never Python: no wrapper, and no file of its own.

    It becomes a part of the cached kernel that calls it.
    """
    return cast(Kernel, njit(**_PART)(kernel))


def inlined_sums(kernel: Kernel) -> Kernel:
    """Compile `kernel` as `inlined`, but let its long sums be reordered and so run on the vector units.

    The same binary adds in the same order every time, so results repeat bit for bit on one machine;
    another processor may differ in the last digits.
    """
    return cast(Kernel, njit(**_PART, **_REORDER)(kernel))


def address_of(signature: str) -> Callable[[Callable[..., None]], Callable[[], int]]:
    """Keep a kernel out of those that use it: give a function that compiles it and returns its address.

    Kernels receive the address as an integer and call it by `call_at`. An array arrives as the pointer to its
    first entry, and then its shape.

    Examples
    --------
    >>> @address_of("void(float64, CPointer(float64), int64)")
    ... def store(value, place, length):
    ...     place[length - 1] = value
    >>> @compiled
    ... def use(address, values):
    ...     call_at(address, (2.0, values))
    >>> values = np.zeros(1)
    >>> use(store(), values)
    >>> values
    array([2.])
    """

    def apart(kernel: Callable[..., None]) -> Callable[[], int]:
        dispatcher = _kept(kernel, no_cpython_wrapper=True)

        @cache
        def address() -> int:
            dispatcher.compile(signature)
            made = dispatcher.overloads[sigutils.normalize_signature(signature)[0]]
            return int(made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name))

        return address

    return apart


@intrinsic
def call_at(typingctx: Any, address: Any, values: Any) -> Any:
    """Call, inside a kernel, what stands at an address with a tuple of numbers and contiguous arrays."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        passed = []
        for kind, value in zip(values, cgutils.unpack_tuple(builder, arguments[1]), strict=True):
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, value)
                passed += [array.data, *cgutils.unpack_tuple(builder, array.shape)]
            else:
                passed.append(value)
        function = ir.FunctionType(ir.VoidType(), [value.type for value in passed])
        builder.call(builder.inttoptr(arguments[0], function.as_pointer()), passed)
        return context.get_dummy_value()

    return types.void(address, values), code


def _kept(kernel: Callable[..., Any], **options: bool) -> Any:
    dispatcher: Any = njit(**_OPTIONS, **options, pipeline_class=_KernelCompiler)(kernel)
    with suppress(RuntimeError):
        dispatcher._cache = _Cache(kernel)
    return dispatcher


class _Library(JITCodeLibrary):
    def add_ir_module(self, ir_module: Any) -> None:
        """Leave the wrapper as it stands: to optimise its arguments costs more than all calls ever save."""
        for function in ir_module.functions:
            if function.blocks and function.name.startswith("_ZN7cpython"):
                function.attributes.add("noinline")  # which optnone requires
                function.attributes.add("optnone")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, ll_module: Any) -> None:
        """Optimise what is defined, without numba's passes over what is only declared."""
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                passes.run(function, builder)


class _Part(_Library):
    """The code of a part. What calls other parts waits for the kernel of which it becomes a piece."""

    def _optimize_final_module(self) -> None:
        if not any(isinstance(library, _Part) for library in self._linking_libraries):
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        self._finalized = True
        code: Any = self._get_module_for_linking()  # callers have it: here stays nothing to be emitted
        shared = [value.name for value in code.global_variables if value.linkage == Linkage.common]
        declared = "\n".join(f'@"{name}" = common global i64 0' for name in shared)
        self._final_module = parse_assembly(declared)
        super()._finalize_final_module()


class _KernelCompiler(Compiler):
    library = _Library

    def define_pipelines(self) -> Any:
        self.state.library = self.library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


class _PartCompiler(_KernelCompiler):
    library = _Part


_PART: dict[str, Any] = {
    **_OPTIONS,
    "pipeline_class": _PartCompiler,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}


class _Cache(FunctionCache):
    """The kernels on disk. One that is ready needs numba's run time, not its compiler.

    numba fills the tables of its type inference before it looks into the cache, which takes longer than
    importing it; a kernel that is missing there fills them when it is compiled. Without them a kernel has the
    symbols of the run time and of libm: it may hash nothing, so it has no dict, no set and no text.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Notice(event.Listener):
    """Say on a terminal, while it lasts, that kernels compile and for how long: once a process."""

    PATIENCE = 1.0  # seconds of compiling without a word

    def __init__(self) -> None:
        self._depth = 0  # a kernel compiles those that it calls
        self._left = self.PATIENCE
        self._began = 0.0
        self._timer: Timer | None = None

    def on_start(self, happening: Any) -> None:
        self._depth += 1
        if self._depth > 1 or self._left <= 0.0 or not _on_terminal():
            return
        self._began = time.monotonic()
        cached = happening.data["dispatcher"].stats.cache_path is not None
        self._timer = Timer(self._left, self._say, [cached])
        self._timer.daemon = True
        self._timer.start()

    def on_end(self, happening: Any) -> None:
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._left > 0.0:  # nothing was said: at the latest while the next one compiles
                self._left = max(self._left - (time.monotonic() - self._began), 0.001)

    def silence(self) -> None:
        """Say nothing: for a command that says itself what it compiles."""
        self._left = 0.0

    def _say(self, cached: bool) -> None:
        self._left = 0.0
        kept = (
            "once on this machine; `sae warmup` does it for all models"
            if cached
            else "in every process: no folder for them can be written, set NUMBA_CACHE_DIR to one that can"
        )
        print(f"Compiling kernels, {kept} ...", file=sys.stderr, flush=True)


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _Pause(event.Listener):
    """Collect no garbage while a kernel compiles: numba's many nodes live until it is done.

    To go through them and all of pandas again and again takes a tenth of the time.
    """

    def __init__(self) -> None:
        self._depth = 0  # a kernel compiles those that it calls
        self._collects = False

    def on_start(self, happening: Any) -> None:
        if self._depth == 0:
            self._collects = gc.isenabled()
            gc.disable()
        self._depth += 1

    def on_end(self, happening: Any) -> None:
        self._depth -= 1
        if self._depth == 0 and self._collects:
            gc.enable()


event.register("numba:compile", _Pause())
NOTICE = _Notice()
event.register("numba:compile", NOTICE)
