"""Kernels for accelerators, each with a plain form that it must equal.

They are chosen by the platform that is traced for, and know nothing of the
modules that choose them. In tests they are interpreted, on the CPU.
"""
