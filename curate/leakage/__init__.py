"""Leakage: training prompts that are too similar to a benchmark prompt."""
