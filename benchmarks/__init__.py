"""Benchmarks of this project beside other tools: ``python -m benchmarks.run``."""
