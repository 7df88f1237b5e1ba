"""Measures the runner's speed against doing the same by hand: ``python -m benchmarks``, or ``make bench``.

Each row compares the runner with a baseline in one run, the two in turn, so that what the machine does
meanwhile meets both. The targets are ratios; a time in seconds is a matter of the machine.
"""
