"""Kernels: arrays in, arrays out, written in JAX alone. Each has a plain numpy reference beside its test."""
