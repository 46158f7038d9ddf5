"""Kernels for x86 CPUs, compiled by Numba: the encoder with 8-bit weights; features and prediction network in one order
of sums."""
