"""Measurements, each beside others: `python -m benchmarks` lists them."""
