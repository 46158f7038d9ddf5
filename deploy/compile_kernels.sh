#!/bin/sh
# While the image is built: transcribe the demo call once for each kind of CPU that this machine can run, which leaves
# the compiled kernels in /opt/kernels.

set -eu

export NUMBA_CACHE_DIR=/opt/kernels
mkdir -p "$NUMBA_CACHE_DIR"
call=$(/opt/trunkline/bin/python -c 'import trunkline; print(trunkline.__path__[0])')/demo/call.wav
for kind in $(sh /usr/local/bin/start --kinds); do
    NUMBA_CPU_NAME=$kind sh /usr/local/bin/start transcribe "$call" | grep . >/dev/null
    echo "$kind" >> "$NUMBA_CACHE_DIR/kinds"
done
