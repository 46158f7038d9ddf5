"""Numba kernels on all threads of a step: they are run by the team of threads that torch's products leave spinning.

Threads of our own would find no free core, because OpenMP's idle ones wait without sleeping for the next product, and
Numba's own `parallel` starts a second team beside torch's. So a kernel calls `GOMP_parallel` of the OpenMP library
that torch has loaded, which hands out work to the same team (GCC's libgomp manual, "Implementing PARALLEL construct").
Where torch has another library, kernels run on the calling thread.
"""

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Team = tuple[int, int, int, int]
"""Addresses of `GOMP_parallel`, `omp_get_thread_num` and `omp_get_num_threads`, and a number of threads."""

ALONE: Team = (0, 0, 0, 1)
"""The calling thread."""

_FUNCTIONS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def team() -> Team:
    """All threads that torch's products take when called by this thread."""
    threads, addresses = torch.get_num_threads(), _addresses()
    return ALONE if threads == 1 or addresses is None else (*addresses, threads)


@functools.cache
def _addresses() -> tuple[int, int, int] | None:
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        library = ctypes.CDLL(str(path))
        one, two, three = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _FUNCTIONS)
        if one and two and three:
            return one, two, three
    return None


def _fork(typing_context: Any, team: Any, function: Any, arguments: Any) -> Any:
    """Call `function(*arguments, part, parts)` on each thread of a team, `part` counting them, and wait for all."""
    wanted = function.get_call_type(typing_context, (*arguments.types, types.int64, types.int64), {})

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(wanted)
        context.active_code_library.add_linking_library(compiled.library)
        threads, _, packed = values

        def call(at: Any, unpacked: Any, part: Any, parts: Any) -> None:
            each = [at.extract_value(unpacked, index) for index in range(len(arguments.types))]
            context.call_internal_no_propagate(at, compiled.fndesc, compiled.signature, [*each, part, parts])

        whole, nothing, pointer = ir.IntType(64), ir.VoidType(), cgutils.voidptr_t
        parallel = builder.extract_value(threads, 0)
        with builder.if_else(builder.icmp_unsigned("==", parallel, whole(0))) as (alone, together):
            with alone:
                call(builder, packed, whole(0), whole(1))
            with together:
                shared = ir.LiteralStructType([threads.type, packed.type])
                slot = cgutils.alloca_once(builder, shared)  # type: ignore[no-untyped-call]
                builder.store(
                    builder.insert_value(builder.insert_value(shared(ir.Undefined), threads, 0), packed, 1), slot
                )
                name = builder.module.get_unique_name("share")
                share = ir.Function(builder.module, ir.FunctionType(nothing, [pointer]), name)
                share.linkage = "internal"
                within = ir.IRBuilder(share.append_basic_block())
                given = within.load(within.bitcast(share.args[0], shared.as_pointer()))
                ask = ir.FunctionType(ir.IntType(32), []).as_pointer()
                addresses = (within.extract_value(given, (0, index)) for index in (1, 2))
                part, parts = (within.sext(within.call(within.inttoptr(one, ask), []), whole) for one in addresses)
                call(within, within.extract_value(given, 1), part, parts)
                within.ret_void()
                count = builder.trunc(builder.extract_value(threads, 3), ir.IntType(32))
                kind = ir.FunctionType(nothing, [share.type, pointer, count.type, count.type]).as_pointer()
                data = builder.bitcast(slot, pointer)
                builder.call(builder.inttoptr(parallel, kind), [share, data, count, count.type(0)])
        return context.get_dummy_value()

    return types.void(team, function, arguments), generate


fork = cast(Callable[[Team, Callable[..., None], tuple[Any, ...]], None], intrinsic(_fork))


def _take(_typing_context: Any, tickets: Any) -> Any:
    """The first number, which is then one more, for whichever thread asks: the next piece of work."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "monotonic")

    return types.int64(tickets), generate


take = cast(Callable[[NDArray[np.int64]], int], intrinsic(_take))
