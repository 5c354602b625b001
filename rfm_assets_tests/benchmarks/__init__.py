"""Tests of `benchmarks/`: that its pieces work, never how long they take."""
