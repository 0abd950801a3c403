"""Kernels compiled with mypyc; the same code runs interpreted."""
