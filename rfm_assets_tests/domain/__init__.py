"""Tests of the pure functions on tables."""
