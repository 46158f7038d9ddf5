#!/bin/sh
# While the image is built: run all kernels once for each kind of CPU that this machine can run, which leaves them
# compiled in /opt/kernels. The demo call takes nearly all; released checkpoints have two layers in their prediction
# network, where the demo model has one.

set -eu

cd /  # what is compiled is what is installed, not the sources beside this script
export NUMBA_CACHE_DIR=/opt/kernels
mkdir -p "$NUMBA_CACHE_DIR"
call=$(/opt/trunkline/bin/python -c 'import trunkline; print(trunkline.__path__[0])')/demo/call.wav
two_layers='
import torch
from engine.cpu.predictor import CpuPredictor
weights, state = torch.zeros(32, 8), torch.zeros(1, 2, 8)
CpuPredictor([(weights, weights, torch.zeros(32))] * 2, (torch.zeros(8, 8), torch.zeros(8)))(state[:, 0], state, state)
'
for kind in $(sh /usr/local/bin/start --kinds); do
    NUMBA_CPU_NAME=$kind sh /usr/local/bin/start transcribe "$call" | grep . >/dev/null
    NUMBA_CPU_NAME=$kind sh /usr/local/bin/start python -c "$two_layers"
    echo "$kind" >> "$NUMBA_CACHE_DIR/kinds"
done
