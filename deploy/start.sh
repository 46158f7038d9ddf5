#!/bin/sh
# The image's entry: `trunkline` with kernels that were compiled when the image was built.
#
# A kernel in Numba's folder counts for one name and one list of features of a CPU. This machine's own would be met on
# few others, so the image has kernels for kinds of CPU: x86-64-v3 (AVX2), and x86-64-v4 with VNNI, and the best that
# this CPU can run is taken. Where the image lacks it, Numba compiles for this very CPU, some 20 s. Numba wants to write
# to its folder, which a read-only image has not, so the kernels are copied to $NUMBA_CACHE_DIR (1.5 MB each kind).
# Where that cannot be written to, they are compiled again.
#
# `start --kinds` lists the kinds that this CPU can run, the best first; `start python ...` runs Python instead.
# $NUMBA_CPU_NAME, where it is set, is taken.

set -eu

flags=" $(sed -n '/^flags/{s/.*: //;p;q}' /proc/cpuinfo) "

can() {
    for flag; do
        case $flags in *" $flag "*) ;; *) return 1 ;; esac
    done
}

kinds() {
    can avx2 bmi1 bmi2 f16c fma abm movbe || return 0
    if can avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni; then echo x86-64-v4; fi
    echo x86-64-v3
}

if [ "${1-}" = --kinds ]; then
    kinds
    exit
fi

kind=${NUMBA_CPU_NAME-}
if [ -z "$kind" ]; then
    kind=$(kinds | head -n 1)
    grep -qsx "$kind" /opt/kernels/kinds || kind=
fi
v3=+64bit,+cmov,+cx8,+cx16,+fxsr,+mmx,+popcnt,+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+bmi,+bmi2,+f16c,+fma
v3=$v3,+lzcnt,+movbe
case $kind in
    x86-64-v3) export NUMBA_CPU_NAME="$kind" NUMBA_CPU_FEATURES="$v3" ;;
    x86-64-v4)
        export NUMBA_CPU_NAME="$kind"
        export NUMBA_CPU_FEATURES="$v3,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl,+avx512vnni"
        ;;
esac

if [ "$NUMBA_CACHE_DIR" != /opt/kernels ]; then
    mkdir -p "$NUMBA_CACHE_DIR" 2>/dev/null && cp -R /opt/kernels/. "$NUMBA_CACHE_DIR" 2>/dev/null \
        || echo "trunkline: $NUMBA_CACHE_DIR cannot be written to: the kernels are compiled again" >&2
fi
if [ "${1-}" = python ]; then
    shift
    exec /opt/trunkline/bin/python "$@"
fi
exec /opt/trunkline/bin/trunkline "$@"
