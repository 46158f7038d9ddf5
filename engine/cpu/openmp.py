"""Numba kernels on the threads of torch's own products, by the OpenMP library that torch has loaded.

The idea
--------
A step alternates between torch's operators and kernels of ours. Torch's run on an OpenMP thread team: one thread forks
work to the others and waits until all have done it, after which the others wait for the next piece without sleeping.
They keep their cores busy, so threads of our own would find no free core beside them, and Numba's `parallel` would
start a second pool. Kernels are therefore run by the same thread team.

A C compiler turns a `#pragma omp parallel` into a function of one pointer and a call of the library:

    void region(void *data);                                    the body; data: the variables that it uses
    GOMP_parallel(region, &data, threads, 0);                   runs it on each thread, the caller's too; then returns

`fork` makes the same two in LLVM's language. Its `region` reads the arguments of the kernel from `data`, asks
`omp_get_thread_num` and `omp_get_num_threads` which part of how many it is, and calls the kernel with both.

Invariants
----------
- `function(*arguments, part, parts)` runs once for every `part` from 0 to `parts` - 1, and all have ended when `fork`
  returns. `parts` may be fewer than were asked for, so a function asks for nothing but these two numbers.
- What is done does not depend on `parts`: rows are divided by `jit.share`, or handed out one by one by `take`, an
  atomic counter, so that a thread that the system holds up does not hold up the others. No two parts write one place.
- No exception passes the border: a kernel raises none.
- The team belongs to the thread that calls. Who else computes gets a team of its own, which takes cores from this one:
  `engine.loading.run_in_thread`.
- Where torch has another OpenMP library, or one thread, `Threads` is `ALONE` and the function is called as part 0 of 1.

Example
-------
    @inner
    def _double(x, part, parts):
        for row in share(x.shape[0], part, parts):
            x[row] *= 2

    @kernel
    def double(threads, x):
        fork(threads, _double, (x,))

`double(all_threads(), x)` of ten rows on three threads: the caller doubles rows 0 to 2, the others 3 to 5 and 6 to 9.

OpenMP 5.2, "parallel construct"; GCC's libgomp manual, "Implementing PARALLEL construct".
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

Threads = tuple[int, int, int, int]
"""Addresses of `GOMP_parallel`, `omp_get_thread_num` and `omp_get_num_threads`, and a number of threads."""

ALONE: Threads = (0, 0, 0, 1)
"""The calling thread."""

_FUNCTIONS = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")


def all_threads() -> Threads:
    """All threads that torch's products take when called by this thread."""
    count, addresses = torch.get_num_threads(), _addresses()
    return ALONE if count == 1 or addresses is None else (*addresses, count)


@functools.cache
def _addresses() -> tuple[int, int, int] | None:
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")):
        library = ctypes.CDLL(str(path))
        one, two, three = (ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _FUNCTIONS)
        if one and two and three:
            return one, two, three
    return None


def _fork(typing_context: Any, threads: Any, function: Any, arguments: Any) -> Any:
    """Call `function(*arguments, part, parts)` on each of the threads, `part` counting them, and wait for all."""
    wanted = function.get_call_type(typing_context, (*arguments.types, types.int64, types.int64), {})

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(wanted)
        context.active_code_library.add_linking_library(compiled.library)
        team, _, packed = values

        def call(at: Any, unpacked: Any, part: Any, parts: Any) -> None:
            each = [at.extract_value(unpacked, index) for index in range(len(arguments.types))]
            context.call_internal_no_propagate(at, compiled.fndesc, compiled.signature, [*each, part, parts])

        whole, nothing, pointer = ir.IntType(64), ir.VoidType(), cgutils.voidptr_t
        parallel = builder.extract_value(team, 0)
        with builder.if_else(builder.icmp_unsigned("==", parallel, whole(0))) as (alone, together):
            with alone:
                call(builder, packed, whole(0), whole(1))
            with together:
                shared = ir.LiteralStructType([team.type, packed.type])
                slot = cgutils.alloca_once(builder, shared)  # type: ignore[no-untyped-call]
                builder.store(
                    builder.insert_value(builder.insert_value(shared(ir.Undefined), team, 0), packed, 1), slot
                )
                name = builder.module.get_unique_name("region")
                region = ir.Function(builder.module, ir.FunctionType(nothing, [pointer]), name)
                region.linkage = "internal"
                within = ir.IRBuilder(region.append_basic_block())
                given = within.load(within.bitcast(region.args[0], shared.as_pointer()))
                ask = ir.FunctionType(ir.IntType(32), []).as_pointer()
                addresses = (within.extract_value(given, (0, index)) for index in (1, 2))
                part, parts = (within.sext(within.call(within.inttoptr(one, ask), []), whole) for one in addresses)
                call(within, within.extract_value(given, 1), part, parts)
                within.ret_void()
                count = builder.trunc(builder.extract_value(team, 3), ir.IntType(32))
                kind = ir.FunctionType(nothing, [region.type, pointer, count.type, count.type]).as_pointer()
                data = builder.bitcast(slot, pointer)
                builder.call(builder.inttoptr(parallel, kind), [region, data, count, count.type(0)])
        return context.get_dummy_value()

    return types.void(threads, function, arguments), generate


fork = cast(Callable[[Threads, Callable[..., None], tuple[Any, ...]], None], intrinsic(_fork))


def _take(_typing_context: Any, tickets: Any) -> Any:
    """The first number, which is then one more, for whichever thread asks: the next piece of work."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.atomic_rmw("add", data, ir.IntType(64)(1), "monotonic")

    return types.int64(tickets), generate


take = cast(Callable[[NDArray[np.int64]], int], intrinsic(_take))
