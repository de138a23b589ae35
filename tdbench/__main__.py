"""Runs the command line as `python -m tdbench`."""

from tdbench.bench.cli import main

main()
