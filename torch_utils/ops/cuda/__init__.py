"""CUDA C++ kernels (`*.cu`), their compilation at run time and their launch."""
