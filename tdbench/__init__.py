"""TDBench: the benchmark for text dataset distillation."""

from tdbench.bench._version import __version__

__all__ = ["__version__"]
